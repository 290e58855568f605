/**
 * One append-only file of chained lines: each is canonical JSON that holds the SHA-256 of the line before it.
 * Appends are queued in memory and do no I/O; a pump writes them in batches and syncs for whoever waits. What is said to
 * be small may wait for its text and its hash until its batch is written: nobody is held up by them, and many in a row
 * cost less than one at a time.
 */
import { hash } from 'node:crypto';
import { fstatSync, writeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { RECORDING_VERSION } from '../../contract/recording.ts';
import { mostBytes, type Text, writeUtf8 } from './utf8.ts';

/** `prev` of a first line. */
export const GENESIS = '0'.repeat(64);
/** How long a line may wait in memory for others to share its write, in milliseconds. */
const GATHER_MS = 20;
/** A batch of this many bytes is written at once. */
const BATCH_BYTES = 262_144;
/** A batch's buffer at first, and the largest that is kept for the next, in bytes. */
const FIRST_BUFFER_BYTES = 8192;
const KEPT_BUFFER_BYTES = 2 * BATCH_BYTES;
/**
 * A batch is copied to the system's memory at once: handing it to another thread costs several times as much. Where that
 * took longer than this, the system is waiting for its disk, and other threads do the writing for a while; milliseconds.
 */
const SLOW_MS = 10;
const SLOW_FOR_MS = 10_000;
let slowUntil = 0;
const NEW_LINE = 10;
/** Only the owner may read a record. */
export const FILE_MODE = 0o600;
export const FOLDER_MODE = 0o700;

/** What all files of one recorder share: the bound on what is queued, and the end of everything. */
export interface ChainHost {
  readonly halted: string | undefined;
  /** Bytes queued and not yet written, over all files. */
  queued: number;
  /** Halts the recorder, once; what is queued is given up. */
  halt(doing: string, cause: unknown): void;
  /** What every call gets once halted. */
  haltedProblem(): Error;
}

/** Where a chain stands: how many lines, and the hash of the last. */
export interface ChainHead {
  readonly entries: number;
  readonly head: string;
}

interface Waiter {
  readonly entries: number;
  resolve(): void;
  reject(cause: Error): void;
}

/** A short line that is made when its batch is written. */
export interface LineToCome {
  /** RFC 3339. */
  readonly at: string;
  /** Canonical JSON; it cannot fail. */
  text(): Text;
}

/** What a line that is not written yet is counted as, in bytes, and how many there may be. */
const UNWRITTEN_BYTES = 2048;
const MAX_UNWRITTEN = 256;

/** How many of them are made at once: a statement that comes in between waits for no more. */
const SLICE_LINES = 8;

/** One timer for all files: with a session for every client, as many timers would go off as entries are written. */
let gathering: ChainFile[] = [];

function gather(file: ChainFile): void {
  if (gathering.push(file) > 1) return;
  setTimeout(() => {
    const files = gathering;
    gathering = [];
    takeTurns(files);
  }, GATHER_MS);
}

function takeTurns(files: ChainFile[]): void {
  let left = SLICE_LINES;
  for (let file = files.at(-1); file; file = files.at(-1)) {
    if (left <= 0) {
      setImmediate(takeTurns, files);
      return;
    }
    left -= file.writeSome(left);
    if (file.unwritten > 0) continue;
    files.pop();
    file.gathered();
  }
}

export class ChainFile {
  readonly path: string;
  readonly #host: ChainHost;
  readonly #handle: FileHandle;
  readonly #onWritten: () => void;
  readonly #tail: string;
  #entries: number;
  #head: string;
  /** Bytes that the file must have: anything else means that somebody else writes to it. */
  #bytes: number;
  /** The batch being gathered: lines as bytes, so that hashing and writing share one encoding. */
  #batch: Buffer = Buffer.allocUnsafeSlow(FIRST_BUFFER_BYTES);
  #batchBytes = 0;
  #batchEntries = 0;
  /** Behind the lines of the batch. */
  #unwritten: LineToCome[] = [];
  /** The buffer of the last batch, to be used again. */
  #spare: Buffer | undefined;
  #written: number;
  #synced: number;
  #due = false;
  #pumping = false;
  #gathering = false;
  #waiters: Waiter[] = [];
  #closed = false;

  private constructor(
    path: string,
    host: ChainHost,
    handle: FileHandle,
    session: string | undefined,
    from: ChainHead & { readonly bytes: number },
    onWritten: () => void = () => undefined,
  ) {
    this.path = path;
    this.#host = host;
    this.#handle = handle;
    this.#onWritten = onWritten;
    // Keys in canonical order: at, body, prev, seq, session, v.
    this.#tail = session === undefined ? `,"v":${RECORDING_VERSION}}` : `,"session":${JSON.stringify(session)},"v":${RECORDING_VERSION}}`;
    this.#entries = this.#written = this.#synced = from.entries;
    this.#head = from.head;
    this.#bytes = from.bytes;
  }

  /**
   * A new file; fails where one is already.
   * @param onWritten called when lines have reached the file: whoever reads it then finds them.
   */
  static async create(path: string, host: ChainHost, session: string, onWritten: () => void): Promise<ChainFile> {
    return new ChainFile(path, host, await open(path, 'ax', FILE_MODE), session, { entries: 0, head: GENESIS, bytes: 0 }, onWritten);
  }

  /** Goes on where a file stands; `session` is absent for the audit. */
  static async resume(path: string, host: ChainHost, session: string | undefined, from: ChainHead & { readonly bytes: number }): Promise<ChainFile> {
    return new ChainFile(path, host, await open(path, 'a', FILE_MODE), session, from);
  }

  get at(): ChainHead {
    this.#writeOut();
    return { entries: this.#entries, head: this.#head };
  }

  /** @param at RFC 3339. @param body canonical JSON. @returns the line's place. */
  append(at: string, body: Text): number {
    this.#check();
    this.#writeOut();
    return this.#line(at, body);
  }

  /** The same for a line that is to come. */
  appendLater(line: LineToCome): void {
    this.#check();
    this.#host.queued += UNWRITTEN_BYTES;
    if (this.#unwritten.push(line) >= MAX_UNWRITTEN) this.writeSome(SLICE_LINES);
    this.#gather();
  }

  #check(): void {
    if (this.#host.halted !== undefined) throw this.#host.haltedProblem();
    if (this.#closed) throw new Error(`${this.path} is closed`);
  }

  /** How many lines have no text yet. */
  get unwritten(): number {
    return this.#unwritten.length;
  }

  /** Makes the first of the lines that are to come. @returns how many */
  writeSome(most: number): number {
    const lines = this.#unwritten.length <= most ? this.#unwritten : this.#unwritten.slice(0, most);
    this.#unwritten = lines === this.#unwritten ? [] : this.#unwritten.slice(most);
    this.#host.queued -= lines.length * UNWRITTEN_BYTES;
    try {
      for (const line of lines) this.#line(line.at, line.text());
    } catch (cause) {
      // A record that lacks a line is none.
      this.#host.halt(`writing ${this.path}`, cause);
    }
    return lines.length;
  }

  #writeOut(): void {
    if (this.#unwritten.length > 0) this.writeSome(Number.POSITIVE_INFINITY);
  }

  #line(at: string, body: Text): number {
    const seq = this.#entries;
    const before = `{"at":"${at}","body":`;
    const behind = `,"prev":"${this.#head}","seq":${seq}${this.#tail}`;
    const line: Text = typeof body === 'string' ? before + body + behind : [before, ...body, behind];
    const from = this.#batchBytes;
    this.#makeRoom(mostBytes(line) + 1);
    const end = from + writeUtf8(this.#batch, line, from);
    this.#head = hash('sha256', this.#batch.subarray(from, end), 'hex');
    this.#batch[end] = NEW_LINE;
    this.#batchBytes = end + 1;
    this.#batchEntries++;
    this.#entries++;
    this.#host.queued += end + 1 - from;
    if (this.#batchBytes >= BATCH_BYTES) this.#kick();
    else this.#gather();
    return seq;
  }

  #gather(): void {
    if (this.#gathering) return;
    this.#gathering = true;
    gather(this);
  }

  /** Resolves when all that was appended is on disk. */
  sync(): Promise<void> {
    if (this.#host.halted !== undefined) return Promise.reject(this.#host.haltedProblem());
    this.#writeOut();
    const entries = this.#entries;
    if (this.#synced >= entries) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ entries, resolve, reject });
      this.#kick();
    });
  }

  /** Writes what is queued, syncs, and lets the file go. Never rejects. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.sync().catch(() => undefined);
    await this.#handle.close().catch(() => undefined);
  }

  /** Called by the host when it has halted: nobody waits for ever. */
  abandon(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(this.#host.haltedProblem());
    this.#host.queued -= this.#batchBytes + this.#unwritten.length * UNWRITTEN_BYTES;
    this.#batchBytes = 0;
    this.#unwritten = [];
  }

  /** Its time of gathering is over, and nothing is to come. */
  gathered(): void {
    this.#gathering = false;
    if (this.#batchBytes > 0) this.#kick();
  }

  #makeRoom(bytes: number): void {
    const needed = this.#batchBytes + bytes;
    if (needed <= this.#batch.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#batch.length * 4));
    this.#batch.copy(larger, 0, 0, this.#batchBytes);
    this.#batch = larger;
  }

  #kick(): void {
    this.#due = true;
    if (!this.#pumping) void this.#pump();
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    try {
      while (this.#host.halted === undefined) {
        // A waiter whose lines are written goes first: a steady stream of appends must not starve it.
        if (this.#waiters.some((w) => w.entries <= this.#written)) await this.#datasync();
        else if (this.#batchBytes > 0 && (this.#due || this.#waiters.length > 0)) await this.#write();
        else break;
      }
    } catch (cause) {
      this.#host.halt(`writing ${this.path}`, cause);
    } finally {
      this.#pumping = false;
    }
    if (this.#host.halted !== undefined) this.abandon();
  }

  async #write(): Promise<void> {
    const buffer = this.#batch;
    const bytes = this.#batchBytes;
    const entries = this.#batchEntries;
    this.#batch = this.#spare ?? Buffer.allocUnsafeSlow(FIRST_BUFFER_BYTES);
    this.#spare = undefined;
    this.#batchBytes = 0;
    this.#batchEntries = 0;
    this.#due = false;
    try {
      const started = performance.now();
      const atOnce = bytes <= BATCH_BYTES && started >= slowUntil;
      for (let from = 0; from < bytes; ) {
        const written = atOnce
          ? writeSync(this.#handle.fd, buffer, from, bytes - from, null)
          : (await this.#handle.write(buffer, from, bytes - from, null)).bytesWritten;
        if (written === 0) throw new Error('nothing was written');
        from += written;
      }
      if (atOnce && performance.now() - started > SLOW_MS) slowUntil = performance.now() + SLOW_FOR_MS;
    } finally {
      this.#host.queued -= bytes;
    }
    if (buffer.length <= KEPT_BUFFER_BYTES) this.#spare = buffer;
    this.#bytes += bytes;
    const { size, nlink } = fstatSync(this.#handle.fd);
    if (nlink === 0) throw Object.assign(new Error('the file was deleted while it was being written'), { code: 'ENOENT' });
    if (size !== this.#bytes) throw Object.assign(new Error('the file was changed by another program'), { code: 'ECHANGED' });
    this.#written += entries;
    this.#onWritten();
  }

  async #datasync(): Promise<void> {
    const upTo = this.#written;
    await this.#handle.datasync();
    this.#synced = Math.max(this.#synced, upTo);
    const waiting = this.#waiters;
    this.#waiters = waiting.filter((w) => w.entries > upTo);
    for (const waiter of waiting) if (waiter.entries <= upTo) waiter.resolve();
  }
}
