/** Calls of the gateway's API from its own page: the login is a cookie that script cannot read, and what changes anything carries the page's token. */
import type { z } from 'zod';
import { ApiError, ENDPOINTS, type Endpoint, type EndpointId } from '../../contract/gateway/api.ts';
import type { Me } from '../../contract/gateway/identity.ts';

/** How long an answer may take, in milliseconds. */
const TIMEOUT_MS = 20_000;

type Table = typeof ENDPOINTS;
type Field<Id extends EndpointId, Name extends string> = Table[Id] extends Record<Name, infer Schema extends z.ZodType> ? Schema : undefined;
type In<Schema> = Schema extends z.ZodType ? z.input<Schema> : undefined;
type Out<Schema> = Schema extends z.ZodType ? z.infer<Schema> : undefined;

export interface Call<Id extends EndpointId> {
  readonly id?: string;
  readonly query?: Partial<In<Field<Id, 'query'>>>;
  readonly body?: In<Field<Id, 'body'>>;
}

/** What went wrong, in a sentence for the person at the screen. */
export class ApiFailure extends Error {
  readonly code: string;

  constructor(code: string, sentence: string) {
    super(sentence);
    this.code = code;
  }
}

export class Api {
  #csrf = '';

  /** Who is signed in; asked once before anything else, for the page's token comes with it. */
  async me(): Promise<Me> {
    const me = await this.call('me');
    this.#csrf = me.csrf ?? '';
    return me;
  }

  /** @throws ApiFailure */
  async call<Id extends EndpointId>(name: Id, { id, query, body }: Call<Id> = {}): Promise<Out<Field<Id, 'answer'>>> {
    const endpoint: Endpoint = ENDPOINTS[name];
    const url = new URL(endpoint.path.replace(':id', encodeURIComponent(id ?? '')), location.origin);
    for (const [key, value] of Object.entries<unknown>(query ?? {}))
      if (typeof value === 'string' || typeof value === 'number') url.searchParams.set(key, String(value));
    let response: Response;
    try {
      response = await fetch(url, {
        method: endpoint.method,
        headers: { Accept: 'application/json', ...(endpoint.method !== 'GET' && { 'X-CSRF-Token': this.#csrf, 'Content-Type': 'application/json' }) },
        ...(endpoint.method !== 'GET' && endpoint.method !== 'DELETE' && { body: JSON.stringify(body ?? {}) }),
        credentials: 'same-origin',
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch {
      throw new ApiFailure('unreachable', 'The gateway does not answer. What you see may be out of date; it is tried again by itself.');
    }
    const answer: unknown = await response.json().catch(() => undefined);
    if (!response.ok) {
      const refusal = ApiError.safeParse(answer);
      throw refusal.success
        ? new ApiFailure(refusal.data.error, refusal.data.sentence)
        : new ApiFailure('failed', `The gateway failed (${response.status}). Its log says more.`);
    }
    const parsed = endpoint.answer?.safeParse(answer);
    if (parsed && !parsed.success) throw new ApiFailure('other-version', 'The gateway answered in a way that this page does not know. Load the page again.');
    return parsed?.data as Out<Field<Id, 'answer'>>;
  }

  /** Calls `changed` with the kind of what changed, for as long as the page is open. The browser reconnects by itself. */
  listen(changed: (kind: string) => void): void {
    const source = new EventSource(ENDPOINTS.events.path);
    for (const kind of ['ready', 'policy', 'approval', 'grant', 'session', 'edge', 'pin']) source.addEventListener(kind, () => changed(kind));
  }
}

export function sentenceOf(cause: unknown): string {
  return cause instanceof ApiFailure ? cause.message : 'Something in this page failed. Load it again.';
}
