/** A connection to a server: straight from here, or dialled inside another network; encrypted where its address says so. */
import { isIP, connect as plainConnect, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { Problem } from '../../../../contract/problem.ts';
import type { Dial } from '../../protocol.ts';
import { guardedLookup } from './addresses.ts';

/** How long a connection may take to come up, in milliseconds. */
const CONNECT_MS = 15_000;

/** @throws a `Problem`, or the system's error */
export async function connectTo(url: URL, dial: Dial | undefined, signal: AbortSignal): Promise<Duplex> {
  const secure = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = Number(url.port || (secure ? 443 : 80));
  const late = new AbortController();
  const either = AbortSignal.any([signal, late.signal]);
  const timer = setTimeout(() => late.abort(new Problem('unreachable', `The server at ${url.host} does not answer.`)), CONNECT_MS);
  try {
    const dialled = dial && (await dial({ host, port }, either)).stream;
    dialled?.on('error', () => {});
    const name = { ALPNProtocols: ['http/1.1'], ...(isIP(host) === 0 && { servername: host }) };
    const lookup = guardedLookup(url);
    const target = { host, port, ...(lookup && { lookup }) };
    if (dialled) return secure ? await up(tlsConnect({ socket: dialled, host, ...name }), 'secureConnect', either) : dialled;
    const socket = secure ? tlsConnect({ ...target, ...name }) : plainConnect(target);
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
    return await up(socket, secure ? 'secureConnect' : 'connect', either);
  } finally {
    clearTimeout(timer);
  }
}

function up<S extends Socket>(socket: S, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<S> {
  return new Promise((resolve, reject) => {
    let failed: Error | undefined;
    const abort = (): void => void socket.destroy(signal.reason instanceof Error ? signal.reason : new Error('the exchange was given up'));
    const fail = (cause: Error): void => {
      failed = cause;
    };
    const settle = (): void => {
      signal.removeEventListener('abort', abort);
      socket.off('close', lost);
    };
    const lost = (): void => {
      settle();
      reject(failed ?? Object.assign(new Error('the server hung up'), { code: 'ECONNRESET' }));
    };
    // It stays: an error before whoever uses it listens must not end the proxy.
    socket.on('error', fail);
    socket.once('close', lost);
    socket.once(event, () => {
      settle();
      resolve(socket);
    });
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
  });
}

/** Whether a connection that nobody uses keeps the process alive. */
export function keepsAlive(stream: Duplex, keeps: boolean): void {
  if (!(stream instanceof Socket)) return;
  if (keeps) stream.ref();
  else stream.unref();
}
