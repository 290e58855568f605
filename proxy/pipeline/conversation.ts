import type { Facts } from '../../contract/facts.ts';
import { TokenVault } from '../masking/vault.ts';

/** How many distinct targets a conversation remembers. Beyond it, everything counts as read sensitively: fail closed. */
const MAX_REMEMBERED_TARGETS = 1000;

/** One run of an agent: groups sessions, and remembers what was read, so that rules can look back. */
export class Conversation {
  readonly id: string;
  operations = 0;
  /** The values behind the tokens that its sessions were given, so that one session can use what another was shown. */
  readonly vault = new TokenVault();
  readonly #read = new Map<string, boolean>();
  /** `read` as it was asked for last: every operation asks, and few change it. */
  #list: { readonly target: string; readonly sensitive: boolean }[] | undefined;

  constructor(id: string) {
    this.id = id;
  }

  /** Called before an operation is forwarded, so that two at once cannot slip past each other. */
  remember(connection: string, parts: readonly Facts[]): void {
    this.operations++;
    for (const facts of parts) {
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

  /** Targets seen so far, `connection/name`, and whether anything sensitive was touched with them. */
  get read(): readonly { readonly target: string; readonly sensitive: boolean }[] {
    this.#list ??= [...this.#read].map(([target, sensitive]) => ({ target, sensitive }));
    return this.#list;
  }
}
