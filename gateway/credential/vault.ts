/** The HTTP API that HashiCorp Vault and OpenBao share: https://openbao.org/api-docs/, as far as it is used here. */
import { z } from 'zod';
import { Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';

const TIMEOUT_MS = 10_000;
/** Largest answer that is read, in bytes. */
const MAX_ANSWER_BYTES = 1024 * 1024;

const Answer = z.object({
  lease_id: z.string().max(1000).default(''),
  lease_duration: z.number().nonnegative().default(0),
  renewable: z.boolean().default(false),
  data: z.record(z.string(), z.unknown()).nullish(),
  errors: z.array(z.string()).optional(),
});
export type VaultAnswer = z.infer<typeof Answer>;

export interface VaultOptions {
  readonly address: URL;
  readonly token: () => Secret;
  /** Enterprise and OpenBao namespaces. */
  readonly namespace?: string;
  readonly fetch?: typeof globalThis.fetch;
}

export class Vault {
  readonly #options: VaultOptions;

  constructor(options: VaultOptions) {
    this.#options = options;
  }

  /**
   * @param path below `/v1/`
   * @throws Problem `vault-away`, `vault-refused`: neither holds an answer's text, which may hold a secret
   */
  async request(method: 'GET' | 'POST' | 'PUT', path: string, body?: object): Promise<VaultAnswer> {
    const { address, namespace, token } = this.#options;
    const fetch = this.#options.fetch ?? globalThis.fetch;
    let response: Response;
    let text: string;
    try {
      response = await fetch(new URL(`/v1/${path}`, address), {
        method,
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
        headers: {
          'X-Vault-Token': token().reveal(),
          'X-Vault-Request': 'true',
          ...(namespace !== undefined && { 'X-Vault-Namespace': namespace }),
          ...(body && { 'Content-Type': 'application/json' }),
        },
        ...(body && { body: JSON.stringify(body) }),
      });
      text = await limited(response);
    } catch (cause) {
      throw new Problem('vault-away', `Vault at ${address.host} does not answer. Sessions that need a credential from it cannot begin until it does.`, {
        cause,
      });
    }
    if (response.status === 204) return Answer.parse({});
    if (!response.ok) {
      const sealed = response.status === 503 || response.status === 429 || response.status === 473;
      throw new Problem(
        sealed ? 'vault-away' : 'vault-refused',
        sealed
          ? `Vault at ${address.host} is sealed or busy (${response.status}). It is asked again with the next session.`
          : `Vault at ${address.host} refused ${path.split('/')[0]} (${response.status}). Check the gateway's token and its policy there.`,
      );
    }
    const parsed = Answer.safeParse(JSON.parse(text));
    if (!parsed.success) throw new Problem('vault-refused', `Vault at ${address.host} answered what is not an answer of its API.`);
    return parsed.data;
  }
}

async function limited(response: Response): Promise<string> {
  if (!response.body) return '';
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new Error('the answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
