/** A socket to the gateway: straight or through an HTTP proxy, encrypted and checked, with a sentence for each way to fail. */
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, rootCertificates, type TLSSocket } from 'node:tls';
import { Problem } from '../../contract/problem.ts';
import { type Environment, proxyFor, proxyLogin } from './httpProxy.ts';

const KEEP_ALIVE_MS = 15_000;
const LOOPBACK = new Set(['localhost', '127.0.0.1', '::1', '[::1]']);

export interface DialOptions {
  /** `wss:` or `https:`; unencrypted (`ws:`, `http:`) on this machine alone. */
  readonly url: URL;
  readonly env: Environment;
  /** Path of a PEM file with further authorities to trust. */
  readonly ca?: string;
  readonly signal: AbortSignal;
}

/** @throws Problem `gateway-address`, `gateway-unreachable`, `gateway-proxy`, `gateway-certificate` */
export async function dial({ url, env, ca, signal }: DialOptions): Promise<Socket | TLSSocket> {
  const secure = url.protocol === 'wss:' || url.protocol === 'https:';
  if (!secure && !LOOPBACK.has(url.hostname)) {
    throw new Problem('gateway-address', `The gateway's address, ${url.origin}, is not encrypted. Write https://${url.host}.`);
  }
  const port = Number(url.port) || (secure ? 443 : 80);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const proxy = proxyFor(url, env);
  const raw = proxy ? await throughProxy(proxy, url.hostname, port, signal) : await straight(host, port, url, signal);
  raw.setNoDelay(true);
  raw.setKeepAlive(true, KEEP_ALIVE_MS);
  if (!secure) return raw;
  return encrypt(raw, host, url, authorities(ca), signal);
}

async function straight(host: string, port: number, url: URL, signal: AbortSignal): Promise<Socket> {
  const socket = connectTcp({ host, port, autoSelectFamily: true });
  socket.on('error', () => {});
  try {
    await settled(socket, 'connect', signal);
    return socket;
  } catch (cause) {
    socket.destroy();
    throw new Problem(
      'gateway-unreachable',
      `The gateway at ${url.host} cannot be reached (${codeOf(cause)}). Check the network; it is tried again by itself.`,
      {
        cause,
      },
    );
  }
}

function throughProxy(proxy: URL, host: string, port: number, signal: AbortSignal): Promise<Socket> {
  const at = `${proxy.hostname}:${proxy.port || (proxy.protocol === 'https:' ? 443 : 80)}`;
  const login = proxyLogin(proxy);
  return new Promise((resolve, reject) => {
    const fail = (code: string, sentence: string, cause?: unknown): void => reject(new Problem(code, sentence, { cause }));
    const request = (proxy.protocol === 'https:' ? httpsRequest : httpRequest)({
      host: proxy.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80),
      method: 'CONNECT',
      path: `${host}:${port}`,
      headers: { Host: `${host}:${port}`, ...(login !== undefined && { 'Proxy-Authorization': login }) },
      agent: false,
      signal,
    });
    request.once('connect', (response, socket: Socket, head: Buffer) => {
      if (response.statusCode === 200 && head.length === 0) {
        socket.on('error', () => {});
        return resolve(socket);
      }
      socket.destroy();
      if (response.statusCode === 407) {
        return fail('gateway-proxy', `The HTTP proxy ${at} wants a login. Put it into HTTPS_PROXY (http://NAME:PASSWORD@${at}), then restart the editor.`);
      }
      return fail('gateway-proxy', `The HTTP proxy ${at} does not let us through to ${host}:${port} (${response.statusCode}). Ask for it to be allowed.`);
    });
    request.once('response', (response) => {
      response.destroy();
      fail('gateway-proxy', `${at} is set as the HTTP proxy, and it does not answer like one (${response.statusCode}). Check HTTPS_PROXY.`);
    });
    request.once('error', (cause) =>
      fail(
        'gateway-unreachable',
        `The HTTP proxy ${at} cannot be reached (${codeOf(cause)}). Check HTTPS_PROXY and the network; it is tried again by itself.`,
        cause,
      ),
    );
    request.end();
  });
}

async function encrypt(raw: Socket, host: string, url: URL, ca: string[] | undefined, signal: AbortSignal): Promise<TLSSocket> {
  const secure = connectTls({ socket: raw, host, ALPNProtocols: ['http/1.1'], ...(isIP(host) === 0 && { servername: host }), ...(ca && { ca }) });
  secure.on('error', () => {});
  try {
    await settled(secure, 'secureConnect', signal);
    return secure;
  } catch (cause) {
    secure.destroy();
    throw certificateProblem(cause, url.host);
  }
}

function certificateProblem(cause: unknown, host: string): Problem {
  const code = codeOf(cause);
  const said = (sentence: string): Problem => new Problem('gateway-certificate', sentence, { cause });
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return said(`The certificate of the gateway at ${host} has expired. Whoever runs it must renew it; it is tried again by itself.`);
    case 'CERT_NOT_YET_VALID':
      return said(`The certificate of the gateway at ${host} is not valid yet. Check this machine's clock.`);
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return said(`The certificate that ${host} shows is for another name. Check the gateway's address.`);
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return said(
        `The certificate of the gateway at ${host} is by an authority that this machine does not trust (${code}). Name its file as the gateway's ca.`,
      );
    default:
      return new Problem('gateway-unreachable', `The gateway at ${host} cannot be reached (${code}). Check the network; it is tried again by itself.`, {
        cause,
      });
  }
}

function authorities(file: string | undefined): string[] | undefined {
  if (file === undefined) return undefined;
  try {
    return [...rootCertificates, readFileSync(file, 'utf8')];
  } catch (cause) {
    throw new Problem('gateway-certificate', `The file with the gateway's authority, ${file}, cannot be read (${codeOf(cause)}). Check its path.`, { cause });
  }
}

function settled(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const off = (): void => {
      socket.off(event, done).off('error', fail).off('close', gone);
      signal.removeEventListener('abort', aborted);
    };
    const done = (): void => {
      off();
      resolve();
    };
    const fail = (cause: unknown): void => {
      off();
      reject(cause);
    };
    const gone = (): void => fail(Object.assign(new Error('closed'), { code: 'closed' }));
    const aborted = (): void => fail(Object.assign(new Error('no answer'), { code: 'no answer' }));
    socket.once(event, done).once('error', fail).once('close', gone);
    signal.addEventListener('abort', aborted, { once: true });
    if (signal.aborted) aborted();
  });
}

function codeOf(cause: unknown): string {
  // Several addresses were tried: the first says as much as all.
  const first = cause instanceof AggregateError ? (cause.errors[0] as unknown) : cause;
  const { code, message, name } = first as { code?: unknown; message?: string; name?: string };
  if (name === 'AbortError' || name === 'TimeoutError') return 'no answer';
  return typeof code === 'string' ? code : (message ?? 'unknown error').slice(0, 100);
}
