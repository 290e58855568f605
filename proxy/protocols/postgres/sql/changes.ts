/**
 * Names that mean something else after a statement. Until the catalog is read again, inside of the transaction (`look.ts`) or when
 * it is over, nothing that uses one of them is understood: what was made in an open transaction is seen by nobody else.
 */
import type { Node, RangeVar } from 'libpg-query';
import type { Flow } from './findings.ts';
import { as, kindOf, strings, walk } from './nodes.ts';
import type { Context } from './scope.ts';

/** Tables, views and functions by their bare names; which schema is meant depends on the search path of then. */
export function changedNames(node: Node): readonly string[] {
  const names: (string | undefined)[] = [];
  const table = (range: RangeVar | undefined): void => {
    if (range?.relpersistence !== 't') names.push(range?.relname);
  };
  /** `schema.name`, in whichever of the forms in which definitions keep the name of what they are about. */
  const object = (of: Node | undefined): void => {
    names.push(strings(as(of, 'ObjectWithArgs')?.objname ?? as(of, 'List')?.items ?? as(of, 'TypeName')?.names ?? (of ? [of] : [])).at(-1));
  };
  const tables = (within: unknown): void => {
    walk(within, (kind, body) => {
      if (kind === 'RangeVar') names.push((body as RangeVar).relname);
      return true;
    });
  };
  switch (kindOf(node)) {
    case 'ViewStmt':
      table(as(node, 'ViewStmt')?.view);
      break;
    case 'CreateTableAsStmt':
      table(as(node, 'CreateTableAsStmt')?.into?.rel);
      break;
    case 'SelectStmt':
      table(as(node, 'SelectStmt')?.intoClause?.rel);
      break;
    case 'RuleStmt':
      names.push(as(node, 'RuleStmt')?.relation?.relname, ruleOn(as(node, 'RuleStmt')?.relation?.relname ?? ''));
      break;
    case 'CreateStmt': {
      const { inhRelations, relation } = as(node, 'CreateStmt') ?? {};
      table(relation);
      tables(inhRelations);
      break;
    }
    case 'CreateForeignTableStmt':
      table((as(node, 'CreateForeignTableStmt') as { base?: { relation?: RangeVar } } | undefined)?.base?.relation);
      break;
    case 'CreateFunctionStmt':
      names.push(strings(as(node, 'CreateFunctionStmt')?.funcname).at(-1));
      break;
    case 'DefineStmt':
      names.push(strings(as(node, 'DefineStmt')?.defnames).at(-1));
      break;
    case 'DropStmt':
      for (const dropped of as(node, 'DropStmt')?.objects ?? []) object(dropped);
      break;
    case 'RenameStmt': {
      const body = as(node, 'RenameStmt');
      names.push(body?.relation?.relname, body?.newname);
      object(body?.object);
      break;
    }
    case 'AlterTableStmt':
      names.push(as(node, 'AlterTableStmt')?.relation?.relname);
      tables(as(node, 'AlterTableStmt')?.cmds);
      break;
    case 'AlterObjectSchemaStmt':
      names.push(as(node, 'AlterObjectSchemaStmt')?.relation?.relname);
      object(as(node, 'AlterObjectSchemaStmt')?.object);
      break;
    case 'AlterFunctionStmt':
      names.push(strings(as(node, 'AlterFunctionStmt')?.func?.objname).at(-1));
      break;
    case 'CreateSchemaStmt':
      for (const element of as(node, 'CreateSchemaStmt')?.schemaElts ?? []) names.push(...changedNames(element));
      break;
    default:
  }
  return names.filter((name) => name !== undefined);
}

/** Stands beside the name of a table that has got a rule: any change to it may do anything. */
export function ruleOn(table: string): string {
  return `rule on ${table}`;
}

/** Whether a name, or one of those that it stands on, was changed before. */
export function isChanged({ changed }: Context, name: string, behind: Iterable<{ readonly name: string }> = []): boolean {
  if (!changed || changed.size === 0) return false;
  if (changed.has(name)) return true;
  for (const target of behind) if (changed.has(target.name) || changed.has(target.name.slice(target.name.lastIndexOf('.') + 1))) return true;
  return false;
}

/**
 * What is sensitive under a name is so under the new one, whether the catalog has seen the old one or not: it may have been
 * made in the same transaction. Schemas are not told apart.
 */
export function renamedFlows(context: Context, node: Node): readonly Flow[] {
  const rename = as(node, 'RenameStmt');
  const moved = as(node, 'AlterObjectSchemaStmt');
  const table = (rename ?? moved)?.relation?.relname?.toLowerCase();
  if (table === undefined) return [];
  return [...context.sensitivity.planned].flatMap(([key, mask]): readonly Flow[] => {
    const [schema, name, column] = key.split('.');
    if (schema === undefined || column === undefined || name !== table) return [];
    const taints = [{ label: `${name}.${column}`, mask }];
    if (moved) return [{ table: `${moved.newschema ?? ''}.${name}`, column, taints }];
    if (rename?.renameType !== 'OBJECT_COLUMN') return [{ table: `${schema}.${rename?.newname ?? ''}`, column, taints }];
    return rename.subname?.toLowerCase() === column ? [{ table: `${schema}.${name}`, column: rename.newname ?? '', taints }] : [];
  });
}
