/**
 * Many streams over one channel of messages. Pure: it is handed what came and hands out what to send; the channel may be a
 * WebSocket, a resumed one, or a test. Frames that are written in one turn of the event loop leave as one message.
 */
import { DATA_HEADER_BYTES, FRAME, FRAME_HEADER_BYTES, MAX_MESSAGE_BYTES, MAX_OPENING_BYTES, MAX_STREAMS, StreamReset } from '../../contract/tunnel.ts';
import { creditPayload, type Frame, readCredit, readFrames, TunnelViolation, writeFrameHeader } from './frames.ts';
import { MuxStream, type StreamGround } from './muxStream.ts';

/** A message is sent when so many bytes wait, without waiting for the turn's end. */
const BATCH_BYTES = 256 * 1024;
/** Credit that may be out over all streams of a link before windows stop growing, in bytes: what slow readers can pile up. */
const MAX_CREDIT_OUT_BYTES = 64 * 1024 * 1024;
/** Streams that the other side may open in a burst, and how many more a second: opening and resetting costs us, not it. */
const OPEN_BURST = MAX_STREAMS;
const OPENS_PER_SECOND = 500;
const MAX_ID = 0xffff_fffe;
const NOTHING = Buffer.alloc(0);

/** What the multiplexer runs over. */
export interface Channel {
  /** Takes the message over. Its first `DATA_HEADER_BYTES` are left free for the channel's own header. */
  send(message: Buffer): void;
  /** False: send no more data now. `Mux.writable()` is to be called when that changes. */
  readonly ready: boolean;
}

export interface MuxOptions {
  readonly channel: Channel;
  /** The client opens streams of odd ids, the server of even ones. */
  readonly role: 'client' | 'server';
  /** The other side opened a stream. `opening` is JSON that nobody has looked at. Absent: it may open none. */
  readonly onStream?: (opening: Buffer, stream: MuxStream) => void;
  /** Called when the number of streams changes. */
  readonly onCount?: (streams: number) => void;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly maxStreams?: number;
}

export class Mux {
  readonly #options: MuxOptions;
  readonly #streams = new Map<number, MuxStream>();
  readonly #held = new Set<MuxStream>();
  readonly #maxStreams: number;
  /** What each stream is given of this. */
  readonly #ground: StreamGround;
  /** Frames of this turn: header fields and payload, one after the other. */
  #batch: { readonly type: number; readonly stream: number; readonly payload: Buffer }[] = [];
  #batchBytes = 0;
  #scheduled = false;
  #nextId: number;
  #lastTheirs = 0;
  #opens = OPEN_BURST;
  #opensAt: number;
  #closed: { readonly code: string; readonly sentence: string } | undefined;

  constructor(options: MuxOptions) {
    this.#options = options;
    this.#maxStreams = options.maxStreams ?? MAX_STREAMS;
    this.#nextId = options.role === 'client' ? 1 : 2;
    this.#opensAt = options.now();
    this.#ground = this.#makeGround();
  }

