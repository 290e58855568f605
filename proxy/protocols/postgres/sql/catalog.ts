/** What the server's catalog says, as one immutable snapshot a connection, and names resolved in it as the server would. */
import type { MaskKind } from '../../../../contract/verdict.ts';
import type { MaskPlan } from '../../../policy/policy.ts';
import { FIRST_NORMAL_OID, normalCatalogQuery, normalCatalogRows, readCatalog } from './catalogQueries.ts';
import { loadParser, type Parser } from './parser.ts';
import { Sensitivity } from './sensitivity.ts';

export interface Attribute {
  /** `attnum`: 1, 2, … with gaps where columns were dropped. */
  readonly number: number;
  readonly name: string;
  /** OID of the type. */
  readonly type: number;
  readonly notNull: boolean;
  /** Source text of a generated column's expression. */
  readonly generated?: string;
  /** Source text of what it holds where nothing is given, if that calls something. */
  readonly default?: string;
  /** Its values are rows, or may be: IS NULL looks into them. */
  readonly composite?: true;
}

export type RelationKind = 'table' | 'view' | 'matview' | 'foreign' | 'sequence' | 'composite' | 'toast';

export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  readonly columns: readonly Attribute[];
  /** A view's query with every name outside `pg_catalog` qualified. */
  readonly definition?: string;
  /** Rewrite rules other than a view's own. */
  readonly rules: readonly { readonly event: 'insert' | 'update' | 'delete'; readonly definition: string }[];
  readonly triggers: boolean;
  /** Schema of the table of the same name whose masked view this is: what it shows is masked by the server. */
  readonly standsFor?: string;
}

/** Sessions that log in as roles of their own see other things than whoever reads the catalog. */
export interface CatalogOptions {
  /** Schema of masked views → schema of the tables that they stand for. */
  readonly standIns: ReadonlyMap<string, string>;
}

export interface Routine {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: 'function' | 'procedure' | 'aggregate' | 'window';
  readonly volatility: 'immutable' | 'stable' | 'volatile';
  readonly language: string;
  /** Runs with its owner's rights, not the caller's. */
  readonly definer: boolean;
  readonly returnsSet: boolean;
  /** The result's type is a row or polymorphic, so that its columns depend on the call. */
  readonly shapeless: boolean;
  /** OID of the relation whose row type it returns, or 0. */
  readonly returnsRow: number;
  /** Fewest and most arguments in a call; the most is infinite for a variadic one. */
  readonly arity: readonly [number, number];
  readonly inputs: readonly string[];
  /** Names of OUT and TABLE parameters, where it has any. */
  readonly outputs: readonly string[] | undefined;
  /** The search path that it sets for itself. */
  readonly searchPath: readonly string[] | undefined;
  /** Its text is read anew at each call, along the search path of then. */
  readonly namesAtCall: boolean;
  /** Source of SQL functions that are not built in. */
  readonly body?: string;
  /** Whole CREATE FUNCTION of PL/pgSQL functions. */
  readonly definition?: string;
  /** OIDs of the functions that an aggregate of one's own is made of. */
  readonly parts?: readonly number[];
}

/** Rows read from the server, before they are indexed. */
export interface CatalogRows {
  readonly user: string;
  /** `server_version_num`: 180004. */
  readonly serverVersion: number;
  readonly relations: readonly Relation[];
  readonly routines: readonly Routine[];
  /** Child and parent OIDs: inheritance and partitions. */
  readonly inheritance: readonly (readonly [number, number])[];
  /** Operators that are not built in and whose functions may do more than compute, with that function. */
  readonly operators: readonly { readonly schema: string; readonly name: string; readonly routine: number }[];
  /** Names of all operators there are. */
  readonly operatorNames: ReadonlySet<string>;
  /** Names of types that are not built in. */
  readonly types: ReadonlySet<string>;
  /** Names of built-in types. */
  readonly builtinTypes: ReadonlySet<string>;
  readonly schemas: ReadonlySet<string>;
}

/** What to do with a result column that the server says comes from `(table OID, attribute number)`. */
export interface ColumnMask {
  readonly mask: MaskKind;
  /** `customers.email`: the column that policy names, wherever the value came by. */
  readonly label: string;
}

