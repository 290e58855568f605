/**
 * The catalog as the statements of one text find it that come behind definitions in the same text: a migration is often one text,
 * and nobody can look at what its first statements have made before its last ones are decided. Only what a definition says of
 * itself without a doubt is followed; with anything else the names that it changes mean nothing for the rest of the text.
 */
import type { AlterTableCmd, ColumnDef, CreateStmt, Node, RangeVar } from 'libpg-query';
import type { MaskPlan } from '../../../policy/policy.ts';
import type { Attribute, Catalog, ColumnMask, Relation, Routine } from './catalog.ts';
import { UNREAD } from './catalogQueries.ts';
import type { StatementInfo } from './info.ts';
import { as, plainTypeName, qualified, strings } from './nodes.ts';
import type { Parser } from './parser.ts';
import { Sensitivity } from './sensitivity.ts';

/** Definitions that are followed in one text: each makes everything be understood anew. */
const MAX_FOLLOWED = 60;
/** No server gives such OIDs to what it has made: results of a table that is not there yet are masked whole. */
const FIRST_OWN_OID = 2 ** 32;

/** What a definition meets. */
interface Place {
  readonly searchPath: readonly string[];
  /** Names of the session's temporary relations. */
  readonly temporary: ReadonlyMap<string, unknown>;
}

export class Overlay implements Catalog {
  readonly #base: Catalog;
  readonly #parser: Parser;
  /** By schema and name; undefined: dropped. */
  readonly #changed = new Map<string, Relation | undefined>();
  readonly #schemas = new Set<string>();
  #sensitivity: { readonly plan: MaskPlan; readonly sensitivity: Sensitivity } | undefined;
  #followed = 0;

  constructor(base: Catalog, parser: Parser) {
    this.#base = base;
    this.#parser = parser;
  }

