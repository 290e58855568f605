/**
 * One append-only file of chained lines: each is canonical JSON that holds the SHA-256 of the line before it.
 * Appends are queued in memory and do no I/O; a pump writes them in batches and syncs for whoever waits.
 */
import { hash } from 'node:crypto';
import { fstatSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { RECORDING_VERSION } from '../../contract/recording.ts';

/** `prev` of a first line. */
export const GENESIS = '0'.repeat(64);
/** How long a line may wait in memory for others to share its write, in milliseconds. */
const GATHER_MS = 5;
/** A batch of this many characters is written at once. */
const BATCH_CHARS = 65_536;
/** Only the owner may read a record. */
export const FILE_MODE = 0o600;
export const FOLDER_MODE = 0o700;

/** What all files of one recorder share: the bound on what is queued, and the end of everything. */
export interface ChainHost {
  readonly halted: string | undefined;
  /** Characters queued and not yet written, over all files. */
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

export class ChainFile {
  readonly path: string;
  readonly #host: ChainHost;
  readonly #handle: FileHandle;
  readonly #tail: string;
  #entries: number;
  #head: string;
  /** Bytes that the file must have: anything else means that somebody else writes to it. */
  #bytes: number;
  #text = '';
  #textEntries = 0;
  #written: number;
  #synced: number;
  #due = false;
  #pumping = false;
  #timer: NodeJS.Timeout | undefined;
  #waiters: Waiter[] = [];
  #closed = false;

  private constructor(path: string, host: ChainHost, handle: FileHandle, session: string | undefined, from: ChainHead & { readonly bytes: number }) {
    this.path = path;
    this.#host = host;
    this.#handle = handle;
    // Keys in canonical order: at, body, prev, seq, session, v.
    this.#tail = session === undefined ? `,"v":${RECORDING_VERSION}}` : `,"session":${JSON.stringify(session)},"v":${RECORDING_VERSION}}`;
    this.#entries = this.#written = this.#synced = from.entries;
    this.#head = from.head;
    this.#bytes = from.bytes;
  }

  /** A new file; fails where one is already. */
  static async create(path: string, host: ChainHost, session: string): Promise<ChainFile> {
    return new ChainFile(path, host, await open(path, 'ax', FILE_MODE), session, { entries: 0, head: GENESIS, bytes: 0 });
  }

  /** Goes on where a file stands; `session` is absent for the audit. */
  static async resume(path: string, host: ChainHost, session: string | undefined, from: ChainHead & { readonly bytes: number }): Promise<ChainFile> {
    return new ChainFile(path, host, await open(path, 'a', FILE_MODE), session, from);
  }

  get at(): ChainHead {
    return { entries: this.#entries, head: this.#head };
  }

  /** @param at RFC 3339. @param body canonical JSON. @returns the line's place. */
  append(at: string, body: string): number {
    if (this.#host.halted !== undefined) throw this.#host.haltedProblem();
    if (this.#closed) throw new Error(`${this.path} is closed`);
    const seq = this.#entries;
    const line = `{"at":"${at}","body":${body},"prev":"${this.#head}","seq":${seq}${this.#tail}`;
    this.#head = hash('sha256', line, 'hex');
    this.#entries++;
    this.#text += line;
    this.#text += '\n';
    this.#textEntries++;
    this.#host.queued += line.length + 1;
    if (this.#text.length >= BATCH_CHARS) this.#kick();
    else
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#kick();
      }, GATHER_MS);
    return seq;
  }

  /** Resolves when all that was appended is on disk. */
  sync(): Promise<void> {
    if (this.#host.halted !== undefined) return Promise.reject(this.#host.haltedProblem());
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
    clearTimeout(this.#timer);
    await this.#handle.close().catch(() => undefined);
  }

  /** Called by the host when it has halted: nobody waits for ever. */
  abandon(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(this.#host.haltedProblem());
    this.#host.queued -= this.#text.length;
    this.#text = '';
    clearTimeout(this.#timer);
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
        else if (this.#text !== '' && (this.#due || this.#waiters.length > 0)) await this.#write();
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
    const text = this.#text;
    const entries = this.#textEntries;
    this.#text = '';
    this.#textEntries = 0;
    this.#due = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const bytes = Buffer.from(text);
    let from = 0;
    try {
      while (from < bytes.length) {
        const { bytesWritten } = await this.#handle.write(bytes, from, bytes.length - from, null);
        if (bytesWritten === 0) throw new Error('nothing was written');
        from += bytesWritten;
      }
    } finally {
      this.#host.queued -= text.length;
    }
    this.#bytes += bytes.length;
    const { size, nlink } = fstatSync(this.#handle.fd);
    if (nlink === 0) throw Object.assign(new Error('the file was deleted while it was being written'), { code: 'ENOENT' });
    if (size !== this.#bytes) throw Object.assign(new Error('the file was changed by another program'), { code: 'ECHANGED' });
    this.#written += entries;
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
