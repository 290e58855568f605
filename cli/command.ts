/** What a command is. One file each, and one line in `commands.ts`. */

export interface Io {
  readonly out: (line: string) => void;
  /** For what goes wrong. */
  readonly error: (line: string) => void;
  /** All of standard input. */
  readonly input: () => Promise<string>;
  readonly cwd: string;
}

/** 0: as it should be. 1: it is not, and the output says what. 2: the command was not understood. */
export type ExitCode = 0 | 1 | 2;

export interface Command {
  /** `policy check` */
  readonly name: string;
  /** What follows the name: `FILE…`. */
  readonly usage: string;
  /** One line, for the list. */
  readonly about: string;
  /** More, for `--help`. */
  readonly help: string;
  run(args: readonly string[], io: Io): Promise<ExitCode>;
}

/** Thrown by a command whose arguments make no sense; the sentence says which and what to write. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