  /** Of all that was changed. */
  get names(): readonly string[] {
    return [...this.#changed.keys()].map((key) => (JSON.parse(key) as [string, string])[1]);
  }

  /**
   * Whether a definition that is not followed leaves what is: a view or a function that is new does nothing by itself. A rule, a
   * parent, another body of a function can make any statement put data anywhere.
   */
  bears(node: Node): boolean {
    if (as(node, 'ViewStmt')) return this.#called(as(node, 'ViewStmt')?.view?.relname ?? '').length === 0;
    const routine = as(node, 'CreateFunctionStmt');
    const name = strings(routine?.funcname).at(-1);
    return name !== undefined && ![...this.routines()].some((known) => known.name === name);
  }

  /** @returns whether everything that the definition changes is known now as it will be */
  follow(node: Node, info: StatementInfo, place: Place): boolean {
    // What is created along such a path may be the session's own.
    if (place.searchPath.some((schema) => schema.startsWith('pg_')) || this.#followed >= MAX_FOLLOWED) return false;
    const done = this.#definition(node, info, place);
    if (done) {
      this.#followed++;
      this.#sensitivity = undefined;
    }
    return done;
  }

  #definition(node: Node, info: StatementInfo, place: Place): boolean {
    const schema = as(node, 'CreateSchemaStmt');
    if (schema) {
      if (schema.schemaname === undefined || (schema.schemaElts?.length ?? 0) > 0) return this.lose();
      this.#schemas.add(schema.schemaname);
      return true;
    }
    if (as(node, 'RenameStmt')?.renameType === 'OBJECT_SCHEMA' || as(node, 'DropStmt')?.removeType === 'OBJECT_SCHEMA') return this.lose();
    const create = as(node, 'CreateStmt');
    if (create) return this.#create(create, place);
    const made = as(node, 'CreateTableAsStmt');
    if (made) return made.objtype === 'OBJECT_TABLE' && this.#createAs(made.into?.rel, info, place);
    const alter = as(node, 'AlterTableStmt');
    if (alter) return alter.objtype === 'OBJECT_TABLE' && this.#alter(alter.relation, alter.cmds ?? [], place);
    const drop = as(node, 'DropStmt');
    return drop?.removeType === 'OBJECT_TABLE' && drop.behavior === 'DROP_RESTRICT' && this.#drop(drop.objects ?? [], drop.missing_ok === true, place);
  }

  /** Where what is made next goes is not known any more: nothing else is followed. */
  lose(): false {
    this.#followed = MAX_FOLLOWED;
    return false;
  }

  #create({ relation, tableElts, ...more }: CreateStmt, place: Place): boolean {
    if (more.inhRelations?.length || more.ofTypename || more.partbound || more.constraints?.length) return false;
    const columns: Attribute[] = [];
    for (const element of tableElts ?? []) {
      const column = as(element, 'ColumnDef');
      if (column) columns.push(this.#column(column, columns.length + 1, place));
      else if (!as(element, 'Constraint')) return false;
    }
    return (more.if_not_exists === true && this.#isThere(relation, place)) || this.#put(relation, columns, place);
  }

  /** Then it is left as it is. */
  #isThere(range: RangeVar | undefined, place: Place): boolean {
    const known = this.#only(range, place);
    return known !== undefined && known.schema === (range?.schemaname ?? this.#creationSchema(place));
  }

  #createAs(relation: RangeVar | undefined, { creates }: StatementInfo, place: Place): boolean {
    if (!creates || creates.temporary || creates.columns === 'opaque') return false;
    // What the columns hold is in the plan by then: it moved there.
    const columns = creates.columns.map(({ name }, i): Attribute => ({ number: i + 1, name, type: 0, notNull: false, composite: true }));
    return this.#put(relation, columns, place);
  }

  /** A table that is new under its name in every schema there is: no other can be meant by it. */
  #put(range: RangeVar | undefined, columns: readonly Attribute[], place: Place): boolean {
    const name = range?.relname;
    const schema = range?.schemaname ?? this.#creationSchema(place);
    if (name === undefined || schema === undefined || schema.startsWith('pg_') || range?.relpersistence === 't' || range?.catalogname !== undefined)
      return false;
    if (place.temporary.has(name) || this.#called(name).length > 0 || !this.hasSchema(schema)) return false;
    const oid = FIRST_OWN_OID + this.#changed.size;
    this.#changed.set(keyOf(schema, name), { oid, schema, name, kind: 'table', columns, rules: [], triggers: false });
    return true;
  }

  #alter(range: RangeVar | undefined, cmds: readonly Node[], place: Place): boolean {
    const table = this.#only(range, place);
    if (!table) return false;
    let columns: readonly Attribute[] | undefined = table.columns;
    for (const node of cmds) {
      const cmd = as(node, 'AlterTableCmd');
      columns = cmd && columns && this.#altered(cmd, columns, place);
    }
    if (!columns) return false;
    this.#changed.set(keyOf(table.schema, table.name), { ...table, columns });
    return true;
  }

