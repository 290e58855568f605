/** What a statement would do, as one text: equal texts before and after a wait mean that what was approved is what is executed. */
import type { Batch } from './classify.ts';
import type { Reading } from './flight.ts';
import type { Catalog, Relation } from './sql/catalog.ts';

/** Schemas that a session fills for itself: what others do there means nothing to anyone else. */
const OWN = /^pg_(toast_)?temp_/;

export function meaning({ parts, statements }: Batch, { catalog }: Reading): string {
  const targets = parts.flatMap((part) => part.targets).flatMap(({ name }) => relationsCalled(catalog, name));
  return JSON.stringify([
    parts,
    statements.map(({ copy, outputs }) => [outputs, copy]),
    targets,
    targets.some(isView) ? views(catalog) : [],
    routines(catalog),
  ]);
}

/** By a name as facts write it: where a dot is part of a name, both readings are looked at. */
function relationsCalled(catalog: Catalog, name: string): readonly Relation[] {
  const dots = [...name.matchAll(/\./g)].map(({ index }) => index);
  return [
    catalog.findRelation('public', name, []) ?? [],
    catalog.findRelation('pg_catalog', name, []) ?? [],
    ...dots.map((at) => catalog.findRelation(name.slice(0, at), name.slice(at + 1), []) ?? []),
  ].flat();
}

function isView({ kind, standsFor }: Relation): boolean {
  return (kind === 'view' || kind === 'matview') && standsFor === undefined;
}

/** Which views a view is made of is not followed: all of them, but for those that are made for sessions all the time. */
function views(catalog: Catalog): readonly unknown[] {
  return [...catalog.relations()].filter((relation) => isView(relation) && !OWN.test(relation.schema)).map(({ definition, oid }) => [oid, definition]);
}

/** Nor is it which functions a trigger, a view or another function comes to call; and functions are not made all the time. */
function routines(catalog: Catalog): readonly unknown[] {
  return [...catalog.routines()]
    .filter(({ schema }) => schema !== 'pg_catalog' && schema !== 'information_schema' && !OWN.test(schema))
    .map(({ body, definition, oid, searchPath, volatility }) => [oid, body, definition, searchPath, volatility]);
}
