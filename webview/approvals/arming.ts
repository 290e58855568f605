/**
 * A button that has just appeared, or just moved, must not catch a click that was aimed at something else: it takes
 * answers only after it has stood still for a moment.
 */
export const ARMING_MS = 400;
/** Less than this is not a move, in pixels: layouts round. */
const STILL_PX = 2;

export class Arming {
  readonly #now: () => number;
  #place: number | undefined;
  #since = 0;

  /** @param now milliseconds by any steady clock */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** @param place where the buttons stand now, in pixels, in a frame that scrolling does not change */
  at(place: number): void {
    if (this.#place !== undefined && Math.abs(place - this.#place) < STILL_PX) return;
    this.#place = place;
    this.#since = this.#now();
  }

  /** The panel was hidden or covered: what a person last saw may be long ago. */
  restart(): void {
    this.#since = this.#now();
  }

  /** Milliseconds until an answer counts; 0 once armed. */
  get wait(): number {
    return this.#place === undefined ? ARMING_MS : Math.max(0, this.#since + ARMING_MS - this.#now());
  }
}
