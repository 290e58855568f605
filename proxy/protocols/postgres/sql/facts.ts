/** Findings as `Facts`: capped, and worded for a person. */
import type { Effect, Facts } from '../../../../contract/facts.ts';
import type { Findings } from './findings.ts';

export interface Wording {
  readonly verb: string;
  readonly headline: string | undefined;
  readonly notes: readonly string[];
  /** Starts, ends or changes a transaction or session setting. */
  readonly session: boolean;
  /** Undefined where the statement has no WHERE of its own to speak of. */
  readonly where: boolean | undefined;
  /** Columns set or inserted. */
  readonly set: number | undefined;
  readonly returned: ReadonlySet<string>;
}

/** Caps of `contract/facts.ts`. */
const MAX_NAMES = 500;
const MAX_FUNCTIONS = 200;
const MAX_NOTES = 20;

export function factsOf(found: Findings, wording: Wording): Facts {
  const labels = (set: ReadonlySet<string>): string[] => [...set].slice(0, MAX_NAMES).map((label) => label.slice(0, 300));
  const targets = [...found.targets.values()];
  return {
    effect: found.effect,
    verb: wording.verb.slice(0, 60),
    targets: targets.slice(0, MAX_NAMES).map((t) => ({ kind: t.kind, name: t.name.slice(0, 512) })),
    bulk: found.bulk,
    sensitive: labels(found.touched),
    headline: headlineOf(found, wording).slice(0, 300),
    notes: notesOf(found, wording)
      .slice(0, MAX_NOTES)
      .map((note) => note.slice(0, 300)),
    sql: {
      statement: wording.verb.slice(0, 60),
      where: wording.where ?? false,
      functions: [...found.functions].slice(0, MAX_FUNCTIONS).map((name) => name.slice(0, 200)),
      returned: labels(wording.returned),
      predicates: labels(found.predicates),
      written: labels(found.written),
      ...(found.predicates.size > 0 && found.onlyEquality && { equality: true }),
      session: wording.session,
    },
  };
}

const CHANGES: ReadonlySet<Effect> = new Set(['write', 'delete']);

function headlineOf(found: Findings, { verb, headline }: Wording): string {
  if (headline !== undefined) return headline;
  const changes = [...found.changes];
  if (changes.length > 0 && CHANGES.has(found.effect)) {
    const own = changes.find((change) => change.startsWith(verb));
    // A change inside another statement leads: that is what matters.
    if (own !== undefined && changes.length === 1) return own;
    return `${changes.slice(0, 3).join(', ')}${own === undefined ? ` inside ${verb}` : ''}`;
  }
  if ((found.effect !== 'read' || found.targets.size === 0) && found.functions.size > 0)
    return `${verb} calling ${[...found.functions].slice(0, 3).join(', ')}`;
  const names = [...found.targets.values()].map((t) => t.name);
  const more = names.length > 3 ? ` and ${names.length - 3} more` : '';
  return `${verb} ${names.slice(0, 3).join(', ')}${more}`.trim();
}

function notesOf(found: Findings, { where, set, returned, notes }: Wording): string[] {
  const out: string[] = [];
  const tables = [...found.targets.values()].filter((t) => t.kind === 'table' || t.kind === 'view').length;
  if (found.bulk) out.push('every row');
  if (tables > 0) out.push(tables === 1 ? 'one table' : `${tables} tables`);
  if (where === true) out.push('has WHERE');
  else if (where === false && found.bulk) out.push('no WHERE that leaves a row out');
  if (set) out.push(set === 1 ? 'one column set' : `${set} columns set`);
  if (found.written.size > 0) out.push(`writes ${list(found.written)}`);
  if (returned.size > 0) out.push(`returns ${list(returned)}`);
  if (found.predicates.size > 0) out.push(`asks about ${list(found.predicates)}`);
  if (found.functions.size > 0) out.push(`calls ${list(found.functions)}`);
  return [...new Set([...out, ...notes, ...found.notes])];
}

function list(names: ReadonlySet<string>): string {
  const all = [...names];
  return all.slice(0, 4).join(', ') + (all.length > 4 ? ` and ${all.length - 4} more` : '');
}
