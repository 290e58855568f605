/** What a person types into the filter of the session history. Never fails: what is no term is text. */

/** `key:value` terms, and what a value means where it is not the plain text of a column. */
const KEYS = ['verdict', 'outcome', 'connection', 'agent', 'person', 'effect', 'rule', 'session', 'conversation', 'protocol'] as const;
export type FilterKey = (typeof KEYS)[number];

/** Terms that count; more are left out. */
const MAX_TERMS = 20;

export interface Filter {
  /** All must hold; values of one key are alternatives. Lower case. */
  readonly terms: ReadonlyMap<FilterKey, readonly string[]>;
  /** Words that must all occur. */
  readonly text: readonly string[];
  /** Epoch milliseconds. */
  readonly after?: number;
  readonly before?: number;
}

/** `verdict:denied connection:orders after:2d "exact words" text` */
export function parseFilter(input: string, now: number): Filter {
  const terms = new Map<FilterKey, string[]>();
  const text: string[] = [];
  let after: number | undefined;
  let before: number | undefined;
  for (const [, key, quoted, plain] of [...input.matchAll(/(?:([a-z]+):)?(?:"([^"]*)"?|(\S+))/gi)].slice(0, MAX_TERMS)) {
    const value = quoted ?? plain ?? '';
    const name = key?.toLowerCase();
    const time = name === 'after' || name === 'before' ? parseTime(value, now) : undefined;
    if (time !== undefined && name === 'after') after = time;
    else if (time !== undefined) before = time;
    else if (isKey(name) && value !== '') terms.set(name, [...(terms.get(name) ?? []), value.toLowerCase()]);
    else if (value !== '' || key !== undefined) text.push(key === undefined ? value : `${key}:${value}`);
  }
  return { terms, text, ...(after !== undefined && { after }), ...(before !== undefined && { before }) };
}

function isKey(name: string | undefined): name is FilterKey {
  return name !== undefined && (KEYS as readonly string[]).includes(name);
}

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** `2d` is two days before now; otherwise a date or time of ISO 8601. */
function parseTime(value: string, now: number): number | undefined {
  const ago = /^(\d{1,6})([mhdw])$/i.exec(value);
  if (ago) return now - Number(ago[1]) * (UNITS[(ago[2] ?? '').toLowerCase()] ?? 0);
  const at = /^\d{4}-\d{2}-\d{2}/.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}
