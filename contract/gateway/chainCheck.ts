/** A session's chain read again from its first line, keeping nothing but where it stands: for a record of any length. */

export const CHAIN_START = '0'.repeat(64);

export class ChainCheck {
  readonly #wanted: ReadonlySet<number>;
  readonly #at = new Map<number, string>();
  #entries = 0;
  #head = CHAIN_START;
  #problem: string | undefined;

  /** @param places lengths at which the hash is wanted */
  constructor(places: readonly number[] = []) {
    this.#wanted = new Set(places);
    if (this.#wanted.has(0)) this.#at.set(0, CHAIN_START);
  }

  get entries(): number {
    return this.#entries;
  }

  get head(): string {
    return this.#head;
  }

  /** The first thing wrong, in words. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** The hash of the line before that place. */
  at(place: number): string | undefined {
    return this.#at.get(place);
  }

  async add(lines: readonly string[]): Promise<void> {
    for (const line of lines) {
      const { prev, seq } = placeOf(line);
      if (prev === undefined) this.#problem ??= `entry ${this.#entries} cannot be read`;
      else if (seq !== this.#entries) this.#problem ??= `entry ${this.#entries} is missing`;
      else if (prev !== this.#head) this.#problem ??= `entry ${seq} does not follow from the one before`;
      this.#head = await sha256(line);
      this.#entries++;
      if (this.#wanted.has(this.#entries)) this.#at.set(this.#entries, this.#head);
    }
  }
}

function placeOf(line: string): { readonly seq?: unknown; readonly prev?: unknown } {
  try {
    return JSON.parse(line) as object;
  } catch {
    return {};
  }
}

export async function sha256(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
