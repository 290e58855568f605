/** What is known of a session's temporary relations, as data is made into them and moved into them. */
import type { Flow } from './findings.ts';
import type { TemporaryColumn } from './scope.ts';
import { unite } from './value.ts';

export type Temporary = readonly TemporaryColumn[] | 'opaque';

const PREFIX = 'pg_temp.';

/** A relation of the name was made. What may have been moved into one of that name meanwhile is not forgotten. */
export function temporaryMade(known: Map<string, Temporary>, name: string, columns: Temporary): void {
  const before = known.get(name);
  if (before === 'opaque' || columns === 'opaque') known.set(name, 'opaque');
  else known.set(name, before ? columns.map((column) => also(column, before.find((c) => c.name === column.name)?.taints ?? [])) : columns);
}

/** Sensitive data goes into columns of temporary relations. */
export function temporaryFlows(known: Map<string, Temporary>, flows: readonly Flow[]): void {
  for (const { column, table, taints } of flows) {
    if (!table.startsWith(PREFIX)) continue;
    const name = table.slice(PREFIX.length);
    const columns = known.get(name);
    if (columns === undefined || columns === 'opaque' || !columns.some((c) => c.name === column)) known.set(name, 'opaque');
    else
      known.set(
        name,
        columns.map((c) => (c.name === column ? also(c, taints) : c)),
      );
  }
}

function also(column: TemporaryColumn, taints: TemporaryColumn['taints']): TemporaryColumn {
  return taints.length === 0 ? column : { name: column.name, taints: unite([column.taints, taints]) };
}
