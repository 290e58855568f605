/** What the parts of the configuration's schema are made of. */
import { z } from 'zod';

export const text = z.string().min(1).max(2000);
export const name = z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, 'Write lower-case letters, digits and `-`, beginning with a letter.');
export const seconds = z.number().int().positive();
/** A secret never stands in the file: `env:NAME` or `file:/absolute/path`. */
export const SecretPlace = z
  .string()
  .regex(/^(env:[A-Za-z_][A-Za-z0-9_]{0,199}|file:\/.{1,1000})$/, 'Do not write a secret here. Say where it is: `env:NAME` or `file:/absolute/path`.');
export const httpsUrl = z
  .string()
  .max(2000)
  .refine((value) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    return url !== undefined && (url.protocol === 'https:' || (url.protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)));
  }, 'Write an `https://` address (`http://` only for this machine).');
