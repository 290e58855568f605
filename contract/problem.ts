/** An error meant for a person: what happened, what it means, what to do. Code is stable; match on it, never on text. */
export class Problem extends Error {
  readonly code: string;

  constructor(code: string, sentence: string, options?: { cause?: unknown }) {
    super(sentence, options);
    this.name = 'Problem';
    this.code = code;
  }
}

/** The end of a switch over a union: fails to compile when a case is missing. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value ${JSON.stringify(value)}`);
}
