/** COPY: what it reads or writes, and how its data is laid out on the wire. */
import type { CopyStmt, Node } from 'libpg-query';
import { predicate } from './expression.ts';
import { relationName } from './findings.ts';
import { relationItem } from './from.ts';
import type { CopyInfo } from './info.ts';
import { as, strings } from './nodes.ts';
import type { Query } from './query.ts';
import { type Context, EMPTY_SCOPE, opaque } from './scope.ts';
import { analyseStatement } from './statements.ts';

export function copy(context: Context, stmt: CopyStmt): { readonly info: Omit<CopyInfo, 'columns'>; readonly query: Query } {
  const { found } = context;
  const via = stmt.is_program ? 'program' : stmt.filename !== undefined ? 'file' : 'client';
  if (via === 'program') {
    found.raise('execute');
    found.target('program', (stmt.filename ?? '').slice(0, 200));
  } else if (via === 'file') {
    // A file of the server's machine, with the server's rights.
    found.raise('execute');
    found.target('file', (stmt.filename ?? '').slice(0, 200));
  }
  const info = { direction: stmt.is_from ? 'in' : 'out', via, ...layout(stmt.options) } as const;
  if (stmt.query) return { info, query: analyseStatement(context, stmt.query, EMPTY_SCOPE) ?? { columns: [], open: true } };
  const query = tableColumns(context, stmt);
  if (stmt.is_from) {
    found.raise('write');
    for (const column of query.columns) {
      for (const { label } of column.value.taints) {
        found.written.add(label);
        found.touched.add(label);
      }
    }
    const item = stmt.whereClause && stmt.relation && relationItem(context, stmt.relation);
    if (item) predicate(context, stmt.whereClause, { items: [item], ctes: new Map() });
  } else {
    for (const column of query.columns) found.touch(column.value.taints);
  }
  return { info, query };
}

function tableColumns(context: Context, stmt: CopyStmt): Query {
  const item = stmt.relation && relationItem(context, stmt.relation);
  if (!item) return { columns: [], open: true };
  if (stmt.is_from) context.found.changes.add(`COPY FROM ${item.relation ? relationName(item.relation) : item.name}`);
  if (stmt.is_from && item.relation?.triggers) context.found.notes.add(`${relationName(item.relation)} has triggers`);
  const named = strings(stmt.attlist);
  if (named.length === 0) {
    // Without a list, generated columns are left out.
    const generated = new Set(item.relation?.columns.filter((c) => c.generated !== undefined).map((c) => c.name));
    return { columns: item.columns.filter((c) => !generated.has(c.name)), open: item.open };
  }
  const columns = named.map((name) => {
    const column = item.columns.find((c) => c.name === name);
    if (!column) context.found.miss(`column ${item.name}.${name}`);
    return column ?? { name, value: opaque(context) };
  });
  return { columns, open: item.open };
}

function layout(options: readonly Node[] | undefined): Omit<CopyInfo, 'columns' | 'direction' | 'via'> {
  const given = new Map(
    (options ?? []).flatMap((node) => (as(node, 'DefElem') ? [[as(node, 'DefElem')?.defname ?? '', as(node, 'DefElem')?.arg] as const] : [])),
  );
  const text = (name: string): string | undefined => as(given.get(name), 'String')?.sval;
  const name = text('format')?.toLowerCase() ?? 'text';
  const format = name === 'csv' || name === 'binary' ? name : 'text';
  const quote = text('quote') ?? '"';
  return {
    format,
    delimiter: text('delimiter') ?? (format === 'csv' ? ',' : '\t'),
    quote,
    escape: text('escape') ?? quote,
    nullText: text('null') ?? (format === 'csv' ? '' : '\\N'),
    header: given.has('header') && !isOff(given.get('header')),
    encoding: text('encoding'),
  };
}

function isOff(arg: Node | undefined): boolean {
  const boolean = as(arg, 'Boolean');
  const number = as(arg, 'Integer');
  return (
    /^(off|false)$/i.test(as(arg, 'String')?.sval ?? '') || (boolean !== undefined && !boolean.boolval) || (number !== undefined && (number.ival ?? 0) === 0)
  );
}
