import type { DryRun } from '../../contract/approval.ts';

/** One row of a dry run, told by what changes in it. */
export interface ChangedRow {
  readonly kind: 'changed' | 'added' | 'removed';
  /** What tells the row apart: its first columns that stay as they are. */
  readonly key: readonly Cell[];
  readonly changes: readonly { readonly column: string; readonly before: string | null | undefined; readonly after: string | null | undefined }[];
}

interface Cell {
  readonly column: string;
  readonly value: string | null;
}

export function dryRunRows(result: DryRun): ChangedRow[] {
  return result.samples.flatMap(({ before, after }): ChangedRow[] => {
    const cells = result.columns.map((column, i) => ({ column, before: before?.[i], after: after?.[i] }));
    if (before && after) {
      const same = cells.filter((c) => c.before === c.after);
      return [
        {
          kind: 'changed',
          key: same.slice(0, 1).map((c) => ({ column: c.column, value: c.before ?? null })),
          changes: cells.filter((c) => c.before !== c.after),
        },
      ];
    }
    if (!before && !after) return [];
    return [{ kind: before ? 'removed' : 'added', key: [], changes: cells }];
  });
}
