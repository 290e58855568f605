/** Answers before masking, for the one person who may see them: in memory, bounded, short-lived, never written. */
import type { Answer } from '../../contract/response.ts';
import type { Clock } from '../pipeline/engine.ts';
import { type KeptText, TextSlabs } from './textSlabs.ts';

/** How much is kept, counted as UTF-16 text, in bytes. */
const MAX_BYTES = 32 * 1024 * 1024;
/** How long, in milliseconds. */
const LIFE_MS = 10 * 60_000;
/** Shorter texts are kept as they are, in characters. */
const LONG = 1_024;

interface Kept {
  /** Without its text, where that lies elsewhere. */
  readonly raw: Answer;
  readonly text: KeptText | undefined;
  readonly bytes: number;
  readonly until: number;
}

export class RawAnswers {
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #kept = new Map<string, Kept>();
  readonly #texts = new TextSlabs();
  #bytes = 0;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(clock: Clock, maxBytes: number = MAX_BYTES) {
    this.#clock = clock;
    this.#maxBytes = maxBytes;
  }

  keep(operation: string, raw: Answer): void {
    this.#drop(operation);
    const bytes = sizeOf(raw);
    if (bytes > this.#maxBytes) return;
    const until = this.#clock.now() + LIFE_MS;
    if (raw.kind === 'text' && raw.text.length >= LONG) {
      const text = this.#texts.keep(raw.text);
      this.#kept.set(operation, { raw: { ...raw, text: '' }, text, bytes, until });
    } else this.#kept.set(operation, { raw, text: undefined, bytes, until });
    this.#bytes += bytes;
    for (const [oldest] of this.#kept) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#drop(oldest);
    }
    this.#sweeper ??= setInterval(() => this.#sweep(), LIFE_MS / 10).unref();
  }

  get(operation: string): Answer | undefined {
    this.#sweep();
    const found = this.#kept.get(operation);
    if (!found) return undefined;
    // Last used, last out: its text, too, lies with those that go out last.
    this.#kept.delete(operation);
    const { raw, text } = found;
    if (!text || raw.kind !== 'text') {
      this.#kept.set(operation, found);
      return raw;
    }
    const whole = this.#texts.read(text);
    this.#texts.drop(text);
    this.#kept.set(operation, { ...found, text: this.#texts.keep(whole) });
    return { ...raw, text: whole };
  }

  clear(): void {
    this.#kept.clear();
    this.#texts.clear();
    this.#bytes = 0;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  #drop(operation: string): void {
    const found = this.#kept.get(operation);
    if (!found) return;
    this.#kept.delete(operation);
    this.#bytes -= found.bytes;
    if (found.text) this.#texts.drop(found.text);
  }

  #sweep(): void {
    const now = this.#clock.now();
    for (const [operation, { until }] of this.#kept) if (until <= now) this.#drop(operation);
    if (this.#kept.size === 0) this.clear();
  }
}

function sizeOf(answer: Answer): number {
  if (answer.kind === 'text') return answer.text.length * 2 + answer.findings.length * 200;
  let chars = 0;
  for (const row of answer.rows) for (const value of row) chars += (value?.length ?? 0) + 8;
  return chars * 2 + answer.findings.length * 200;
}
