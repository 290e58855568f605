/** What an expression's value is made of, as far as masking must know. */
import type { MaskKind } from '../../../../contract/verdict.ts';
import type { Relation } from './catalog.ts';

/** A sensitive column that a value was made from. */
export interface Taint {
  /** `customers.email`. */
  readonly label: string;
  readonly mask: MaskKind;
}

export interface Origin {
  readonly relation: Relation;
  /** `attnum`. */
  readonly attribute: number;
}

export interface Value {
  readonly taints: readonly Taint[];
  /** The value is one that a tainted column holds, not something computed from it: the column's own mask still fits. */
  readonly keeps: boolean;
  /** Set for a plain column, however deep in subqueries. */
  readonly origin?: Origin;
  /** Fields, where the value is a row whose shape is known. */
  readonly row?: readonly Column[];
  /** It says whether a column equals a literal, or has a value at all, and nothing else. */
  readonly equality?: true;
  /** Literals (byte offset) and parameters (negative number) whose value this is. */
  readonly sources: readonly number[];
}

export interface Column {
  readonly name: string;
  readonly value: Value;
}

const NONE: readonly never[] = [];
export const CLEAN: Value = { taints: NONE, keeps: true, sources: NONE };

/** Strictest first. A token can be turned back by the session that got it; a partial mask shows part of the value. */
const STRICTNESS: readonly MaskKind[] = ['redact', 'hash', 'token', 'partial'];

export function strictest(masks: readonly MaskKind[]): MaskKind {
  return STRICTNESS.find((mask) => masks.includes(mask)) ?? 'redact';
}

export function isTainted(value: Value): boolean {
  return value.taints.length > 0;
}

/** The mask for a value with taints: the strictest of its inputs, or everything where it is computed from them. */
export function maskOf(value: Value): MaskKind {
  return value.keeps ? strictest(value.taints.map((t) => t.mask)) : 'redact';
}

export function unite<T>(lists: readonly (readonly T[])[]): readonly T[] {
  let only: readonly T[] | undefined;
  for (const list of lists) {
    if (list.length === 0) continue;
    if (only !== undefined && only !== list) return [...new Set(lists.flat())];
    only = list;
  }
  return only ?? NONE;
}

/** A value that is one of several: the branches of a CASE, the arms of a UNION. */
export function oneOf(values: readonly Value[]): Value {
  if (values.length === 1 && values[0]) return { ...values[0] };
  const keeps = values.every((v) => v.keeps || v.taints.length === 0);
  return { taints: unite(values.map((v) => v.taints)), keeps, sources: unite(values.map((v) => v.sources)) };
}

/** A value computed from others in a way that their masks do not survive. */
export function computed(values: readonly Value[]): Value {
  const taints = unite(values.map((v) => v.taints));
  const sources = unite(values.map((v) => v.sources));
  return taints.length === 0 && sources.length === 0 ? CLEAN : { taints, keeps: taints.length === 0, sources };
}

/** The same value, no longer a plain column or a row. */
export function plain(value: Value): Value {
  return value.origin || value.row ? { taints: value.taints, keeps: value.keeps && !value.row, sources: value.sources } : value;
}

/** Taints as a column of a view (or function result) hands them on: what was computed is redacted from there on. */
export function settled(value: Value): readonly Taint[] {
  return value.keeps ? value.taints : value.taints.map((t) => ({ label: t.label, mask: 'redact' as const }));
}

/**
 * A question about a value that asks only whether there is one. Of a column as it is stored, its mask answers that, too: NULL
 * is shown as NULL. Not of a row, whose fields IS NULL looks at, nor of what is computed, where what it is NULL for can be chosen.
 */
export function presence(value: Value): Value {
  const { origin, taints } = value;
  const column = origin?.relation.columns.find(({ number }) => number === origin.attribute);
  if (!value.keeps || value.row || !column || column.composite) return value;
  return { taints, keeps: false, sources: [], equality: true };
}
