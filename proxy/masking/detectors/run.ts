import { type Chars, isOf } from './chars.ts';

/** From how many characters on a run is remembered: in an ordinary text none is that long, and its text is not kept. */
const LONG = 256;
/** Runs of one kind that are remembered: a detector that reads several in a row comes back to each. */
const MAX_KNOWN = 8;

interface Known {
  readonly text: string;
  readonly from: number;
  /** Everything before is of the kind. */
  end: number;
}

/**
 * Measures runs of characters of one kind, in time that grows with the text where beginnings lie within each other's runs
 * (`SG.SG.SG.…`): what was gone over for the one before is not gone over again.
 */
export class Runs {
  /** By kind, the newest last. */
  readonly #known = new Map<Chars, Known[]>();

  /** @param most characters of a run; @returns where the one that begins at `from` ends */
  end(text: string, from: number, kind: Chars, most: number): number {
    const limit = Math.min(text.length, from + most);
    const known = this.#known.get(kind);
    const within = known?.find((run) => from >= run.from && from < run.end && text === run.text);
    let end = within ? Math.min(limit, within.end) : from;
    while (end < limit && isOf(kind, text.charCodeAt(end))) end++;
    if (within) within.end = Math.max(within.end, end);
    else if (end - from >= LONG) {
      if (known === undefined) this.#known.set(kind, [{ text, from, end }]);
      else {
        // Another text's are of no more use, and it must not be kept.
        if (known[0]?.text !== text) known.length = 0;
        if (known.length >= MAX_KNOWN) known.shift();
        known.push({ text, from, end });
      }
    } else if (known !== undefined && known.length > 0 && known[0]?.text !== text) known.length = 0;
    return end;
  }
}
