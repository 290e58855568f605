/** Calls of the gateway's API, each decoded on arrival; no editor in here. */
import type { z } from 'zod';
import { ApiError, ENDPOINTS, type EndpointId } from '../../contract/gateway/api.ts';
import { Problem } from '../../contract/problem.ts';
import { problemOf } from './oauth.ts';
import type { Fetch } from './trust.ts';

/** How long one call may take, in milliseconds. */
const CALL_MS = 20_000;
/** A stream that says nothing for this long is taken for dead, in milliseconds: the gateway says something every 15 seconds. */
const SILENCE_MS = 40_000;
const MAX_ANSWER_CHARS = 8 * 1024 * 1024;
const MAX_LINE_CHARS = 65_536;

type Answer<Id extends EndpointId> = (typeof ENDPOINTS)[Id] extends { readonly answer: infer Schema extends z.ZodType } ? z.infer<Schema> : never;

export interface ApiOptions {
  readonly gateway: URL;
  readonly token: string;
  /** Left out: the authorities that everything here trusts. */
  readonly fetch?: Fetch;
}

/** @throws Problem `not-signed-in` and the gateway's other refusals, with its sentence; `gateway-unreachable` */
export async function call<Id extends EndpointId>(
  id: Id,
  { gateway, token, fetch: via = fetch }: ApiOptions,
  given: { readonly id?: string; readonly body?: unknown; readonly query?: Readonly<Record<string, string | number>> } = {},
): Promise<Answer<Id>> {
  const endpoint = ENDPOINTS[id];
  const path = endpoint.path.replace(':id', () => encodeURIComponent(given.id ?? ''));
  let text: string;
  let status: number;
  try {
    const url = under(gateway, path);
    for (const [name, value] of Object.entries(given.query ?? {})) url.searchParams.set(name, String(value));
    const response = await via(url, {
      method: endpoint.method,
      headers: { authorization: `Bearer ${token}`, ...(given.body !== undefined && { 'content-type': 'application/json' }) },
      ...(given.body !== undefined && { body: JSON.stringify(given.body) }),
      redirect: 'error',
      signal: AbortSignal.timeout(CALL_MS),
    });
    ({ status } = response);
    text = await response.text();
  } catch (cause) {
    throw problemOf(cause, gateway);
  }
  const value = parse(text.slice(0, MAX_ANSWER_CHARS));
  if (status >= 400) {
    const error = ApiError.safeParse(value).data;
    throw new Problem(error?.error ?? 'gateway-failed', error?.sentence ?? `The gateway at ${gateway.host} answered with ${status}.`);
  }
  const decoded = 'answer' in endpoint ? endpoint.answer.safeParse(value) : undefined;
  if (!decoded?.success)
    throw new Problem(
      'gateway-version',
      `The gateway at ${gateway.host} answered in a way that this version does not understand. Update the extension, or the gateway.`,
    );
  return decoded.data as Answer<Id>;
}

/** Follows what changes at the gateway until the stream ends. @throws as `call`, when it could not be had or broke */
export async function follow({ gateway, token, fetch: via = fetch }: ApiOptions, signal: AbortSignal, heard: (event: string) => void): Promise<void> {
  const silence = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const alive = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(new Error('no sign of life')), SILENCE_MS);
    timer.unref();
  };
  try {
    alive();
    const response = await via(under(gateway, ENDPOINTS.events.path), {
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
      redirect: 'error',
      signal: AbortSignal.any([signal, silence.signal]),
    });
    if (!response.ok || !response.body) {
      const error = ApiError.safeParse(parse(await response.text())).data;
      throw new Problem(error?.error ?? 'gateway-failed', error?.sentence ?? `The gateway at ${gateway.host} answered with ${response.status}.`);
    }
    let rest = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      alive();
      const lines = (rest + chunk).split('\n');
      rest = (lines.pop() ?? '').slice(0, MAX_LINE_CHARS);
      for (const line of lines) if (line.startsWith('event: ')) heard(line.slice('event: '.length).trim());
    }
  } catch (cause) {
    if (signal.aborted) return;
    throw problemOf(cause, gateway);
  } finally {
    clearTimeout(timer);
  }
}

/** A gateway may lie below a path. */
function under(gateway: URL, path: string): URL {
  return new URL(`${gateway.pathname.replace(/\/+$/, '')}${path}`, gateway);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
