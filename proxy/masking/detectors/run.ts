/** From how many characters on a run is remembered: in an ordinary text none is that long, and its text is not kept. */
const LONG = 256;

/**
 * Measures runs of characters of one kind, in time that grows with the text where beginnings lie within each other's runs
 * (`SG.SG.SG.…`): what was gone over for the one before is not gone over again.
 */
export class Runs {
  #text = '';
  #kind: RegExp | undefined;
  #from = 0;
  #end = 0;

  /** @param most characters of a run; @returns where the one that begins at `from` ends */
  end(text: string, from: number, kind: RegExp, most: number): number {
    const limit = Math.min(text.length, from + most);
    const within = kind === this.#kind && from >= this.#from && from < this.#end && text === this.#text;
    let end = within ? Math.min(limit, this.#end) : from;
    while (end < limit && kind.test(text.charAt(end))) end++;
    const long = end - from >= LONG;
    this.#text = long ? text : '';
    this.#kind = long ? kind : undefined;
    this.#from = from;
    this.#end = end;
    return end;
  }
}
