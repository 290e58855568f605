/** A link with its streams, and the WebSocket that carries it at the moment. The same on both ends of the tunnel. */
import type { WebSocket } from 'ws';
import { MAX_CONTROL_BYTES, MESSAGE } from '../../contract/tunnel.ts';
import type { Log } from '../pipeline/engine.ts';
import { TunnelViolation } from './frames.ts';
import { Link, type Transport } from './link.ts';
import { Mux, type MuxOptions } from './mux.ts';

/** How often the other side is asked for a sign of life, and how long without one until it counts as gone, in milliseconds. */
const PING_MS = 15_000;
const SILENCE_MS = 40_000;
/** WebSocket close codes (RFC 6455, 7.4.1). */
const CLOSE = { normal: 1000, protocol: 1002, replaced: 4000 } as const;

export interface CarrierOptions extends Omit<MuxOptions, 'channel'> {
  /** JSON that the other side said; nobody has looked at it. May throw TunnelViolation. */
  readonly onControl: (said: unknown) => void;
  /** The WebSocket is gone; the link may go on over another. */
  readonly onDetached: () => void;
  /** The link cannot go on. `close` has been called. */
  readonly onBroken: (sentence: string) => void;
  readonly log: Log;
}

export class Carrier {
  readonly mux: Mux;
  readonly #link: Link;
  readonly #options: CarrierOptions;
  #socket: WebSocket | undefined;
  #closed = false;

  constructor(options: CarrierOptions) {
    this.#options = options;
    this.#link = new Link({
      onFrames: (message, from) => this.mux.receive(message, from),
      onReady: () => this.mux.writable(),
      onBroken: (why) => this.#broken(why),
    });
    this.mux = new Mux({ ...options, channel: this.#link });
  }

  get received(): number {
    return this.#link.received;
  }

  get attached(): boolean {
    return this.#socket !== undefined;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Goes on over this WebSocket, whose greeting is done. @param peerReceived messages that the other side has */
  bind(socket: WebSocket, peerReceived: number): void {
    const before = this.#socket;
    this.#socket = socket;
    let lastSign = this.#options.now();
    const alive = (): void => {
      lastSign = this.#options.now();
    };
    const pings = setInterval(() => {
      if (this.#options.now() - lastSign > SILENCE_MS) socket.terminate();
      else if (socket.readyState === socket.OPEN) socket.ping();
    }, PING_MS).unref();
    const transport: Transport = {
      get buffered() {
        return socket.bufferedAmount;
      },
      send: (message, sent) => socket.send(message, sent),
      close: () => socket.close(CLOSE.replaced),
    };
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      alive();
      if (this.#socket === socket) this.#take(data, isBinary);
    });
    socket.on('ping', alive).on('pong', alive);
    socket.once('close', () => {
      clearInterval(pings);
      this.#link.detach(transport);
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      if (!this.#closed) this.#options.onDetached();
    });
    this.#guarded(() => this.#link.attach(transport, peerReceived));
    if (before && before !== socket) before.close(CLOSE.replaced);
  }

  /** Says something of its own, outside of all streams. False where there is nobody to say it to. */
  say(control: object): boolean {
    if (this.#socket?.readyState !== this.#socket?.OPEN) return false;
    return sayOn(this.#socket, control);
  }

  /** Every stream ends with the sentence, here; the WebSocket is closed. */
  close(code: string, sentence: string, socketCode: number = CLOSE.normal): void {
    if (this.#closed) return;
    this.#closed = true;
    this.mux.close(code, sentence);
    this.#link.close();
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close(socketCode);
  }

  #take(data: Buffer, isBinary: boolean): void {
    this.#guarded(() => {
      if (!isBinary) throw new TunnelViolation('text in a tunnel of bytes');
      if (data[0] === MESSAGE.control) this.#options.onControl(readControl(data));
      else this.#link.receive(data);
    });
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (cause) {
      if (!(cause instanceof TunnelViolation)) this.#options.log.error('tunnel.failed', { cause });
      this.#broken(cause instanceof TunnelViolation ? cause.message : 'a fault in Countersign');
    }
  }

  #broken(why: string): void {
    if (this.#closed) return;
    this.#options.log.warn('tunnel.broken', { why });
    const sentence = `The tunnel was closed, because the two sides did not understand each other (${why}). Connect again; if it comes back, update Countersign on both.`;
    this.close('tunnel-broken', sentence, CLOSE.protocol);
    this.#options.onBroken(sentence);
  }
}

/** What a WebSocket says before it is bound to a link. */
export function sayOn(socket: WebSocket | undefined, control: object): boolean {
  if (!socket) return false;
  socket.send(Buffer.concat([Buffer.of(MESSAGE.control), Buffer.from(JSON.stringify(control))]), () => {});
  return true;
}

/** @throws TunnelViolation */
export function readControl(data: Buffer): unknown {
  if (data[0] !== MESSAGE.control || data.length > MAX_CONTROL_BYTES) throw new TunnelViolation('a control message that is none, or too large');
  try {
    return JSON.parse(data.toString('utf8', 1));
  } catch {
    throw new TunnelViolation('a control message that is no JSON');
  }
}
