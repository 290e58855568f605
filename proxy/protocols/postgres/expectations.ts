/** What the server still has to answer, first things first. */
import type { Expected } from './expected.ts';

/** How many answered places there may be in front before they are cut off. */
const MAX_ANSWERED = 256;
/** Fills a place that has been answered, so that nothing keeps its flight alive. */
const ANSWERED: Expected = { kind: 'sync' };

export class Expectations {
  #queue: Expected[] = [];
  #head = 0;

  /** What comes next answers this. */
  get first(): Expected | undefined {
    return this.#queue[this.#head];
  }

  get second(): Expected | undefined {
    return this.#queue[this.#head + 1];
  }

  get count(): number {
    return this.#queue.length - this.#head;
  }

  add(expected: Expected): void {
    this.#queue.push(expected);
  }

  /** The first is answered. */
  shift(): void {
    this.#queue[this.#head++] = ANSWERED;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    } else if (this.#head > MAX_ANSWERED) {
      this.#queue.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** The second will never be answered. */
  dropSecond(): void {
    this.#queue.splice(this.#head + 1, 1);
  }

  /** All that is left, taken out. */
  takeAll(): readonly Expected[] {
    const left = this.#queue.slice(this.#head);
    this.#queue = [];
    this.#head = 0;
    return left;
  }

  /** Whether one of them sends COPY … FROM STDIN. */
  get copiesIn(): boolean {
    for (let i = this.#head; i < this.#queue.length; i++) {
      const expected = this.#queue[i];
      const statements = expected?.kind === 'query' ? expected.flight.statements : expected?.kind === 'execute' ? [expected.portal.info] : undefined;
      if (statements?.some((statement) => statement.copy?.direction === 'in')) return true;
    }
    return false;
  }
}
