/**
 * A channel of messages that outlives the WebSocket it runs over. Messages are numbered and kept until the other side has
 * acknowledged them; on a new WebSocket each side says how many it has, and the rest is sent again. Pure: no sockets here.
 */
import { DATA_HEADER_BYTES, MESSAGE } from '../../contract/tunnel.ts';
import { TunnelViolation } from './frames.ts';
import type { Channel } from './mux.ts';

/** Sent and not acknowledged: beyond it no more data is taken until the other side has caught up, in bytes. */
const MAX_UNACKNOWLEDGED_BYTES = 8 * 1024 * 1024;
/** The same, for what cannot be held back (credit, resets): beyond it the link is given up, in bytes. */
const MAX_KEPT_BYTES = 2 * MAX_UNACKNOWLEDGED_BYTES;
/** What may wait in the WebSocket before no more data is taken, in bytes. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** Received bytes, messages, and milliseconds after which an acknowledgement is sent by itself. */
const ACK_BYTES = 256 * 1024;
const ACK_MESSAGES = 64;
const ACK_MS = 100;
const ACK_HEADER_BYTES = 5;
const MAX_SEQ = 0xffff_fff0;

/** The WebSocket of the moment, as a link sees it. */
export interface Transport {
  /** Bytes that wait to leave. */
  readonly buffered: number;
  /** @param sent called when it has left this process, or cannot */
  send(message: Buffer, sent: () => void): void;
  close(): void;
}

export interface LinkOptions {
  /** A data message came: frames from `from` on. May throw TunnelViolation. */
  readonly onFrames: (message: Buffer, from: number) => void;
  readonly onReady: () => void;
  /** It cannot go on, transport or not; said once. */
  readonly onBroken: (why: string) => void;
}

export class Link implements Channel {
  readonly #options: LinkOptions;
  readonly #unacknowledged: Buffer[] = [];
  #unacknowledgedBytes = 0;
  /** Number of the last message sent, and of the last that the other side has acknowledged. */
  #sent = 0;
  #acknowledged = 0;
  #received = 0;
  #ackedReceived = 0;
  #bytesSinceAck = 0;
  #ackTimer: NodeJS.Timeout | undefined;
  #transport: Transport | undefined;
  #blocked = false;
  #broken = false;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** How many messages have come. */
  get received(): number {
    return this.#received;
  }

  get attached(): boolean {
    return this.#transport !== undefined;
  }

  get ready(): boolean {
    const transport = this.#transport;
    const ready = transport !== undefined && this.#unacknowledgedBytes < MAX_UNACKNOWLEDGED_BYTES && transport.buffered < MAX_BUFFERED_BYTES;
    if (!ready) this.#blocked = true;
    return ready;
  }

  send(message: Buffer): void {
    if (this.#broken) return;
    const seq = ++this.#sent;
    if (seq > MAX_SEQ) return this.#break('the link has carried all the messages that it can');
    message[0] = MESSAGE.data;
    message.writeUInt32BE(seq, 1);
    this.#unacknowledged.push(message);
    this.#unacknowledgedBytes += message.length;
    if (this.#unacknowledgedBytes > MAX_KEPT_BYTES) return this.#break('the other side has stopped acknowledging');
    if (this.#transport) this.#transmit(this.#transport, message);
  }

  /** @throws TunnelViolation */
  receive(message: Buffer): void {
    if (this.#broken) return;
    if (message[0] === MESSAGE.ack && message.length === ACK_HEADER_BYTES) return this.#acknowledge(message.readUInt32BE(1));
    if (message[0] !== MESSAGE.data || message.length <= DATA_HEADER_BYTES) throw new TunnelViolation('a message that is none');
    this.#acknowledge(message.readUInt32BE(5));
    const seq = message.readUInt32BE(1);
    // Sent again after a resumption, and had all the same.
    if (seq <= this.#received) return;
    if (seq !== this.#received + 1) throw new TunnelViolation(`message ${seq} after message ${this.#received}`);
    this.#received = seq;
    this.#bytesSinceAck += message.length;
    if (this.#bytesSinceAck >= ACK_BYTES || this.#received - this.#ackedReceived >= ACK_MESSAGES) this.#sendAck();
    else this.#ackTimer ??= setTimeout(() => this.#sendAck(), ACK_MS).unref();
    this.#options.onFrames(message, DATA_HEADER_BYTES);
  }

  /** Goes on over a new transport. @param peerReceived how many messages the other side has. @throws TunnelViolation where that cannot be */
  attach(transport: Transport, peerReceived: number): void {
    this.#acknowledge(peerReceived);
    const before = this.#transport;
    this.#transport = transport;
    if (before && before !== transport) before.close();
    for (const message of this.#unacknowledged) this.#transmit(transport, message);
    this.#wake();
  }

  /** The transport is gone; what is sent from now on waits for the next. */
  detach(transport: Transport): void {
    if (this.#transport === transport) this.#transport = undefined;
  }

  /** Lets go of everything. */
  close(): void {
    this.#broken = true;
    clearTimeout(this.#ackTimer);
    this.#unacknowledged.length = 0;
    this.#transport = undefined;
  }

  #transmit(transport: Transport, message: Buffer): void {
    message.writeUInt32BE(this.#received, 5);
    this.#noteAcked();
    transport.send(message, () => this.#wake());
  }

  #sendAck(): void {
    const transport = this.#transport;
    if (!transport || this.#ackedReceived === this.#received) return this.#noteAcked();
    const message = Buffer.allocUnsafe(ACK_HEADER_BYTES);
    message[0] = MESSAGE.ack;
    message.writeUInt32BE(this.#received, 1);
    this.#noteAcked();
    transport.send(message, () => {});
    return undefined;
  }

  #noteAcked(): void {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    this.#bytesSinceAck = 0;
    if (this.#transport) this.#ackedReceived = this.#received;
  }

  #acknowledge(seq: number): void {
    if (seq > this.#sent) throw new TunnelViolation(`an acknowledgement of message ${seq}, and ${this.#sent} were sent`);
    // An older one may still be on its way.
    const fresh = seq - this.#acknowledged;
    if (fresh <= 0) return;
    for (const message of this.#unacknowledged.splice(0, fresh)) this.#unacknowledgedBytes -= message.length;
    this.#acknowledged = seq;
    this.#wake();
  }

  #wake(): void {
    if (!this.#blocked || this.#broken) return;
    this.#blocked = false;
    if (this.ready) this.#options.onReady();
  }

  #break(why: string): void {
    if (this.#broken) return;
    this.#broken = true;
    this.#options.onBroken(why);
  }
}
