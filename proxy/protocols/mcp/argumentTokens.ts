/**
 * Tokens in a tool's arguments, turned into their values where the policy lists the argument (`tokens: { tool.argument: […] }`). In
 * any other argument a token is text like other text and goes on as it stands: it says nothing of its value.
 */
import { SessionTokens, UNKNOWN_TOKEN } from '../../masking/revealing.ts';
import type { Conversation } from '../../pipeline/conversation.ts';
import type { McpConnection } from '../../policy/policy.ts';
import { isObject, type Json, type JsonObject } from './message.ts';

export interface WithValues {
  readonly params: JsonObject | undefined;
  /** How many tokens were replaced. */
  readonly replaced: number;
  /** Why it cannot be sent; undefined where it can. */
  readonly refused: string | undefined;
}

export class ArgumentTokens {
  readonly #tokens: SessionTokens;
  readonly #rules: McpConnection['tokens'];

  constructor(conversation: Conversation, connection: McpConnection) {
    this.#tokens = new SessionTokens(conversation.vault, connection.tokens, connection.name);
    this.#rules = connection.tokens;
  }

  /** Of a call: what is sent. What is shown, decided and recorded keeps the tokens. */
  put(params: JsonObject | undefined): WithValues {
    const rules = this.#rules;
    const unchanged: WithValues = { params, replaced: 0, refused: undefined };
    if (!params || !isObject(params.arguments) || typeof params.name !== 'string' || rules === undefined || rules === 'off' || !this.#tokens.any)
      return unchanged;
    const { name } = params;
    let replaced = 0;
    let refused: string | undefined;
    const text = (value: string, place: string): string => {
      let out = '';
      let from = 0;
      for (const found of this.#tokens.find(value)) {
        if (found.state !== 'ours') {
          refused ??= `Refused: ${found.text} ${UNKNOWN_TOKEN}`;
          continue;
        }
        const revealed = this.#tokens.reveal(found.token, { use: 'send', name: place });
        if (!revealed.ok) {
          refused ??= `Refused: ${revealed.why}`;
          continue;
        }
        out += value.slice(from, found.start) + revealed.value;
        from = found.end;
        replaced++;
      }
      return out + value.slice(from);
    };
    const walk = (value: Json, place: string): Json => {
      if (typeof value === 'string') return text(value, place);
      if (Array.isArray(value)) return value.map((item: Json) => walk(item, place));
      if (!isObject(value) || ('rawJSON' in value && Object.isFrozen(value))) return value;
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, place)]));
    };
    const args = Object.entries(params.arguments).map(([key, value]): [string, Json] => {
      const place = `${name}.${key}`;
      return [key, rules.has(place) ? walk(value, place) : value];
    });
    if (replaced === 0 && refused === undefined) return unchanged;
    return { params: { ...params, arguments: Object.fromEntries(args) }, replaced, refused };
  }
}