  #altered(cmd: AlterTableCmd, columns: readonly Attribute[], place: Place): readonly Attribute[] | undefined {
    const { name } = cmd;
    const known = columns.find((column) => column.name === name);
    const change = (changed: (column: Attribute) => Attribute): readonly Attribute[] | undefined =>
      known && columns.map((column) => (column === known ? changed(column) : column));
    const definition = as(cmd.def, 'ColumnDef');
    // oxlint-disable-next-line typescript/switch-exhaustiveness-check -- the others are not followed
    switch (cmd.subtype) {
      case 'AT_AddColumn':
        if (!definition) return undefined;
        if (columns.some((column) => column.name === definition.colname)) return cmd.missing_ok ? columns : undefined;
        return [...columns, this.#column(definition, Math.max(0, ...columns.map(({ number }) => number)) + 1, place)];
      case 'AT_DropColumn':
        if (cmd.behavior !== 'DROP_RESTRICT') return undefined;
        return known ? columns.filter((column) => column !== known) : cmd.missing_ok ? columns : undefined;
      case 'AT_ColumnDefault':
        return change(({ default: _default, ...column }) => ({ ...column, ...(cmd.def && !this.#plain(cmd.def, place) && { default: UNREAD }) }));
      case 'AT_AlterColumnType':
        // Its values are made from others, or by somebody's own cast.
        if (definition?.raw_default) return undefined;
        return change((column) => ({ ...column, type: 0, composite: true }));
      case 'AT_SetNotNull':
      case 'AT_DropNotNull':
        return change((column) => ({ ...column, notNull: cmd.subtype === 'AT_SetNotNull' }));
      case 'AT_AddConstraint':
      case 'AT_DropConstraint':
      case 'AT_ValidateConstraint':
      case 'AT_AddIdentity':
      case 'AT_SetIdentity':
      case 'AT_DropIdentity':
      case 'AT_SetStatistics':
      case 'AT_SetStorage':
      case 'AT_SetRelOptions':
      case 'AT_ResetRelOptions':
      case 'AT_ReplicaIdentity':
      case 'AT_ClusterOn':
      case 'AT_ChangeOwner':
        return columns;
      default:
        return undefined;
    }
  }

  #drop(objects: readonly Node[], missingOk: boolean, place: Place): boolean {
    const dropped: Relation[] = [];
    for (const object of objects) {
      const [schema, name] = qualified(as(object, 'List')?.items);
      const table = this.#only({ relname: name, ...(schema !== undefined && { schemaname: schema }) }, place);
      if (table) dropped.push(table);
      else if (!missingOk || place.temporary.has(name) || this.#called(name).length > 0) return false;
    }
    for (const { name, schema } of dropped) this.#changed.set(keyOf(schema, name), undefined);
    return true;
  }

  /** The table that is meant, where there is no other of its name, nor any that is a part of it or it of them. */
  #only(range: RangeVar | undefined, { searchPath, temporary }: Place): Relation | undefined {
    const name = range?.relname ?? '';
    const table = this.findRelation(range?.schemaname, name, searchPath);
    if (table?.kind !== 'table' || temporary.has(name) || /^pg_|^information_schema$/.test(table.schema) || this.#called(name).length !== 1) return undefined;
    return this.inheritance.some((pair) => pair.includes(table.oid)) || table.standsFor !== undefined ? undefined : table;
  }

  #called(name: string): readonly Relation[] {
    return [...this.relations()].filter((relation) => relation.name === name);
  }

  #creationSchema({ searchPath }: Place): string | undefined {
    return searchPath.map((schema) => (schema === '$user' ? this.user : schema)).find((schema) => this.hasSchema(schema));
  }

  #column({ colname = '', constraints, typeName }: ColumnDef, number: number, place: Place): Attribute {
    const [schema, type] = plainTypeName(typeName) ?? qualified(typeName?.names);
    const builtin = this.isBuiltinType(schema, type) || (schema === undefined && /^(small|big)?serial$/.test(type) && !this.isType(type));
    const all = (constraints ?? []).flatMap((node) => as(node, 'Constraint') ?? []);
    const given = all.find(({ contype }) => contype === 'CONSTR_DEFAULT')?.raw_expr;
    const generated = all.some(({ contype }) => contype === 'CONSTR_GENERATED');
    // A type of one's own can be a row, or a domain with a default.
    const unclear = !builtin || (given !== undefined && !this.#plain(given, place));
    return {
      number,
      name: colname,
      type: 0,
      notNull: all.some(({ contype }) => contype === 'CONSTR_NOTNULL' || contype === 'CONSTR_PRIMARY'),
      ...(!builtin && { composite: true as const }),
      ...(generated && { generated: UNREAD }),
      ...(unclear && !generated && { default: UNREAD }),
    };
  }

  /** An expression that holds nothing of a table's. */
  #plain(node: Node | undefined, { searchPath }: Place): boolean {
    if (!node || as(node, 'A_Const') || as(node, 'SQLValueFunction')) return true;
    const cast = as(node, 'TypeCast');
    if (cast)
      return this.isBuiltinType(...(plainTypeName(cast.typeName) ?? qualified(cast.typeName?.names))) && this.#plain(cast.arg, { searchPath, temporary: NONE });
    const call = as(node, 'FuncCall');
    if (!call) return false;
    const [schema, name] = qualified(call.funcname);
    const args = call.args ?? [];
    const routines = this.findRoutines(schema, name, args.length, searchPath);
    const known = PLAIN_FUNCTIONS.has(name) && routines.length > 0 && routines.every((routine) => routine.schema === 'pg_catalog');
    return known && args.every((arg) => this.#plain(arg, { searchPath, temporary: NONE }));
  }

  // ── as a catalog ───────────────────────────────────────────────────────────────────────────────────────────────────

  get user(): string {
    return this.#base.user;
  }

  get partial(): boolean {
    return this.#base.partial;
  }

  get serverVersion(): number {
    return this.#base.serverVersion;
  }

  get inheritance(): Catalog['inheritance'] {
    return this.#base.inheritance;
  }

  relation(oid: number): Relation | undefined {
    const known = this.#base.relation(oid);
    const key = known && keyOf(known.schema, known.name);
    if (key !== undefined && this.#changed.has(key)) {
      const changed = this.#changed.get(key);
      return changed?.oid === oid ? changed : undefined;
    }
    return known ?? [...this.#changed.values()].find((relation) => relation?.oid === oid);
  }

  findRelation(schema: string | undefined, name: string, searchPath: readonly string[]): Relation | undefined {
    if (schema !== undefined) {
      const key = keyOf(schema, name);
      return this.#changed.has(key) ? this.#changed.get(key) : this.#base.findRelation(schema, name, []);
    }
    const path = searchPath.map((one) => (one === '$user' ? this.user : one));
    for (const one of path.includes('pg_catalog') ? path : ['pg_catalog', ...path]) {
      const found = this.findRelation(one, name, []);
      if (found) return found;
    }
    return undefined;
  }

  *relations(): Iterable<Relation> {
    for (const relation of this.#base.relations()) if (!this.#changed.has(keyOf(relation.schema, relation.name))) yield relation;
    for (const relation of this.#changed.values()) if (relation) yield relation;
  }

  hasSchema(name: string): boolean {
    return this.#schemas.has(name) || this.#base.hasSchema(name);
  }

  sensitivity(plan: MaskPlan): Sensitivity {
    if (this.#sensitivity?.plan !== plan) this.#sensitivity = { plan, sensitivity: new Sensitivity(this, plan, this.#parser) };
    return this.#sensitivity.sensitivity;
  }

  maskFor(tableOid: number, attnum: number, plan: MaskPlan): ColumnMask | undefined {
    return this.sensitivity(plan).maskFor(tableOid, attnum);
  }

  findRoutines(schema: string | undefined, name: string, args: number, searchPath: readonly string[]): readonly Routine[] {
    return this.#base.findRoutines(schema, name, args, searchPath);
  }

  findOperators(schema: string | undefined, name: string): readonly Routine[] | undefined {
    return this.#base.findOperators(schema, name);
  }

  isBuiltinType(schema: string | undefined, name: string): boolean {
    return this.#base.isBuiltinType(schema, name);
  }

  isType(name: string): boolean {
    return this.#base.isType(name);
  }

  routine(oid: number): Routine | undefined {
    return this.#base.routine(oid);
  }

  routines(): Iterable<Routine> {
    return this.#base.routines();
  }
}

/** CREATE SCHEMA changes no name by itself, but where the next table goes. */
export function isDefinition(node: Node): boolean {
  return as(node, 'CreateSchemaStmt') !== undefined;
}

const NONE: ReadonlyMap<string, never> = new Map<string, never>();

const PLAIN_FUNCTIONS: ReadonlySet<string> = new Set([
  'clock_timestamp',
  'gen_random_uuid',
  'nextval',
  'now',
  'random',
  'statement_timestamp',
  'timezone',
  'transaction_timestamp',
  'uuidv4',
  'uuidv7',
]);

function keyOf(schema: string, name: string): string {
  return JSON.stringify([schema, name]);
}
