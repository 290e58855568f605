/**
 * The index in a thread of its own, as the recorder uses it. SQLite and the reading of files are synchronous: on the
 * thread that carries the agents' bytes, every slice of that work would be a pause for all of them.
 */
import { Worker } from 'node:worker_threads';
import type { OperationPage, OperationQuery } from '../../contract/control.ts';
import type { Log } from '../pipeline/engine.ts';
import type { Found, FromIndex, IndexThreadData, ToIndex } from './indexMessages.ts';

/** How long notes gather before they are passed on, in milliseconds. */
const GATHER_MS = 100;
/**
 * Above this share of its time, the thread that carries the bytes counts as busy, and the index keeps out of its way: a person's
 * agent stays far below it, and one that asks without a pause would wait for the index in every fiftieth statement.
 */
const BUSY = 0.1;
/** How long a stopping index may take, in milliseconds. */
const STOP_MS = 3_000;
/** How often a thread that died is started again, until the proxy is. */
const MAX_STARTS = 3;

export interface BackgroundIndexOptions {
  /** The recorder's folder. */
  readonly directory: string;
  readonly log: Log;
  /** Called after operations were added or changed. */
  readonly onChange: () => void;
}

type Answer = Extract<FromIndex, { kind: 'answer' }>['answer'];
type Asked = Extract<ToIndex, { id: number }>;
/** `Omit` over each member of the union. */
type Question = Asked extends infer One ? (One extends Asked ? Omit<One, 'id'> : never) : never;

export class BackgroundIndex {
  readonly #options: BackgroundIndexOptions;
  #worker: Worker | undefined;
  #starts = 0;
  #stopped: Promise<void> | undefined;
  /** Files that have grown since the thread was told last: session → file. */
  #grown = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #load = performance.eventLoopUtilization();
  readonly #asked = new Map<number, (answer: Answer) => void>();
  #lastId = 0;

  constructor(options: BackgroundIndexOptions) {
    this.#options = options;
  }

  /** What the index lacks, it finds out itself. Never throws. */
  start(): void {
    if (this.#worker || this.#stopped || this.#starts >= MAX_STARTS) return;
    this.#starts++;
    const workerData: IndexThreadData = { directory: this.#options.directory };
    // Beside this file, as this file is: a source, or part of a bundle.
    const file = import.meta.url.endsWith('.ts') ? './indexThread.ts' : './indexThread.cjs';
    try {
      const worker = new Worker(new URL(file, import.meta.url), { workerData, name: 'countersign index' });
      worker.on('message', (message: FromIndex) => this.#take(message));
      worker.on('error', (cause) => this.#options.log.warn('index.failed', { cause }));
      worker.on('exit', () => this.#gone(worker));
      // It alone keeps no process alive; a question that waits does.
      worker.unref();
      this.#worker = worker;
    } catch (cause) {
      this.#options.log.warn('index.failed', { cause });
    }
  }

  /** A session's file has new entries, written already: cheap. */
  note(session: string, file: string): void {
    if (this.#stopped) return;
    this.#grown.set(session, file);
    this.#timer ??= setTimeout(() => this.#tell(), GATHER_MS).unref();
  }

  /** Newest first. @param now epoch milliseconds, for times in the filter that are counted back from it */
  async operations(query: OperationQuery, now: number): Promise<OperationPage> {
    return ((await this.#ask({ kind: 'operations', query, now })) as OperationPage | undefined) ?? { operations: [], more: false };
  }

  /** Where an operation is recorded. */
  async find(operation: string): Promise<Found | undefined> {
    return (await this.#ask({ kind: 'find', operation })) as Found | undefined;
  }

  /** What is still to be read is read first, for a moment, so that the next start has less to do. Never rejects. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const worker = this.#worker;
    this.#tell();
    if (!worker) return;
    worker.ref();
    this.#send({ kind: 'stop' });
    const late = setTimeout(() => void worker.terminate(), STOP_MS);
    await new Promise<void>((resolve) => {
      worker.once('exit', () => resolve());
    });
    clearTimeout(late);
  }

  #tell(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#grown.size === 0) return;
    const busy = performance.eventLoopUtilization(this.#load).utilization > BUSY;
    this.#load = performance.eventLoopUtilization();
    const files = this.#grown;
    this.#grown = new Map();
    this.start();
    this.#send({ kind: 'grown', files, busy });
  }

  #send(message: ToIndex): void {
    this.#worker?.postMessage(message);
  }

  #ask(question: Question): Promise<Answer> {
    if (this.#stopped) return Promise.resolve(undefined);
    this.start();
    const worker = this.#worker;
    if (!worker) return Promise.resolve(undefined);
    // Who has just done something finds it.
    this.#tell();
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
      worker.ref();
      this.#send({ ...question, id });
    });
  }

  #take(message: FromIndex): void {
    switch (message.kind) {
      case 'changed':
        this.#options.onChange();
        return;
      case 'warning':
        this.#options.log.warn(message.event, message.fields);
        return;
      case 'answer': {
        const resolve = this.#asked.get(message.id);
        this.#asked.delete(message.id);
        if (this.#asked.size === 0 && !this.#stopped) this.#worker?.unref();
        resolve?.(message.answer);
      }
    }
  }

  #gone(worker: Worker): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const waiting = [...this.#asked.values()];
    this.#asked.clear();
    for (const resolve of waiting) resolve(undefined);
  }
}