export interface Catalog {
  readonly user: string;
  /** Definitions are missing that were locked when it was read: what they stand for is not understood. */
  readonly partial: boolean;
  readonly serverVersion: number;
  relation(oid: number): Relation | undefined;
  /** As the server resolves a table name; without a schema, along the search path with `pg_catalog` first. */
  findRelation(schema: string | undefined, name: string, searchPath: readonly string[]): Relation | undefined;
  /** Every routine of that name that a call with so many arguments could mean. */
  findRoutines(schema: string | undefined, name: string, args: number, searchPath: readonly string[]): readonly Routine[];
  /** Routines behind operators of that name that may do more than compute; undefined: there is no such operator at all. */
  findOperators(schema: string | undefined, name: string): readonly Routine[] | undefined;
  /** Whether a type name means the built-in type, whatever the search path. */
  isBuiltinType(schema: string | undefined, name: string): boolean;
  isType(name: string): boolean;
  hasSchema(name: string): boolean;
  readonly inheritance: readonly (readonly [number, number])[];
  routine(oid: number): Routine | undefined;
  relations(): Iterable<Relation>;
  routines(): Iterable<Routine>;
  /** Sensitivity reaches views, partitions, inheritance children and generated columns. Undefined: not sensitive. */
  maskFor(tableOid: number, attnum: number, plan: MaskPlan): ColumnMask | undefined;
  /** Everything that follows from one plan; kept as long as the plan is. */
  sensitivity(plan: MaskPlan): Sensitivity;
}

/** What a snapshot was made of: read again, the same makes the same. */
const madeOf = new WeakMap<Catalog, { readonly fingerprint: string; readonly standIns: string; readonly rows: CatalogRows }>();

/**
 * Reads the catalog in one read-only transaction, so that it is one snapshot. `query` must run all its statements on one
 * connection that has no transaction open; values come as text.
 * @param known what was read before, given back where nothing has changed: all that was understood by it stays good
 * @param guarded without the definitions that somebody else has locked; otherwise it fails where there are any
 */
export async function loadCatalog(
  query: (sql: string) => Promise<(string | null)[][]>,
  options?: CatalogOptions,
  known?: Catalog,
  guarded = false,
): Promise<Catalog> {
  const parser = await loadParser();
  const standIns = JSON.stringify(options && [...options.standIns]) ?? '';
  const before = known?.partial === false ? madeOf.get(known) : undefined;
  const read = await readCatalog(query, before?.standIns === standIns ? before.fingerprint : undefined, guarded);
  if (!read && known) return known;
  if (!read) throw new Error('nothing was read, though nothing is known');
  const catalog = new CatalogSnapshot(options ? asMinted(read.rows, options) : read.rows, parser, read.partial);
  madeOf.set(catalog, { fingerprint: read.fingerprint, standIns, rows: read.rows });
  return catalog;
}

/** A transaction sees what it has changed itself before anybody else does: what to ask in it, and the catalog that the answer makes. */
export interface Inside {
  /** Names outside `pg_catalog` must not be visible while it runs. */
  readonly query: string;
  catalog(answer: readonly (readonly (string | null)[])[]): Promise<Catalog>;
}

/**
 * @param known what everybody sees
 * @param changed names that the transaction has changed
 * @returns undefined where that is not enough to go by: names of what `initdb` has made are not asked for again, nor are roles'
 * views told from other people's
 */
export function insideTransaction(known: Catalog, changed: ReadonlySet<string>): Inside | undefined {
  const made = madeOf.get(known);
  if (!made || made.standIns !== '') return undefined;
  const { rows } = made;
  if ([...rows.relations, ...rows.routines].some(({ name, oid }) => oid < FIRST_NORMAL_OID && changed.has(name))) return undefined;
  return {
    query: normalCatalogQuery(known.serverVersion),
    catalog: async (answer) => new CatalogSnapshot(normalCatalogRows(rows, answer), await loadParser()),
  };
}

function asMinted(rows: CatalogRows, { standIns }: CatalogOptions): CatalogRows {
  const tables = new Map(rows.relations.map((relation) => [JSON.stringify([relation.schema, relation.name]), relation]));
  const relations = rows.relations.map((relation): Relation => {
    const standsFor = standIns.get(relation.schema);
    const table = standsFor === undefined ? undefined : tables.get(JSON.stringify([standsFor, relation.name]));
    // What a view's own schema holds besides views is not a stand-in for anything.
    if (!table || standsFor === undefined || relation.kind !== 'view') return relation;
    return { ...relation, standsFor, triggers: table.triggers || table.rules.length > 0 };
  });
  // The role's name is random: no schema is called so.
  return { ...rows, user: '', relations };
}

