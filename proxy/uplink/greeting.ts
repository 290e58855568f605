/** The WebSocket to a gateway, up to the moment that both have said hello. */
import { WebSocket } from 'ws';
import { z } from 'zod';
import { Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';
import { FromGateway, MAX_MESSAGE_BYTES, type ToGateway, TUNNEL_PATH, TUNNEL_PROTOCOL } from '../../contract/tunnel.ts';
import { readControl, sayOn } from './carrier.ts';
import { type DialOptions, dial } from './dial.ts';
import { SIGNED_OUT } from './uplinkState.ts';

/** How long the connection, the upgrade and the greeting may take together, in milliseconds. */
const GREETING_MS = 15_000;
/** Longest answer that is read where a gateway refuses, in bytes. */
const MAX_REFUSAL_BYTES = 4096;

export type Welcome = Extract<FromGateway, { type: 'welcome' }>;

export interface GreetingOptions extends Omit<DialOptions, 'url'> {
  /** The gateway's base address. */
  readonly url: URL;
  readonly token: Secret;
  readonly hello: Extract<ToGateway, { type: 'hello' }>;
  /** Called with the welcome, before anything that follows it is read: bind the socket here. */
  readonly welcomed: (socket: WebSocket, welcome: Welcome) => void;
}

/**
 * @returns resolves when the WebSocket is gone again
 * @throws Problem as `dial`, and `gateway-signed-out`, `gateway-refused`
 */
export async function greetGateway({ url, env, ca, token, hello, welcomed, signal }: GreetingOptions): Promise<{ readonly gone: Promise<void> }> {
  const timeout = AbortSignal.timeout(GREETING_MS);
  const either = AbortSignal.any([signal, timeout]);
  const stream = await dial({ url, env, ...(ca !== undefined && { ca }), signal: either });
  const target = new URL(TUNNEL_PATH, url);
  target.protocol = url.protocol === 'https:' || url.protocol === 'wss:' ? 'wss:' : 'ws:';
  const socket = new WebSocket(target, TUNNEL_PROTOCOL, {
    createConnection: () => stream,
    headers: { Authorization: `Bearer ${token.reveal()}` },
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    skipUTF8Validation: true,
  });
  return new Promise((resolve, reject) => {
    let greeted = false;
    let gone: () => void = () => {};
    const ended = new Promise<void>((done) => {
      gone = done;
    });
    const fail = (problem: Problem): void => {
      reject(problem);
      socket.terminate();
    };
    const unreachable = (why: string, cause?: unknown): Problem =>
      new Problem('gateway-unreachable', `The gateway at ${url.host} cannot be reached (${why}). Check the network; it is tried again by itself.`, { cause });
    const aborted = (): void => fail(unreachable('no answer'));
    either.addEventListener('abort', aborted, { once: true });
    socket.on('error', (cause) => fail(unreachable((cause as NodeJS.ErrnoException).code ?? cause.message.slice(0, 100), cause)));
    socket.on('unexpected-response', (_request, response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        if (text.length < MAX_REFUSAL_BYTES) text += chunk.toString('latin1');
      });
      response.once('close', () => fail(refusal(response.statusCode ?? 0, text, url.host)));
      response.on('error', () => {});
    });
    socket.once('open', () => sayOn(socket, hello));
    socket.once('message', (data: Buffer) => {
      either.removeEventListener('abort', aborted);
      try {
        const said = FromGateway.parse(readControl(data));
        if (said.type === 'bye') return fail(new Problem(byeCode(said.code), said.sentence));
        if (said.type !== 'welcome') throw new Error('no welcome');
        greeted = true;
        welcomed(socket, said);
        resolve({ gone: ended });
      } catch (cause) {
        fail(
          new Problem('gateway-refused', `What answers at ${url.host} is not a gateway of this version. Check the address, or update Countersign.`, { cause }),
        );
      }
      return undefined;
    });
    socket.once('close', () => {
      either.removeEventListener('abort', aborted);
      if (greeted) gone();
      else reject(unreachable('it hung up'));
    });
  });
}

const Refusal = z.object({ error: z.string().max(1000) });

function refusal(status: number, text: string, host: string): Problem {
  let said: string | undefined;
  try {
    said = Refusal.parse(JSON.parse(text)).error;
  } catch {
    // A gateway says why in JSON; something in between does not.
  }
  if (status === 401) return new Problem('gateway-signed-out', said ?? SIGNED_OUT);
  if (status === 503 || status === 502 || status === 504 || status === 429) {
    return new Problem('gateway-unreachable', said ?? `The gateway at ${host} is not ready (${status}). It is tried again by itself.`);
  }
  return new Problem('gateway-refused', said ?? `The gateway at ${host} refused the tunnel (${status}). Check the gateway's address.`);
}

function byeCode(code: string): string {
  return code === 'token-expired' || code === 'revoked' ? 'gateway-signed-out' : 'gateway-unreachable';
}
