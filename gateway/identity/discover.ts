/** An issuer's own description, for what needs its keys and no login: workloads, log-out messages. */
import { z } from 'zod';

const TIMEOUT_MS = 5_000;
const MAX_CHARS = 262_144;

const Metadata = z.object({ issuer: z.string(), jwks_uri: z.url() });

/** @throws where it cannot be had, or is not this issuer's */
export async function discover(issuer: string): Promise<z.infer<typeof Metadata>> {
  const response = await fetch(`${issuer.replace(/\/+$/, '')}/.well-known/openid-configuration`, {
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok) throw new Error(`the issuer answered with ${response.status}`);
  const text = await response.text();
  if (text.length > MAX_CHARS) throw new Error('the issuer’s description is too long');
  const metadata = Metadata.parse(JSON.parse(text));
  if (metadata.issuer !== issuer) throw new Error('the description is another issuer’s');
  if (new URL(metadata.jwks_uri).protocol !== new URL(issuer).protocol) throw new Error('the keys are not where they may be');
  return metadata;
}
