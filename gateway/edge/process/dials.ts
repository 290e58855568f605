/** Serves the streams that a gateway opens to an edge: each leads to one address, or is refused. */
import { connect, type Socket } from 'node:net';
import { DIALLED, EdgeOpening, type EdgeTarget } from '../../../contract/tunnel.ts';
import type { Log } from '../../../proxy/pipeline/engine.ts';
import { TunnelViolation } from '../../../proxy/uplink/frames.ts';
import type { MuxStream } from '../../../proxy/uplink/muxStream.ts';
import type { Allowed, Place } from './allow.ts';

/** How long a name may take to be looked up, and one address to answer, in milliseconds. */
const CONNECT_MS = 8_000;
/** Connections that are being made at once: beyond it the gateway is told to come again. */
const MAX_CONNECTING = 200;
const KEEP_ALIVE_MS = 30_000;

export type DialOutcome = 'connected' | 'refused' | 'unreachable';

export interface DialsOptions {
  readonly edge: string;
  readonly allowed: Allowed;
  readonly log: Log;
  readonly counted: (outcome: DialOutcome) => void;
  readonly passed: (direction: 'in' | 'out', bytes: number) => void;
  readonly connectMs?: number;
}

export class Dials {
  readonly #options: DialsOptions;
  readonly #open = new Map<MuxStream, Socket>();
  #connecting = 0;
  #draining = false;

  constructor(options: DialsOptions) {
    this.#options = options;
  }

  /** Ways that are open. */
  get size(): number {
    return this.#open.size;
  }

  /** Nothing new from now on. */
  drain(): void {
    this.#draining = true;
  }

  /** Ends what is open. */
  end(): void {
    for (const stream of this.#open.keys()) stream.reset('edge-draining', 'The edge is shutting down.');
  }

  /** @param targets what the gateway says that it may ask for. @throws TunnelViolation where the opening is none */
  take(payload: Buffer, stream: MuxStream, targets: readonly EdgeTarget[]): void {
    let opening: EdgeOpening;
    try {
      opening = EdgeOpening.parse(JSON.parse(payload.toString()));
    } catch {
      throw new TunnelViolation('an opening that is none');
    }
    if (this.#draining) return stream.reset('edge-draining', 'The edge is shutting down.');
    if (this.#connecting >= MAX_CONNECTING) return stream.reset('edge-unreachable', 'too many connections are being made');
    // Both lists must hold it: the gateway's says what it is asked for in whose name, ours where it may lead.
    const { connection, host, port } = opening;
    if (!targets.some((target) => target.connection === connection && target.host === host && target.port === port))
      return this.#refuse(stream, opening, 'the gateway did not say that it would ask for it');
    this.#connecting++;
    void this.#dial(opening, stream).finally(() => this.#connecting--);
    return undefined;
  }

  async #dial(opening: EdgeOpening, stream: MuxStream): Promise<void> {
    const { allowed, connectMs = CONNECT_MS, counted, log } = this.#options;
    const { connection, host, port } = opening;
    const signal = AbortSignal.timeout(connectMs);
    let why = 'it took too long';
    try {
      const places = await inTime(allowed.places(opening), signal);
      if (places.length === 0) return this.#refuse(stream, opening, 'it is not on the list of what this edge allows');
      for (const place of places) {
        if (stream.destroyed) return;
        try {
          const socket = await reach(place, signal);
          counted('connected');
          log.info('edge.dialled', { connection, host, port });
          return this.#join(stream, socket);
        } catch (cause) {
          why = codeOf(cause);
          if (signal.aborted) break;
        }
      }
    } catch (cause) {
      why = codeOf(cause);
    }
    counted('unreachable');
    log.warn('edge.unreachable', { connection, host, port, why });
    stream.reset('edge-unreachable', why);
  }

  #refuse(stream: MuxStream, { connection, host, port }: EdgeOpening, why: string): void {
    this.#options.counted('refused');
    this.#options.log.warn('edge.refused', { connection, host, port, why });
    stream.reset('edge-refused', why);
  }

  #join(stream: MuxStream, socket: Socket): void {
    if (stream.destroyed) {
      socket.destroy();
      return;
    }
    const { passed } = this.#options;
    this.#open.set(stream, socket);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    stream.write(Buffer.of(DIALLED));
    socket.on('data', (chunk: Buffer) => passed('in', chunk.length));
    stream.on('data', (chunk: Buffer) => passed('out', chunk.length));
    socket.pipe(stream);
    stream.pipe(socket);
    socket.on('error', (cause) => stream.reset('edge-upstream', codeOf(cause)));
    socket.once('close', () => {
      if (!stream.writableEnded) stream.reset('edge-upstream', 'it hung up');
      this.#open.delete(stream);
    });
    stream.once('close', () => {
      this.#open.delete(stream);
      // What was sent is for the other end to read; a stream that broke off is not waited for.
      if (stream.errored || !socket.writableEnded) socket.destroy();
    });
  }
}

function reach(place: Place, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...place, allowHalfOpen: true });
    const done = (): void => {
      socket.off('connect', connected).off('error', fail);
      signal.removeEventListener('abort', late);
    };
    const connected = (): void => {
      done();
      resolve(socket);
    };
    const fail = (cause: unknown): void => {
      done();
      socket.on('error', () => {});
      socket.destroy();
      reject(cause);
    };
    const late = (): void => fail(new Error('it took too long'));
    socket.once('connect', connected).once('error', fail);
    signal.addEventListener('abort', late, { once: true });
    if (signal.aborted) late();
  });
}

async function inTime<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let late = (): void => {};
  try {
    return await Promise.race([
      work,
      new Promise<never>((_, reject) => {
        late = () => reject(new Error('its name could not be looked up in time'));
        signal.addEventListener('abort', late, { once: true });
      }),
    ]);
  } finally {
    signal.removeEventListener('abort', late);
  }
}

/** A code of the system's, which tells nothing of where it was. */
function codeOf(cause: unknown): string {
  const { code } = cause as { code?: unknown };
  return typeof code === 'string' && /^[A-Z_]{1,40}$/.test(code) ? code : cause instanceof Error && code === undefined ? cause.message.slice(0, 100) : 'failed';
}
