/** Masks: which is stricter, and what one connection's plan is. */
import type { MaskKind } from '../../contract/verdict.ts';
import type { MaskPlan } from './policy.ts';

/**
 * Mildest first. `partial` shows part of the value; `hash` lets equal values be told apart by anyone who sees several
 * answers of a session; `token` does so by numbering only what was seen; `redact` shows nothing.
 */
const BY_STRICTNESS: readonly (MaskKind | 'off')[] = ['off', 'partial', 'hash', 'token', 'redact'];

/** Whether `a` shows less than `b`, or as much. */
export function atLeastAsStrict(a: MaskKind | 'off', b: MaskKind | 'off'): boolean {
  return BY_STRICTNESS.indexOf(a) >= BY_STRICTNESS.indexOf(b);
}

/** `table.column` or `schema.table.column` → lower-cased `schema.table.column`. */
export function columnKey(column: string): string {
  const parts = column.toLowerCase().split('.');
  return parts.length === 2 ? `public.${parts.join('.')}` : parts.join('.');
}

export interface DetectorSettings {
  readonly detectors: ReadonlyMap<string, MaskKind | 'off'>;
  readonly otherwise: MaskKind;
}

export function planOf(sensitive: ReadonlyMap<string, MaskKind>, settings: DetectorSettings, tokens?: MaskPlan['tokens']): MaskPlan {
  const columns = new Map<string, MaskKind>();
  for (const [column, mask] of sensitive) {
    const key = columnKey(column);
    const before = columns.get(key);
    if (before === undefined || atLeastAsStrict(mask, before)) columns.set(key, mask);
  }
  return { columns, detectors: settings.detectors, otherwise: settings.otherwise, ...(tokens && { tokens }) };
}
