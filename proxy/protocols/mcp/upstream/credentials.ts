/** What goes with a request to a server so that it lets us in: ours, never the client's. */
import { Problem } from '../../../../contract/problem.ts';
import type { Secret } from '../../../../contract/secret.ts';
import type { HandedSecrets } from '../../../masking/handedSecrets.ts';
import type { SecretRef } from '../../../policy/policy.ts';

export interface UpstreamCredentials {
  /** Headers for a request to this address. @throws a `Problem` that says what a person must provide */
  headers(url: URL): Promise<Readonly<Record<string, string>>>;
  /** The server has refused them (401, 403). Resolves to whether there are better ones now: then the request is sent once more. */
  refused(url: URL, status: number, challenge: string | undefined): Promise<boolean>;
}

/** Headers that say how a message travels or where to: what the policy writes must not stand in for them. */
const OURS = /^(?:host|content-.*|transfer-encoding|connection|keep-alive|te|trailer|upgrade|accept(?:-encoding)?|mcp-.*|last-event-id|proxy-.*)$/i;

/** The headers that the policy's connection names, with their secrets. */
export function configuredHeaders(
  connection: string,
  headers: ReadonlyMap<string, string | SecretRef>,
  secret: (ref: SecretRef) => Secret | undefined,
): UpstreamCredentials {
  return {
    headers: async () => {
      const out: Record<string, string> = {};
      for (const [name, value] of headers) {
        if (OURS.test(name)) throw new Problem('bad-header', `The header ${name} of ${connection} cannot be set: it belongs to the connection itself.`);
        const known = typeof value === 'string' ? undefined : secret(value);
        if (typeof value !== 'string' && !known)
          throw new Problem('needs-secret', `${connection} needs the secret "${value.name}". Provide it in the Connections view.`);
        out[name] = typeof value === 'string' ? value : (known?.reveal() ?? '');
      }
      return out;
    },
    refused: async () => false,
  };
}

/** The same, with everything that is secret in them noted. What the policy writes out in a header is none. */
export function noting(secrets: HandedSecrets, configured: ReadonlyMap<string, string | SecretRef>, credentials: UpstreamCredentials): UpstreamCredentials {
  return {
    headers: async (url) => {
      const headers = await credentials.headers(url);
      for (const [name, value] of Object.entries(headers)) if (configured.get(name) !== value) secrets.add(value);
      return headers;
    },
    refused: (...refusal) => credentials.refused(...refusal),
  };
}
