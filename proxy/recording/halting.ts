/** The end of recording, and its sentence: a record that cannot be written stops everything. */
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../pipeline/engine.ts';
import type { ChainFile, ChainHost } from './chainFile.ts';

export class Halting implements ChainHost {
  halted: string | undefined;
  queued = 0;
  readonly #directory: string;
  readonly #log: Log;
  readonly #onHalt: (sentence: string) => void;
  readonly #files = new Set<ChainFile>();

  constructor(directory: string, log: Log, onHalt: (sentence: string) => void) {
    this.#directory = directory;
    this.#log = log;
    this.#onHalt = onHalt;
  }

  /** Files whose waiters are told when the recorder halts. */
  watch(file: ChainFile): void {
    this.#files.add(file);
  }

  unwatch(file: ChainFile): void {
    this.#files.delete(file);
  }

  halt(doing: string, cause: unknown): void {
    if (this.halted !== undefined) return;
    this.halted = sentence(this.#directory, cause);
    this.#log.error('recorder.halted', { doing, cause });
    for (const file of this.#files) file.abandon();
    this.#files.clear();
    this.#onHalt(this.halted);
  }

  haltedProblem(): Problem {
    return new Problem('recorder-halted', this.halted ?? 'The recorder has halted.');
  }
}

function sentence(directory: string, cause: unknown): string {
  if (cause instanceof Problem) return cause.message;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  const restart = 'then restart Countersign.';
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return `The disk that holds ${directory} is full. Free some space, ${restart}`;
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return `${directory} cannot be written. Make it writable for you, ${restart}`;
    case 'ENOENT':
    case 'ENOTDIR':
      return `A file or folder in ${directory} was taken away while it was in use. Put it back or choose another folder, ${restart}`;
    case 'ECHANGED':
      return `Another program changed a record in ${directory} while it was being written. Find out which, check with “countersign verify”, ${restart}`;
    case 'EMFILE':
    case 'ENFILE':
      return `Too many files are open to write another record. Close some sessions or raise the limit, ${restart}`;
    case undefined:
    default:
      return `Writing to ${directory} failed (${code ?? String(cause)}). Check the disk, ${restart}`.slice(0, 1000);
  }
}
