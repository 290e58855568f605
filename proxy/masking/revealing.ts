/**
 * Tokens on their way back: found in what an agent sends, and turned into their values where policy lets them. The one way
 * from a token to its value.
 *
 * For a protocol: `find` every token in a piece of text (a literal, a parameter, an argument). One that is `unknown` is
 * refused with `UNKNOWN_TOKEN`. For one that is `ours`, say where it stands and what will read it there: `reveal` gives the
 * value, or the sentence of a refusal. What is decided, recorded and shown to a person carries the token; what is digested
 * and forwarded carries the value. Never log or record a value, and mask what comes back.
 */
import type { MaskKind } from '../../contract/verdict.ts';
import { atLeastAsStrict } from '../policy/masks.ts';
import { originKey, placeKey, type TokenRules } from '../policy/tokens.ts';
import type { Found, Token, TokenVault } from './vault.ts';

/** Where a value would go. */
export type Place =
  /** Compared with a column, or written into it. `name` is the column's label (`customers.email`), `mask` what it is read through. */
  | { readonly use: 'compare' | 'write'; readonly name: string; readonly mask: MaskKind | undefined }
  /** Handed to another program: `name` is `tool.argument`. Policy must list it. */
  | { readonly use: 'send'; readonly name: string };

export type Revealed = { readonly ok: true; readonly value: string } | { readonly ok: false; readonly why: string };

export const UNKNOWN_TOKEN =
  'is no token of this conversation: it was altered or made up, or comes from another conversation or one that has ended. Use a token as it was given, or read the value again.';

export class SessionTokens {
  readonly #vault: TokenVault;
  readonly #rules: TokenRules;
  readonly #connection: string;

  /** @param connection where values would be put back */
  constructor(vault: TokenVault, rules: TokenRules | undefined, connection: string) {
    this.#vault = vault;
    this.#rules = rules ?? new Map();
    this.#connection = connection;
  }

  /** The conversation has given tokens out. */
  get any(): boolean {
    return !this.#vault.empty;
  }

  /** What in a text reads like a token, in order; offsets in UTF-16. */
  find(text: string): readonly Found[] {
    return this.#vault.find(text);
  }

  /** The value, where policy lets it go to `place`. */
  reveal(token: Token, place: Place): Revealed {
    const why = this.#refusal(token, place);
    if (why !== undefined) return { ok: false, why };
    const value = this.#vault.value(token);
    return value === undefined ? { ok: false, why: `${token.text} ${UNKNOWN_TOKEN}` } : { ok: true, value };
  }

  #refusal(token: Token, place: Place): string | undefined {
    const { name, use } = place;
    if (this.#rules === 'off') return `No values are put back on ${this.#connection}: its policy says \`tokens: off\`.`;
    const isColumn = use !== 'send';
    const rule = this.#rules.get(placeKey(name, isColumn)) ?? 'own';
    if (rule === 'off') return `No values are put back into ${name}: the policy says so.`;
    if (isColumn && (place.mask === undefined || !atLeastAsStrict(place.mask, 'token')))
      return `${token.text} cannot stand here: ${name} is not masked as strictly as its value is, so that it could be read there.`;
    const origins = token.origins.map((origin) => originKey(origin, this.#connection));
    if (rule !== 'own' && origins.some((origin) => rule.includes(origin))) return undefined;
    const here = `${this.#connection}/`;
    if (use === 'compare' && origins.includes(originKey(name, this.#connection))) return undefined;
    if (use === 'write' && origins.some((origin) => origin.startsWith(here))) return undefined;
    const from = token.origins[0] ?? 'elsewhere';
    return `${token.text} cannot stand here: it is a value of ${from}, and the policy does not let ${name} take it. Its owner can list it under \`tokens\`.`;
  }
}
