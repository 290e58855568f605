/** Answers on their way through the masks: long ones take turns with everything else, and their session stays for as long as that takes. */
import type { SessionMasking } from '../../masking/masking.ts';
import type { Reply } from './message.ts';
import { type MaskedReply, maskReply } from './outcome.ts';

export class AnswerMasking {
  readonly #masking: SessionMasking;
  readonly #under = new Set<Promise<MaskedReply>>();

  constructor(masking: SessionMasking) {
    this.#masking = masking;
  }

  get busy(): boolean {
    return this.#under.size > 0;
  }

  /** What is short is there at once: what its server says next must find it answered. */
  masked(reply: Reply): MaskedReply | Promise<MaskedReply> {
    const masked = maskReply(reply, this.#masking);
    if (!(masked instanceof Promise)) return masked;
    this.#under.add(masked);
    return masked.finally(() => this.#under.delete(masked));
  }

  /** Resolves once all that are under way have been masked. Never rejects. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#under);
  }
}
