/** Answers before masking, for the one person who may see them: in memory, bounded, short-lived, never written. */
import type { Answer } from '../../contract/response.ts';
import type { Clock } from '../pipeline/engine.ts';

/** How much is kept, counted as UTF-16 text, in bytes. */
const MAX_BYTES = 32 * 1024 * 1024;
/** How long, in milliseconds. */
const LIFE_MS = 10 * 60_000;

export class RawAnswers {
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #kept = new Map<string, { readonly raw: Answer; readonly bytes: number; readonly until: number }>();
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
    this.#kept.set(operation, { raw, bytes, until: this.#clock.now() + LIFE_MS });
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
    // Last used, last out.
    this.#kept.delete(operation);
    this.#kept.set(operation, found);
    return found.raw;
  }

  clear(): void {
    this.#kept.clear();
    this.#bytes = 0;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  #drop(operation: string): void {
    const found = this.#kept.get(operation);
    if (!found) return;
    this.#kept.delete(operation);
    this.#bytes -= found.bytes;
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
