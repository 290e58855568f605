/** What happens to each column of a result, decided once a result, and to one value of it. */
import type { Finding } from '../../../contract/response.ts';
import type { MaskKind } from '../../../contract/verdict.ts';
import { type SessionMasking, shapeOf } from '../../masking/masking.ts';
import type { MaskPlan } from '../../policy/policy.ts';
import type { Column } from './messages.ts';
import type { Catalog } from './sql/catalog.ts';
import type { OutputColumn, StatementInfo } from './sql/classifier.ts';
import { type Form, formOf, holdsText, isTextLike } from './types.ts';

/** Undefined where a column passes as it is. */
export type Action =
  | { readonly kind: 'scan'; readonly format: number; readonly form: Form }
  | {
      readonly kind: 'mask';
      readonly mask: MaskKind;
      readonly label: string;
      readonly by: 'column' | 'opaque';
      /** No value and an empty one are hidden like any other. */
      readonly computed?: true;
      readonly format: number;
      readonly form: Form;
      readonly typeOid: number;
    };

export type Lineage = Pick<StatementInfo, 'outputs' | 'touchesSensitive' | 'doubtful'>;

const OPAQUE = { mask: 'redact', label: 'not understood', by: 'opaque' } as const;

/** Origin as the server tells it, and lineage as we read it: a column is masked when either says so. */
export function actionsOf(
  columns: readonly Column[],
  lineage: Lineage,
  catalog: Catalog,
  plan: MaskPlan,
  /** What the statement was understood with, where `catalog` is newer. */
  understood: Catalog = catalog,
): readonly (Action | undefined)[] {
  const { outputs } = lineage;
  // A list that does not fit the result was made for something else: nothing it says can be trusted.
  const fits = outputs !== 'opaque' && outputs.length === columns.length;
  return columns.map((column, i) => {
    const { format, typeOid } = column;
    const mask =
      (lineage.doubtful && plan.columns.size > 0 && OPAQUE) ||
      (column.tableOid !== 0 && (byOrigin(column, catalog, plan) ?? madeMeanwhile(column, lineage, catalog, understood, plan))) ||
      byLineage(fits ? outputs[i] : undefined, column, lineage, plan);
    if (mask) return { kind: 'mask', ...mask, format, form: formOf(typeOid), typeOid };
    return holdsText(typeOid) ? { kind: 'scan', format, form: formOf(typeOid) } : undefined;
  });
}

type Masked = { readonly mask: MaskKind; readonly label: string; readonly by: 'column' | 'opaque'; readonly computed?: true };

function byOrigin(column: Column, catalog: Catalog, plan: MaskPlan): Masked | undefined {
  const found = catalog.maskFor(column.tableOid, column.attnum, plan);
  if (found) return { ...found, by: 'column' };
  // A table that even a new snapshot does not know (made in a transaction that is still open).
  if (plan.columns.size > 0 && !catalog.relation(column.tableOid)) return OPAQUE;
  return undefined;
}

/**
 * A column that a statement not understood reads from what only its session sees, or what was made after the statement was
 * read: whatever came before it in the same pipeline may have put anything there, and no plan has followed it yet.
 */
function madeMeanwhile(column: Column, { outputs }: Lineage, catalog: Catalog, understood: Catalog, plan: MaskPlan): Masked | undefined {
  if (outputs !== 'opaque' || plan.columns.size === 0) return undefined;
  const known = understood.relation(column.tableOid);
  const temporary = catalog.relation(column.tableOid)?.schema.startsWith('pg_temp') ?? false;
  if (!temporary && known && (column.attnum <= 0 || known.columns.some(({ number }) => number === column.attnum))) return undefined;
  return OPAQUE;
}

function byLineage(output: OutputColumn | undefined, column: Column, lineage: Lineage, plan: MaskPlan): Masked | undefined {
  if (!output) return column.tableOid === 0 && plan.columns.size > 0 && (lineage.outputs === 'opaque' || lineage.touchesSensitive) ? OPAQUE : undefined;
  switch (output.kind) {
    case 'clean':
      return undefined;
    case 'origin': {
      const mask = output.mask ?? plan.columns.get(output.column);
      return mask && { mask, label: output.label ?? output.column, by: 'column' };
    }
    case 'mask':
      return { mask: output.mask, label: output.label, by: 'opaque', ...(output.computed && { computed: true }) };
  }
}

