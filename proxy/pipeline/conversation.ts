import type { Facts } from '../../contract/facts.ts';
import { TokenVault } from '../masking/vault.ts';

/** How many distinct targets a conversation remembers. Beyond it, everything counts as read sensitively: fail closed. */
const MAX_REMEMBERED_TARGETS = 1000;

/** Something sensitive that was read, as a person is shown it. */
export interface SensitiveRead {
  readonly connection: string;
  readonly target: string;
  /** Columns, or the detectors that found something. */
  readonly what: readonly string[];
  /** Values that were masked, where they were counted. */
  readonly masked: number;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** Latest sensitive reads that are kept to be shown. */
const MAX_SHOWN_READS = 50;

/** One run of an agent: groups sessions, and remembers what was read, so that rules can look back. */
export class Conversation {
  readonly id: string;
  operations = 0;
  /** The values behind the tokens that its sessions were given, so that one session can use what another was shown. */
  readonly vault = new TokenVault();
  readonly #read = new Map<string, boolean>();
  readonly #sensitive = new Map<string, { -readonly [key in keyof SensitiveRead]: SensitiveRead[key] }>();
  /** Facts that read nothing sensitive and were remembered already: a protocol hands in the same list for statements of one shape. */
  readonly #noted = new WeakMap<readonly Facts[], string>();
  /** `read` as it was asked for last: every operation asks, and few change it. */
  #list: { readonly target: string; readonly sensitive: boolean }[] | undefined;

  constructor(id: string) {
    this.id = id;
  }

  /** Called before an operation is forwarded, so that two at once cannot slip past each other. */
  remember(connection: string, parts: readonly Facts[], at = 0): void {
    this.operations++;
    if (this.#noted.get(parts) === connection) return;
    if (parts.every((facts) => facts.sensitive.length === 0)) this.#noted.set(parts, connection);
    for (const facts of parts) {
      if (facts.sensitive.length > 0)
        this.#note({ connection, target: facts.targets.map(({ name }) => name).join(', '), what: facts.sensitive, masked: 0, at });
      for (const target of facts.targets) {
        const key = this.#read.size < MAX_REMEMBERED_TARGETS ? `${connection}/${target.name}` : '*';
        const before = this.#read.get(key);
        const sensitive = before === true || key === '*' || facts.sensitive.length > 0;
        if (sensitive === before) continue;
        this.#read.set(key, sensitive);
        this.#list = undefined;
      }
    }
  }

  /** Called when an answer turned out to hold something sensitive. */
  sensitiveAnswer(connection: string, target: string, what: readonly string[], masked: number, at: number): void {
    this.#note({ connection, target, what, masked, at });
    const key = this.#read.has(`${connection}/${target}`) || this.#read.size < MAX_REMEMBERED_TARGETS ? `${connection}/${target}` : '*';
    if (this.#read.get(key) === true) return;
    this.#read.set(key, true);
    this.#list = undefined;
  }

  /** What was read that is sensitive, latest last. */
  get sensitive(): readonly SensitiveRead[] {
    return [...this.#sensitive.values()].sort((a, b) => a.at - b.at);
  }

  #note(read: SensitiveRead): void {
    const key = `${read.connection}\0${read.target}`;
    const before = this.#sensitive.get(key);
    // A statement that reads the same again and again must cost next to nothing.
    if (before && read.what.every((one) => before.what.includes(one))) {
      before.at = read.at;
      before.masked += read.masked;
      return;
    }
    this.#sensitive.delete(key);
    this.#sensitive.set(key, before ? { ...read, what: [...new Set([...before.what, ...read.what])], masked: before.masked + read.masked } : read);
    for (const oldest of this.#sensitive.keys()) {
      if (this.#sensitive.size <= MAX_SHOWN_READS) break;
      this.#sensitive.delete(oldest);
    }
  }

  /** Targets seen so far, `connection/name`, and whether anything sensitive was touched with them. */
  get read(): readonly { readonly target: string; readonly sensitive: boolean }[] {
    this.#list ??= [...this.#read].map(([target, sensitive]) => ({ target, sensitive }));
    return this.#list;
  }
}