class CatalogSnapshot implements Catalog {
  readonly #rows: CatalogRows;
  readonly #parser: Parser;
  readonly #byOid = new Map<number, Relation>();
  readonly #relations = new Map<string, Map<string, Relation>>();
  readonly #routines = new Map<string, Routine[]>();
  readonly #routinesByOid = new Map<number, Routine>();
  readonly #operators = new Map<string, { schema: string; routine: number }[]>();
  readonly #sensitivities = new WeakMap<MaskPlan, Sensitivity>();
  readonly partial: boolean;

  constructor(rows: CatalogRows, parser: Parser, partial = false) {
    this.#rows = rows;
    this.partial = partial;
    this.#parser = parser;
    for (const relation of rows.relations) {
      this.#byOid.set(relation.oid, relation);
      const schema = this.#relations.get(relation.schema) ?? new Map<string, Relation>();
      this.#relations.set(relation.schema, schema.set(relation.name, relation));
    }
    for (const routine of rows.routines) {
      this.#routinesByOid.set(routine.oid, routine);
      const same = this.#routines.get(routine.name);
      if (same) same.push(routine);
      else this.#routines.set(routine.name, [routine]);
    }
    for (const { schema, name, routine } of rows.operators) {
      const same = this.#operators.get(name);
      if (same) same.push({ schema, routine });
      else this.#operators.set(name, [{ schema, routine }]);
    }
  }

  get user(): string {
    return this.#rows.user;
  }

  get serverVersion(): number {
    return this.#rows.serverVersion;
  }

  get inheritance(): readonly (readonly [number, number])[] {
    return this.#rows.inheritance;
  }

  relation(oid: number): Relation | undefined {
    return this.#byOid.get(oid);
  }

  routine(oid: number): Routine | undefined {
    return this.#routinesByOid.get(oid);
  }

  relations(): Iterable<Relation> {
    return this.#byOid.values();
  }

  routines(): Iterable<Routine> {
    return this.#rows.routines;
  }

  findRelation(schema: string | undefined, name: string, searchPath: readonly string[]): Relation | undefined {
    if (schema !== undefined) return this.#relations.get(schema)?.get(name);
    for (const candidate of this.#path(searchPath)) {
      const relation = this.#relations.get(candidate)?.get(name);
      if (relation) return relation;
    }
    return undefined;
  }

  findRoutines(schema: string | undefined, name: string, args: number, searchPath: readonly string[]): readonly Routine[] {
    const path = schema === undefined ? this.#path(searchPath) : [schema];
    const named = this.#routines.get(name) ?? [];
    return named.filter((r) => path.includes(r.schema) && args >= r.arity[0] && args <= r.arity[1]);
  }

  findOperators(schema: string | undefined, name: string): readonly Routine[] | undefined {
    if (!this.#rows.operatorNames.has(name)) return undefined;
    if (schema === 'pg_catalog') return [];
    const found = this.#operators.get(name)?.filter((o) => schema === undefined || o.schema === schema) ?? [];
    return found.flatMap((o) => this.#routinesByOid.get(o.routine) ?? []);
  }

  isBuiltinType(schema: string | undefined, name: string): boolean {
    if (schema !== undefined) return schema === 'pg_catalog' && this.#rows.builtinTypes.has(name);
    return this.#rows.builtinTypes.has(name) && !this.#rows.types.has(name);
  }

  isType(name: string): boolean {
    return this.#rows.builtinTypes.has(name) || this.#rows.types.has(name);
  }

  hasSchema(name: string): boolean {
    return this.#rows.schemas.has(name);
  }

  maskFor(tableOid: number, attnum: number, plan: MaskPlan): ColumnMask | undefined {
    return this.sensitivity(plan).maskFor(tableOid, attnum);
  }

  sensitivity(plan: MaskPlan): Sensitivity {
    let known = this.#sensitivities.get(plan);
    if (!known) {
      known = new Sensitivity(this, plan, this.#parser);
      this.#sensitivities.set(plan, known);
    }
    return known;
  }

  /** `pg_catalog` comes first unless it is named; `$user` is who logged in. Schemas that do not exist are passed over. */
  #path(searchPath: readonly string[]): readonly string[] {
    const path = searchPath.map((s) => (s === '$user' ? this.#rows.user : s));
    return path.includes('pg_catalog') ? path : ['pg_catalog', ...path];
  }
}
