/** Keeps one server from taking all of the proxy's time: what it says beyond a share waits, so that others get their turn. */
import type { Channel } from './upstream.ts';

/** A stretch of time that messages are counted in, in milliseconds. */
const STRETCH_MS = 100;

export class Burst {
  readonly #channel: Pick<Channel, 'pause' | 'resume'>;
  readonly #most: number;
  #taken = 0;
  #stretch: NodeJS.Timeout | undefined;

  /** @param most messages that are taken in one stretch */
  constructor(channel: Pick<Channel, 'pause' | 'resume'>, most: number) {
    this.#channel = channel;
    this.#most = most;
  }

  /** A message was taken. */
  count(): void {
    this.#taken++;
    this.#stretch ??= setTimeout(() => {
      if (this.#taken > this.#most) this.#channel.resume();
      this.#taken = 0;
      this.#stretch = undefined;
    }, STRETCH_MS);
    if (this.#taken === this.#most + 1) this.#channel.pause();
  }

  stop(): void {
    clearTimeout(this.#stretch);
  }
}
