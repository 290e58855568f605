/** Our half of the handshake in `contract/handshake.ts`. */
import { connect as dial, type Socket } from 'node:net';
import { CONTROL_BANNER, HANDSHAKE_TIMEOUT_MS, MAX_HANDSHAKE_LINE, newNonce, proof, sameProof } from '../../contract/handshake.ts';
import { code } from './locate.ts';

export type Connected =
  | { readonly kind: 'open'; readonly socket: Socket }
  /** Nobody listens. */
  | { readonly kind: 'unreachable'; readonly why: string }
  /** It listens and does not take our secret: another profile's proxy. */
  | { readonly kind: 'refused' }
  /** It could not prove that it knows our secret, or does not speak the handshake: not our proxy. */
  | { readonly kind: 'stranger'; readonly why: string };

const NONCE = /^[0-9a-f]{64}$/;
/** Most that is kept of what comes along with a handshake line, in bytes. */
const MAX_AHEAD = 65_536;

export async function connect(path: string, secret: string, timeoutMs: number = HANDSHAKE_TIMEOUT_MS): Promise<Connected> {
  const socket = dial(path);
  const lines = new Lines(socket, timeoutMs);
  try {
    await lines.connected;
  } catch (cause) {
    socket.destroy();
    return { kind: 'unreachable', why: code(cause) };
  }
  const result = await shake(socket, lines, secret);
  lines.stop();
  if (result.kind !== 'open') socket.destroy();
  return result;
}

async function shake(socket: Socket, lines: Lines, secret: string): Promise<Connected> {
  const banner = await lines.next();
  if (typeof banner !== 'string') return { kind: 'stranger', why: `it said nothing we know (${banner.why})` };
  const [proxyNonce, ...rest] = banner.startsWith(`${CONTROL_BANNER} `) ? banner.slice(CONTROL_BANNER.length + 1).split(' ') : [];
  if (proxyNonce === undefined || rest.length > 0 || !NONCE.test(proxyNonce)) return { kind: 'stranger', why: 'it does not speak our handshake' };
  const ours = newNonce();
  socket.write(`${ours} ${await proof(secret, 'extension', proxyNonce, ours)}\n`);
  const answer = await lines.next();
  if (typeof answer !== 'string') return answer.why === 'closed' ? { kind: 'refused' } : { kind: 'stranger', why: answer.why };
  if (!sameProof(answer, await proof(secret, 'proxy', proxyNonce, ours))) return { kind: 'stranger', why: 'its proof is wrong' };
  return { kind: 'open', socket };
}

/** Reads capped lines off a socket until the handshake is over, then hands it on with nothing lost. */
class Lines {
  readonly connected: Promise<void>;
  readonly #socket: Socket;
  readonly #timer: NodeJS.Timeout;
  #buffer = Buffer.alloc(0);
  #end: string | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: Socket, timeoutMs: number) {
    this.#socket = socket;
    this.connected = new Promise((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
      socket.once('close', () => reject(Object.assign(new Error('closed'), { code: 'ECLOSED' })));
    });
    this.connected.catch(() => undefined);
    // Not 'data': a socket that was set flowing and paused again does not start by itself for the next reader.
    socket.on('readable', this.#onReadable);
    socket.on('close', this.#onClose);
    socket.on('error', this.#onClose);
    this.#timer = setTimeout(() => {
      this.#finish('no answer in time');
      socket.destroy();
    }, timeoutMs);
  }

  async next(): Promise<string | { why: string }> {
    for (;;) {
      const at = this.#buffer.indexOf(0x0a);
      if (at >= 0 && at <= MAX_HANDSHAKE_LINE) {
        const line = this.#buffer.toString('latin1', 0, at);
        this.#buffer = this.#buffer.subarray(at + 1);
        return line;
      }
      if (this.#buffer.length > MAX_HANDSHAKE_LINE) return { why: 'line too long' };
      if (this.#end !== undefined) return { why: this.#end };
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#socket.off('readable', this.#onReadable);
    this.#socket.off('close', this.#onClose);
    // The 'error' listener stays: a socket without one takes the extension host down with it.
    if (this.#buffer.length > 0) this.#socket.unshift(this.#buffer);
  }

  readonly #onReadable = (): void => {
    for (let chunk = this.#socket.read() as Buffer | null; chunk !== null; chunk = this.#socket.read() as Buffer | null) {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      if (this.#buffer.length > MAX_AHEAD) return this.#finish('too much at once');
    }
    this.#wake?.();
  };

  readonly #onClose = (): void => this.#finish('closed');

  #finish(why: string): void {
    this.#end ??= why;
    this.#wake?.();
  }
}
