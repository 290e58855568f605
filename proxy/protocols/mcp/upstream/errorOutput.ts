/** What a server's processes wrote to their standard error last: for people, and so readable, masked and no more than they look at. */

/** Lines that are kept of one connection. */
const MAX_LINES = 100;
/** Longest line as it is kept, for its masks to be sure, and as it is shown, in characters. */
const MAX_KEPT_LINE = 8_000;
const MAX_SHOWN_LINE = 500;
/** What a terminal would take for a command (ECMA-48). */
// oxlint-disable-next-line no-control-regex -- exactly these must not reach who reads it
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~])/g;
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]+/gu;

export interface OutputLine {
  /** Epoch milliseconds. */
  readonly at: number;
  /** The process, by the system's number; 0 where none was started. */
  readonly process: number;
  /** Who says it: the server, or we of it. */
  readonly by: 'server' | 'countersign';
  readonly text: string;
}

export class ErrorOutput {
  readonly #now: () => number;
  readonly #scrub: (text: string) => string;
  #kept: OutputLine[] = [];

  /** @param scrub masks what is shown, when it is shown */
  constructor(now: () => number, scrub: (text: string) => string) {
    this.#now = now;
    this.#scrub = scrub;
  }

  get empty(): boolean {
    return this.#kept.length === 0;
  }

  /** As it is: one that writes without end must not cost more than the reading. */
  add(process: number, text: string, by: OutputLine['by'] = 'server'): void {
    this.#kept.push({ at: this.#now(), process, by, text: text.slice(0, MAX_KEPT_LINE) });
    if (this.#kept.length > 2 * MAX_LINES) this.#kept = this.#kept.slice(-MAX_LINES);
  }

  /** Oldest first, masked together: a key is many lines, none of which gives it away. */
  lines(count = MAX_LINES): readonly OutputLine[] {
    const kept = this.#kept.slice(-MAX_LINES);
    const last = kept.at(-1);
    if (!last) return [];
    const shown = this.#scrub(kept.map(({ text }) => readable(text)).join('\n')).split('\n');
    const whole = shown.length === kept.length;
    return shown.map((text, i) => ({ ...((whole && kept[i]) || last), text: text.slice(0, MAX_SHOWN_LINE) })).slice(-count);
  }
}

/** Lines as they arrive; what is too long for one is cut. @param flush called with what there is at the end */
export function linesOf(onLine: (line: string) => void): { write(chunk: Buffer): void; end(): void } {
  const decoder = new TextDecoder();
  let held = '';
  const take = (line: string): void => {
    if (line.trim() !== '') onLine(line);
  };
  return {
    write(chunk) {
      const parts = (held + decoder.decode(chunk, { stream: true })).split('\n');
      held = (parts.pop() ?? '').slice(0, MAX_KEPT_LINE);
      for (const part of parts) take(part.slice(0, MAX_KEPT_LINE));
    },
    end() {
      take(held);
      held = '';
    },
  };
}

function readable(text: string): string {
  return text.replace(ESCAPES, '').replace(/\t/g, '  ').replace(UNSEEN, '');
}
