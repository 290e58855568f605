import type { Facts } from '../../contract/facts.ts';

/** How many distinct targets a conversation remembers. Beyond it, everything counts as read sensitively: fail closed. */
export const MAX_REMEMBERED_TARGETS = 1000;

/** One run of an agent: groups sessions, and remembers what was read, so that rules can look back. */
export class Conversation {
  readonly id: string;
  operations = 0;
  readonly #read = new Map<string, boolean>();

  constructor(id: string) {
    this.id = id;
  }

  /** Called before an operation is forwarded, so that two at once cannot slip past each other. */
  remember(connection: string, parts: readonly Facts[]): void {
    this.operations++;
    for (const facts of parts) {
      for (const target of facts.targets) {
        const key = this.#read.size < MAX_REMEMBERED_TARGETS ? `${connection}/${target.name}` : '*';
        this.#read.set(key, (this.#read.get(key) ?? false) || key === '*' || facts.sensitive.length > 0);
      }
    }
  }

  /** Targets seen so far, `connection/name`, and whether anything sensitive was touched with them. */
  get read(): readonly { readonly target: string; readonly sensitive: boolean }[] {
    return [...this.#read].map(([target, sensitive]) => ({ target, sensitive }));
  }
}
