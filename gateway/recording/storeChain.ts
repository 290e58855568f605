/** One session's chain of entries, in the store: what `ChainFile` is on a disk, line for line the same. */
import { RECORDING_VERSION } from '../../contract/recording.ts';
import { type ChainHead, type ChainHost, GENESIS } from '../../proxy/recording/chainFile.ts';
import type { SessionChain } from '../../proxy/recording/sessionRecording.ts';
import { lineHash } from './chains.ts';
import type { EntryWriter } from './entryWriter.ts';

export class StoreChain implements SessionChain {
  readonly #session: string;
  readonly #writer: EntryWriter;
  readonly #host: ChainHost;
  readonly #lostFor: () => void;
  #entries: number;
  #head: string;
  #written: number;
  #lost = false;
  #waiting: { readonly entries: number; readonly resolve: () => void; readonly reject: (cause: Error) => void }[] = [];

  /** @param lost called once, when the session turns out not to be this process's any more */
  constructor(session: string, writer: EntryWriter, host: ChainHost, at: ChainHead = { entries: 0, head: GENESIS }, lost: () => void = () => undefined) {
    this.#session = session;
    this.#writer = writer;
    this.#host = host;
    this.#entries = at.entries;
    this.#written = at.entries;
    this.#head = at.head;
    this.#lostFor = lost;
  }

  get at(): ChainHead {
    return { entries: this.#entries, head: this.#head };
  }

  append(at: string, body: string): number {
    if (this.#lost) throw this.#host.haltedProblem();
    const seq = this.#entries;
    const line = entryLine(this.#session, seq, at, this.#head, body);
    this.#head = lineHash(line);
    this.#entries++;
    this.#host.queued += line.length;
    const done = (): void => {
      this.#host.queued -= line.length;
    };
    this.#writer.add(
      { session: this.#session, seq, hash: this.#head, line },
      () => {
        done();
        this.#written = seq + 1;
        this.#settle();
      },
      () => {
        done();
        this.#lose();
      },
    );
    return seq;
  }

  sync(): Promise<void> {
    if (this.#lost) return Promise.reject(this.#host.haltedProblem());
    const entries = this.#entries;
    if (this.#written >= entries) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ entries, resolve, reject }));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #settle(): void {
    const ready = this.#waiting.filter(({ entries }) => entries <= this.#written);
    if (ready.length === 0) return;
    this.#waiting = this.#waiting.filter(({ entries }) => entries > this.#written);
    for (const { resolve } of ready) resolve();
  }

  #lose(): void {
    if (this.#lost) return;
    this.#lost = true;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#host.haltedProblem());
    this.#lostFor();
  }
}

/** A line as `docs/recording.md` has it. @param body canonical JSON */
export function entryLine(session: string, seq: number, at: string, prev: string, body: string): string {
  return `{"at":"${at}","body":${body},"prev":"${prev}","seq":${seq},"session":${JSON.stringify(session)},"v":${RECORDING_VERSION}}`;
}