/** Whether NULL and what is empty are masked, too. */
export function hidesNothing(action: Action): boolean {
  return action.kind === 'mask' && action.computed === true;
}

/** A value that was replaced: bytes to write (null: NULL), and what a person is told of it. */
export interface Replaced {
  readonly value: string | null;
  /** Written before the value in binary `jsonb`: its version. */
  readonly prefix?: number;
  readonly findings: readonly Omit<Finding, 'at'>[];
}

const JSONB_VERSION = 1;

/**
 * @param outlined whether a person will see it: then its outline is told, too
 * @returns undefined where the value stays as it is
 */
export function replace(action: Action, buffer: Buffer, start: number, end: number, masking: SessionMasking, outlined: boolean): Replaced | undefined {
  const jsonb = action.form === 'jsonb' && action.format === 1;
  const from = jsonb ? start + 1 : start;
  if (from >= end && !hidesNothing(action)) return undefined;
  return action.kind === 'mask' ? masked(action, buffer, from, end, jsonb, masking, outlined) : scanned(action, buffer, from, end, jsonb, masking);
}

function masked(
  action: Extract<Action, { kind: 'mask' }>,
  buffer: Buffer,
  start: number,
  end: number,
  jsonb: boolean,
  masking: SessionMasking,
  outlined: boolean,
): Replaced {
  const readable = action.format === 0 || isTextLike(action.typeOid);
  if (!readable) return { value: null, findings: [found(action, '')] };
  const original = buffer.toString('utf8', start, end);
  const text = masking.mask(original, action.mask, action.label);
  const findings = outlined ? [found(action, shapeOf(original))] : ONE_FINDING;
  return jsonb ? { value: dressed(text, action.form), prefix: JSONB_VERSION, findings } : { value: dressed(text, action.form), findings };
}

function found({ by, label, mask }: Extract<Action, { kind: 'mask' }>, shape: string): Omit<Finding, 'at'> {
  return { label, by, mask, shape };
}

/** Stands for a finding that is counted and not shown: of millions of values, only the first rows' are described. */
const ONE_FINDING: Replaced['findings'] = [{ label: '', by: 'column', mask: 'redact', shape: '' }];

/** A mask in the form that the type's readers expect. */
function dressed(text: string, form: Form): string {
  if (form === 'json' || form === 'jsonb') return JSON.stringify(text);
  if (form === 'array') return `{${JSON.stringify(text)}}`;
  return text;
}

function scanned(action: Action, buffer: Buffer, start: number, end: number, jsonb: boolean, masking: SessionMasking): Replaced | undefined {
  const original = buffer.toString('utf8', start, end);
  const json = action.form === 'json' || action.form === 'jsonb';
  const { text, findings } = masking.scrub(original);
  const hidden = json && original.includes('\\') ? scrubEscaped(original, masking) : undefined;
  if (findings.length === 0 && !hidden) return undefined;
  const all = hidden ? hidden.findings : findings;
  // The parts of a binary array or record carry lengths of their own, which no replacement would keep.
  if (action.format === 1 && (action.form === 'array' || action.form === 'other')) return { value: null, findings: all };
  const value = hidden ? hidden.text : json && !isJson(text) ? JSON.stringify(text) : text;
  return { value, ...(jsonb && { prefix: JSONB_VERSION }), findings: all };
}

/** JSON whose strings hold escapes: `\u0040` is an @ to whoever parses it. Undefined where nothing is found in it. */
function scrubEscaped(original: string, masking: SessionMasking): { readonly text: string; readonly findings: readonly Finding[] } | undefined {
  const findings: Finding[] = [];
  const clean = (text: string): string => {
    const scrubbed = masking.scrub(text);
    findings.push(...scrubbed.findings);
    return scrubbed.text;
  };
  const walk = (value: unknown): unknown => {
    if (typeof value === 'string') return clean(value);
    if (Array.isArray(value)) return value.map(walk);
    if (value !== null && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, inner]) => [clean(key), walk(inner)]));
    return value;
  };
  try {
    const text = JSON.stringify(walk(JSON.parse(original)));
    return findings.length === 0 ? undefined : { text, findings };
  } catch {
    return undefined;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
