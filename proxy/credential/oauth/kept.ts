/** What a sign-in leaves: kept in the proxy's memory and, as one secret, in the editor's storage. Never in a file of ours. */
import { z } from 'zod';

const Text = z.string().max(16_384);

export const Kept = z.object({
  version: z.literal(1),
  /** Later ones replace earlier ones: an editor may hand back one that was renewed since. Epoch milliseconds. */
  savedAt: z.number(),
  /** The address of the connection it was made for: it goes nowhere else. */
  endpoint: Text,
  resource: Text,
  /** The authorization server's metadata, as it was checked. */
  server: z.looseObject({ issuer: Text, token_endpoint: Text }),
  client: z.object({ id: Text, secret: Text.optional(), method: z.enum(['client_secret_basic', 'client_secret_post', 'none']).optional() }),
  access: Text,
  /** Epoch milliseconds. */
  expiresAt: z.number().optional(),
  refresh: Text.optional(),
  scopes: z.array(z.string().max(200)).max(100),
});
export type Kept = z.infer<typeof Kept>;

export const KEPT_PREFIX = 'oauth.';

export function keptFrom(text: string): Kept | undefined {
  try {
    return Kept.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
