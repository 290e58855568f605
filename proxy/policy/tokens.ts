/** `tokens`: where values that an agent knows by their tokens alone may be put back (docs/adr/reversible-tokens.md). */
import { columnKey } from './masks.ts';

/**
 * What one column (of an MCP server: one argument of a tool) takes: `off` none, `own` those that policy lets it take by
 * itself, a list further ones by their origin.
 */
export type TokenRule = 'off' | 'own' | readonly string[];

export type TokenRules = 'off' | ReadonlyMap<string, TokenRule>;

export type TokensShape = 'off' | Readonly<Record<string, TokenRule>>;

/** `connection/schema.table.column` or `connection/detector`, lower-cased but for the connection; as vaults and policies write them. */
export function originKey(origin: string, connection: string): string {
  const slash = origin.indexOf('/');
  const where = slash < 0 ? connection : origin.slice(0, slash);
  const what = origin.slice(slash + 1);
  return `${where}/${what.includes('.') ? columnKey(what) : what.toLowerCase()}`;
}

/** A place as rules name it: columns with their schema, arguments as they are. */
export function placeKey(name: string, isColumn: boolean): string {
  return isColumn ? columnKey(name) : name;
}

export function tokenRules(shape: TokensShape | undefined, connection: string, columns: boolean): TokenRules {
  if (shape === 'off') return 'off';
  return new Map(Object.entries(shape ?? {}).map(([place, rule]) => [placeKey(place, columns), ruleOf(rule, connection)]));
}

function ruleOf(rule: TokenRule, connection: string): TokenRule {
  if (rule === 'off' || rule === 'own') return rule;
  return rule.map((origin) => originKey(origin, connection));
}

/** A higher layer's rules, tightened by a lower one's. @returns what had no effect, too: it would have given more back */
export function tightenTokens(above: TokenRules, below: TokenRules): { readonly rules: TokenRules; readonly ignored: readonly string[] } {
  if (above === 'off' || below === 'off') return { rules: 'off', ignored: [] };
  const rules = new Map(above);
  const ignored: string[] = [];
  for (const [place, rule] of below) {
    const before = above.get(place) ?? 'own';
    if (before === 'off' || rule === 'off') rules.set(place, 'off');
    else if (rule === 'own') rules.set(place, 'own');
    else {
      const kept = before === 'own' ? [] : rule.filter((origin) => before.includes(origin));
      if (kept.length < rule.length) ignored.push(place);
      else rules.set(place, kept);
    }
  }
  return { rules, ignored };
}
