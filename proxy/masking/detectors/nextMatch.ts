/** In stretches as short as this the match is looked for by itself, and the text is not kept. */
const SHORT = 256;

/**
 * Whether an expression matches within a stretch of a text, in time that grows with the text where stretches lie within each other: the
 * next match after the last that was asked for is remembered. For expressions whose matches cannot lie within each other.
 */
export class NextMatch {
  readonly #expression: RegExp;
  #text = '';
  #from = 0;
  #start = 0;
  #end = 0;

  /** @param expression global */
  constructor(expression: RegExp) {
    this.#expression = expression;
  }

  within(text: string, from: number, end: number): boolean {
    if (end - from <= SHORT) {
      this.#expression.lastIndex = 0;
      return this.#expression.test(text.slice(from, end));
    }
    if (text !== this.#text || from < this.#from || from > this.#start) {
      this.#expression.lastIndex = from;
      const match = this.#expression.exec(text);
      this.#text = text;
      this.#from = from;
      this.#start = match ? match.index : Number.POSITIVE_INFINITY;
      this.#end = match ? match.index + match[0].length : Number.POSITIVE_INFINITY;
    }
    return this.#end <= end;
  }
}
