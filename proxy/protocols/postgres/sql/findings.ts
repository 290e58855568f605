/** What is gathered while one statement is walked, and turned into `Facts` at its end. */
import { type Effect, effectRank } from '../../../../contract/facts.ts';
import type { Relation, Routine } from './catalog.ts';
import type { LiteralPlace } from './info.ts';
import { isTainted, type Taint, type Value } from './value.ts';

/** Nodes that are looked at for one text, views and functions included: a bound on time, not on what people write. */
const MAX_NODES = 400_000;
/** Nesting of expressions and subqueries. */
const MAX_DEPTH = 700;

/** The walk is over its budget: the statement is not understood. */
export class TooComplex extends Error {}

/** Shared by all statements of one text. */
export class Budget {
  #left = MAX_NODES;
  #depth = 0;

  /** Runs one step deeper. */
  within<T>(step: () => T): T {
    if (--this.#left < 0 || this.#depth >= MAX_DEPTH) throw new TooComplex('too complex');
    this.#depth++;
    try {
      return step();
    } finally {
      this.#depth--;
    }
  }
}

/** A column that will hold sensitive data once the statement has run. */
export interface Flow {
  /** `schema.table`; `pg_temp.table` for a temporary one. */
  readonly table: string;
  readonly column: string;
  readonly taints: readonly Taint[];
}

export class Findings {
  effect: Effect = 'read';
  readonly targets = new Map<string, { kind: string; name: string }>();
  readonly functions = new Set<string>();
  /** Labels by use. */
  readonly touched = new Set<string>();
  readonly predicates = new Set<string>();
  readonly written = new Set<string>();
  readonly returned = new Set<string>();
  /** Byte offsets of literals that are compared with, or given to, a sensitive column. */
  readonly literals = new Set<number>();
  readonly params = new Map<number, string>();
  /** Literals and parameters that are nothing but a sensitive column's value. */
  readonly places: LiteralPlace[] = [];
  /** Literals and parameters that go into any column. */
  readonly writes = new Set<number>();
  /** Every use in `predicates` is an equality with literals and parameters. */
  onlyEquality = true;
  /** A value reached a sensitive column by a way that was not followed: every literal is masked in the record. */
  allLiterals = false;
  /** The facts depend on a literal's value, so the statement has no shape. */
  literalsDecide = false;
  /** The statement may change settings or temporary objects of the session in ways that are not seen from outside. */
  changesSession = false;
  /** Every row of a table is changed or removed. */
  bulk = false;
  /** Names that the catalog does not know: it may be out of date. */
  readonly misses = new Set<string>();
  readonly notes = new Set<string>();
  /** Sensitive data that the statement puts elsewhere: whoever tracks the session makes that sensitive, too. */
  readonly flows: Flow[] = [];
  /** It uses names that mean something else than the catalog says. */
  doubtful = false;
  /** Why it may not run, whatever policy says. */
  refused: string | undefined;
  /** Rows changed by whatever stands inside: `DELETE orders`. */
  readonly changes = new Set<string>();
  /** A relation with sensitive columns is named: errors may show whole rows of it. */
  near = false;
  /** Something is made of, or decided by, sensitive values that are stored. */
  reads = false;
  /** A function that people wrote gives back what may be sensitive. */
  routineTaint = false;

  raise(effect: Effect): void {
    if (effectRank(effect) > effectRank(this.effect)) this.effect = effect;
  }

  target(kind: string, name: string): void {
    this.targets.set(`${kind}\0${name}`, { kind, name });
  }

  /** Something that could not be resolved: the effect is unknown, whatever else is found. */
  unresolved(what: string): void {
    this.raise('unknown');
    this.notes.add(`not understood: ${what}`.slice(0, 300));
    this.allLiterals = true;
  }

  /** A name that was changed in a transaction that is not over. */
  changed(what: string): void {
    this.doubtful = true;
    this.unresolved(`${what}, which was changed in the same transaction`);
  }

  miss(what: string): void {
    this.misses.add(what);
    this.unresolved(what);
  }

  touch(taints: readonly Taint[]): void {
    for (const taint of taints) this.touched.add(taint.label);
    if (taints.length > 0) this.reads = true;
  }

  /** The value decides which rows there are, or their order. */
  predicate(value: Value): void {
    if (value.taints.length > 0 && !value.equality) this.onlyEquality = false;
    if (value.taints.length > 0) this.reads = true;
    for (const taint of value.taints) {
      this.touched.add(taint.label);
      this.predicates.add(taint.label);
    }
  }

  /** Values that meet in one operation: literals among them meet the sensitive columns among them. */
  meet(values: readonly Value[]): void {
    const tainted = values.find(isTainted);
    const label = tainted?.taints[0]?.label;
    if (label === undefined) return;
    for (const value of values) this.sensitive(value, label);
  }

  /** The literals and parameters of a value are as sensitive as the column. */
  sensitive(value: Value, label: string): void {
    for (const source of value.sources) {
      if (source < 0) this.params.set(-source, label);
      else this.literals.add(source);
    }
  }

  /** What is behind a view or in a function's body, as far as it concerns who uses it. */
  include(inner: Findings): void {
    this.raise(inner.effect);
    for (const [key, target] of inner.targets) this.targets.set(key, target);
    for (const name of inner.functions) this.functions.add(name);
    for (const label of inner.touched) this.touched.add(label);
    for (const label of inner.predicates) this.predicates.add(label);
    this.onlyEquality &&= inner.onlyEquality;
    for (const label of inner.written) this.written.add(label);
    for (const note of inner.notes) this.notes.add(note);
    for (const miss of inner.misses) this.misses.add(miss);
    for (const change of inner.changes) this.changes.add(change);
    this.flows.push(...inner.flows);
    this.refused ??= inner.refused;
    this.doubtful ||= inner.doubtful;
    this.near ||= inner.near;
    this.reads ||= inner.reads;
    this.bulk ||= inner.bulk;
    this.routineTaint ||= inner.routineTaint;
    this.changesSession ||= inner.changesSession;
  }
}

/** As policy and people name it: the public schema is left out, and a masked view is called like its table. */
export function relationName(relation: Pick<Relation, 'schema' | 'name' | 'standsFor'>): string {
  const schema = relation.standsFor ?? relation.schema;
  return schema === 'public' ? relation.name : `${schema}.${relation.name}`;
}

export function routineName(routine: Pick<Routine, 'schema' | 'name'>): string {
  return routine.schema === 'public' || routine.schema === 'pg_catalog' ? routine.name : `${routine.schema}.${routine.name}`;
}

/** The `kind` of a target. */
export function targetKind(relation: Relation): string {
  if (relation.kind === 'view' || relation.kind === 'matview') return 'view';
  return relation.kind === 'sequence' ? 'sequence' : 'table';
}