  get size(): number {
    return this.#streams.size;
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Opens a stream; what is written to it may leave in the same message. Where that cannot be, it comes destroyed. */
  open(opening: object): MuxStream {
    const payload = Buffer.from(JSON.stringify(opening));
    if (payload.length > MAX_OPENING_BYTES) throw new RangeError(`an opening of ${payload.length} bytes`);
    const stream = new MuxStream(this.#nextId, this.#ground);
    if (this.#closed) {
      stream.receivedReset(this.#closed.code, this.#closed.sentence);
    } else if (this.#streams.size >= this.#maxStreams || this.#nextId > MAX_ID) {
      stream.receivedReset('too-many-streams', `Too many sessions (${this.#streams.size}) go through this tunnel already. Close some and connect again.`);
    } else {
      this.#nextId += 2;
      this.#add(stream);
      this.#queue(FRAME.open, stream.id, payload);
    }
    return stream;
  }

  /** @throws TunnelViolation: the link must end, and with it everything here. */
  receive(message: Buffer, from = 0): void {
    if (!this.#closed) readFrames(message, from, (frame) => this.#take(frame));
  }

  /** The channel takes data again. */
  writable(): void {
    const held = [...this.#held];
    this.#held.clear();
    // Who waited longest goes first; who is still held queues up again.
    for (const stream of held) stream.resumeSending();
  }

  /** Every stream ends, here alone: the channel is gone. */
  close(code: string, sentence: string): void {
    if (this.#closed) return;
    this.#closed = { code, sentence };
    this.#batch = [];
    this.#batchBytes = 0;
    for (const stream of this.#streams.values()) stream.receivedReset(code, sentence);
  }

  /** Every stream ends on both sides; the channel stays. */
  resetAll(code: string, sentence: string): void {
    for (const stream of this.#streams.values()) stream.reset(code, sentence);
    this.flush();
  }

  /** Sends what waits for the end of this turn. */
  flush(): void {
    this.#scheduled = false;
    const batch = this.#batch;
    if (batch.length === 0) return;
    const message = Buffer.allocUnsafe(DATA_HEADER_BYTES + this.#batchBytes);
    let at = DATA_HEADER_BYTES;
    for (const { type, stream, payload } of batch) {
      writeFrameHeader(message, at, type, stream, payload.length);
      at += FRAME_HEADER_BYTES;
      payload.copy(message, at);
      at += payload.length;
    }
    this.#batch = [];
    this.#batchBytes = 0;
    this.#options.channel.send(message);
  }

  // ── inside ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #makeGround(): StreamGround {
    const { channel, onCount } = this.#options;
    const streams = this.#streams;
    const held = this.#held;
    return {
      get writable() {
        return channel.ready;
      },
      data: (stream, chunk) => this.#queue(FRAME.data, stream, chunk),
      credit: (stream, bytes) => this.#queue(FRAME.credit, stream, creditPayload(bytes)),
      end: (stream) => this.#queue(FRAME.end, stream, NOTHING),
      reset: (stream, code, sentence) => {
        // Four bytes a character at most, so that this fits.
        const said = { code: code.slice(0, 60), sentence: sentence.slice(0, 600) };
        this.#queue(FRAME.reset, stream, Buffer.from(JSON.stringify(said)));
      },
      held: (stream) => void held.add(stream),
      window: () => Math.floor(MAX_CREDIT_OUT_BYTES / Math.max(1, streams.size)),
      closed: (id) => {
        const stream = streams.get(id);
        if (!stream) return;
        held.delete(stream);
        streams.delete(id);
        onCount?.(streams.size);
      },
    };
  }

  #add(stream: MuxStream): void {
    this.#streams.set(stream.id, stream);
    this.#options.onCount?.(this.#streams.size);
  }

  #queue(type: number, stream: number, payload: Buffer): void {
    if (this.#closed) return;
    const size = FRAME_HEADER_BYTES + payload.length;
    if (DATA_HEADER_BYTES + this.#batchBytes + size > MAX_MESSAGE_BYTES) this.flush();
    this.#batch.push({ type, stream, payload });
    this.#batchBytes += size;
    if (this.#batchBytes >= BATCH_BYTES) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      // After all that came in this turn was worked off: what many sessions wrote leaves together.
      setImmediate(() => this.flush());
    }
  }

  #take({ type, stream: id, payload }: Frame): void {
    if (this.#closed) return;
    if (type === FRAME.open) return this.#opened(id, payload);
    const stream = this.#streams.get(id);
    if (!stream) {
      // It has ended here, and the other side did not know yet.
      const known = id !== 0 && (this.#isTheirs(id) ? id <= this.#lastTheirs : id < this.#nextId);
      if (!known) throw new TunnelViolation(`a frame for stream ${id}, which was never opened`);
      return undefined;
    }
    switch (type) {
      case FRAME.data:
        return stream.received(payload);
      case FRAME.credit:
        return stream.receivedCredit(readCredit(payload));
      case FRAME.end:
        return stream.receivedEnd();
      default: {
        const { code, sentence } = readReset(payload);
        return stream.receivedReset(code, sentence);
      }
    }
  }

  #opened(id: number, payload: Buffer): void {
    if (!this.#isTheirs(id) || id <= this.#lastTheirs || id > MAX_ID) throw new TunnelViolation(`an opening of stream ${id}`);
    this.#lastTheirs = id;
    const now = this.#options.now();
    this.#opens = Math.min(OPEN_BURST, this.#opens + ((now - this.#opensAt) / 1000) * OPENS_PER_SECOND);
    this.#opensAt = now;
    if (--this.#opens < 0) throw new TunnelViolation('streams opened without end');
    const stream = new MuxStream(id, this.#ground);
    const { onStream } = this.#options;
    if (!onStream) throw new TunnelViolation('a stream opened by a side that may open none');
    this.#add(stream);
    if (this.#streams.size > this.#maxStreams) {
      return stream.reset('too-many-streams', `Too many sessions (${this.#maxStreams}) go through this tunnel already. Close some and connect again.`);
    }
    return onStream(payload, stream);
  }

  #isTheirs(id: number): boolean {
    return (id % 2 === 0) === (this.#options.role === 'client');
  }
}

function readReset(payload: Buffer): StreamReset {
  try {
    return StreamReset.parse(JSON.parse(payload.toString()));
  } catch {
    throw new TunnelViolation('a reset that says nothing');
  }
}
