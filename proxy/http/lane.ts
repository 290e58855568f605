/**
 * The way of an ordinary call: one POST after another on a connection, read and answered without Node's server, which costs more than all
 * that is done with a small call. What goes here has passed every check that there is on the other way: the guard, its one bearer, a
 * body that is strict JSON. Whatever has not, whatever is written in another form (`requestHead.ts`) or meant for another path, goes
 * with its connection to Node's server, from its first byte on, and is read, checked and refused there.
 */
import type { Socket } from 'node:net';
import type { ClientIdentity, DirectMount } from '../protocols/protocol.ts';
import { MAX_BODY_BYTES, parseBody } from './body.ts';
import { bearerOf, type GuardOptions, rejection } from './guard.ts';
import { LaneReply, type LaneReplyOptions } from './laneReply.ts';
import { type RequestHead, readRequestHead } from './requestHead.ts';

const HEAD_END = '\r\n\r\n';
/** What a client may send while its last request is being answered, in bytes; then it is not read from. */
const MAX_AHEAD_BYTES = 64 * 1024;
/** A connection is kept for a little longer than is said, so that a request at the last moment does not cross its end, in milliseconds. */
const KEEP_ALIVE_LONGER_MS = 1_000;

export interface LaneOptions {
  readonly guard: GuardOptions;
  readonly maxHeadBytes: number;
  readonly maxHeaders: number;
  /** How long a new connection may say nothing, a body may take, and a connection is kept between requests, in milliseconds. */
  readonly headersMs: number;
  readonly requestMs: number;
  readonly keepAliveMs: number;
  readonly always: LaneReplyOptions['always'];
  /** Who answers at a path. */
  readonly mountAt: (url: string) => DirectMount | undefined;
  readonly identify: (bearer: string) => ClientIdentity | undefined;
  readonly failed: (cause: unknown) => void;
  /** Node's server takes the connection, and what was read of it. */
  readonly otherwise: (socket: Socket) => void;
}

interface Known extends RequestHead {
  readonly bearer: string;
}

export class Lane {
  readonly #options: LaneOptions;
  readonly #socket: Socket;
  /** What has come and was not taken yet. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #chunks = 0;
  /** How many bytes the request that is being read has, once that is known. */
  #needed = 0;
  #late: NodeJS.Timeout | undefined;
  /** A client says nearly the same head again and again. */
  #lastText = '';
  #lastHead: Known | undefined;
  #reply: LaneReply | undefined;
  #ended = false;

  constructor(socket: Socket, options: LaneOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.setTimeout(options.headersMs);
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('timeout', this.#onTimeout);
    socket.on('close', this.#onClose);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#chunks++;
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    if (!this.#reply) this.#read();
    else if (this.#heldBytes > MAX_AHEAD_BYTES) this.#socket.pause();
  };

  /** Hanging up, as Node's server takes it: nobody waits for what is not answered yet. */
  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#socket.end();
  };

  readonly #onTimeout = (): void => {
    // A body has a time of its own, an answer as long as it takes.
    if (this.#reply || this.#needed > 0) return;
    const before = this.#chunks;
    this.#giveUp(() => this.#chunks === before);
  };

  /** Hangs up, but on what has come already and was not read yet: whoever is late may be this process. */
  #giveUp(stillWaits: () => boolean): void {
    setImmediate(() => {
      if (stillWaits()) this.#socket.destroy();
    });
  }

  readonly #onClose = (): void => {
    clearTimeout(this.#late);
    this.#reply?.gone();
  };

  #read(): void {
    if (this.#heldBytes < this.#needed || this.#heldBytes === 0) return;
    const bytes = this.#held.length === 1 ? (this.#held[0] as Buffer) : Buffer.concat(this.#held);
    this.#held = [bytes];
    const end = bytes.indexOf(HEAD_END, 0, 'latin1');
    const head = end < 0 || end > this.#options.maxHeadBytes ? undefined : this.#head(bytes.toString('latin1', 0, end));
    const direct = head && this.#options.mountAt(head.url);
    // A body is not waited for, nor held, for somebody who is not known.
    const identity = head && this.#options.identify(head.bearer);
    if (!head || !direct || !identity) return this.#leave(bytes);
    const start = end + HEAD_END.length;
    const stop = start + head.length;
    if (bytes.length < stop) {
      this.#needed = stop;
      this.#late ??= setTimeout(() => this.#giveUp(() => this.#needed > 0), this.#options.requestMs);
      return undefined;
    }
    const body = parseBody(bytes.subarray(start, stop));
    if ('refused' in body) return this.#leave(bytes);
    clearTimeout(this.#late);
    this.#late = undefined;
    this.#needed = 0;
    this.#held = bytes.length === stop ? [] : [bytes.subarray(stop)];
    this.#heldBytes = bytes.length - stop;
    return this.#answer(direct, head, identity, body.json);
  }

  #answer(direct: DirectMount, head: RequestHead, identity: ClientIdentity, json: unknown): void {
    const { always, failed, keepAliveMs } = this.#options;
    const socket = this.#socket;
    const idleMs = keepAliveMs + KEEP_ALIVE_LONGER_MS;
    if (socket.timeout !== idleMs) socket.setTimeout(idleMs);
    const reply = new LaneReply({ socket, always, keepAliveS: Math.floor(keepAliveMs / 1000), done: () => this.#answered() });
    this.#reply = reply;
    try {
      direct.request(head, reply, identity, json);
    } catch (cause) {
      failed(cause);
      socket.destroy();
    }
  }

  #answered(): void {
    this.#reply = undefined;
    if (this.#socket.isPaused()) this.#socket.resume();
    // Not within the answer to what came before.
    if (this.#heldBytes > 0) setImmediate(() => this.#reply ?? this.#read());
  }

  /** Undefined where the way through Node's server has something to say to it. */
  #head(text: string): Known | undefined {
    if (text === this.#lastText) return this.#lastHead;
    const { guard, maxHeaders } = this.#options;
    const head = readRequestHead(text, maxHeaders);
    const bearer = head && !rejection(head, guard) && !('content-encoding' in head.headers) && head.length <= MAX_BODY_BYTES ? bearerOf(head) : undefined;
    this.#lastText = text;
    this.#lastHead = head && bearer !== undefined ? { ...head, bearer } : undefined;
    return this.#lastHead;
  }

  #leave(bytes: Buffer): void {
    const socket = this.#socket;
    clearTimeout(this.#late);
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('timeout', this.#onTimeout);
    socket.off('close', this.#onClose);
    socket.setTimeout(0);
    this.#held = [];
    this.#heldBytes = 0;
    this.#needed = 0;
    // Nothing can be put back on a connection that its client has ended, or that has gone.
    if (this.#ended || socket.destroyed) return void socket.destroy();
    socket.pause();
    socket.unshift(bytes);
    this.#options.otherwise(socket);
    process.nextTick(() => socket.resume());
    return undefined;
  }
}
