/** One statement of a text: its facts, its columns, and what it does to the session. */
import type { Node, RangeVar, SelectStmt } from 'libpg-query';
import type { Catalog } from './catalog.ts';
import { changedNames, renamedFlows } from './changes.ts';
import { copy } from './copy.ts';
import { askedByDefinition, followExpressions } from './definitions.ts';
import { valuesOf } from './expression.ts';
import { factsOf } from './facts.ts';
import { type Budget, Findings, type Flow, relationName, TooComplex } from './findings.ts';
import type { Control, OutputColumn, Outputs, StatementInfo } from './info.ts';
import { as, kindOf, strings } from './nodes.ts';
import type { Parser } from './parser.ts';
import type { Query } from './query.ts';
import { type Context, EMPTY_SCOPE, type TemporaryColumn } from './scope.ts';
import { ANY_COLUMN, type Sensitivity } from './sensitivity.ts';
import type { Session } from './session.ts';
import { isOn, settingChange } from './settings.ts';
import { analyseStatement } from './statements.ts';
import { utilityEffect, verbOf } from './utility.ts';
import { describeUtility } from './utilityTargets.ts';
import { maskOf, settled, type Value } from './value.ts';

export interface Ground {
  readonly catalog: Catalog;
  readonly sensitivity: Sensitivity;
  readonly budget: Budget;
  readonly session: Session;
  readonly parser: Parser;
  /** Text of this statement alone. */
  readonly sql: string;
}

export interface Described {
  readonly info: StatementInfo;
  readonly literals: ReadonlySet<number>;
  readonly allLiterals: boolean;
  readonly literalsDecide: boolean;
  readonly misses: readonly string[];
  /** Columns with what they are made from, for who puts them elsewhere. */
  readonly query: Query | undefined;
}

/** Filled in by the cases below. */
interface Parts {
  verb: string;
  headline?: string;
  outputs: Outputs;
  query?: (Query & { readonly bulk?: boolean; readonly where?: boolean; readonly set?: number }) | undefined;
  control?: Control;
  copy?: StatementInfo['copy'];
  creates?: StatementInfo['creates'];
  session: boolean;
  notes: string[];
  changes?: readonly string[];
  /** Its literals stay where they are: in no view, cursor or prepared statement, whose text others can read. */
  takesTokens?: boolean;
}

const PLAIN: ReadonlySet<string> = new Set(['SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt']);

export function describe(ground: Ground, node: Node): Described {
  const found = new Findings();
  const parts: Parts = { verb: verbOf(node), outputs: [], session: false, notes: [] };
  const context: Context = {
    catalog: ground.catalog,
    sensitivity: ground.sensitivity,
    searchPath: ground.session.searchPath ?? [],
    found,
    budget: ground.budget,
    temporary: ground.session.temporary,
    settingsTainted: ground.session.settingsTainted,
    changed: ground.session.changed,
  };
  try {
    if (ground.session.searchPath === undefined && !as(node, 'TransactionStmt') && !as(node, 'VariableSetStmt')) {
      found.unresolved('names, after the search path changed in the same text');
    }
    go(ground, context, node, parts);
    parts.changes = changedNames(explained(node));
    parts.takesTokens = PLAIN.has(kindOf(node)) && parts.creates === undefined;
  } catch (cause) {
    if (!(cause instanceof TooComplex) && !(cause instanceof RangeError)) throw cause;
    found.unresolved('it is too complex');
    parts.outputs = 'opaque';
  }
  if (found.effect === 'execute' || found.effect === 'unknown')
    found.changesSession ||= found.effect === 'unknown' || found.functions.size > 0 || parts.session;
  return finish(ground, found, parts);
}

/** EXPLAIN ANALYZE carries out what it explains. */
function explained(node: Node): Node {
  return as(node, 'ExplainStmt')?.query ?? node;
}

function finish(ground: Ground, found: Findings, parts: Parts): Described {
  const { sensitivity } = ground;
  if (found.effect === 'unknown' && sensitivity.opaqueTaint) found.touch([sensitivity.opaqueTaint]);
  const returned = new Set([...found.returned, ...(parts.query?.columns ?? []).flatMap((c) => c.value.taints.map((t) => t.label))]);
  const facts = factsOf(found, {
    verb: parts.verb,
    headline: parts.headline,
    notes: parts.notes,
    session: parts.session,
    where: parts.query?.where,
    set: parts.query?.set,
    returned,
  });
  const touchesSensitive = found.near || found.touched.size > 0 || (sensitivity.any && parts.outputs === 'opaque');
  return {
    info: {
      facts,
      outputs: parts.outputs,
      sensitiveParams: found.params,
      touchesSensitive,
      ...(touchesSensitive && reads(found, parts) && { reads: true as const }),
      changesSession: found.changesSession,
      flows: found.flows,
      ...(found.refused !== undefined && { refused: found.refused }),
      ...(found.doubtful && { doubtful: true as const }),
      ...(parts.changes && parts.changes.length > 0 && { changes: parts.changes }),
      ...(parts.takesTokens && found.places.length > 0 && { places: found.places }),
      ...(found.writes.size > 0 && { writes: found.writes }),
      ...(parts.copy && { copy: parts.copy }),
      ...(parts.control && { control: parts.control }),
      ...(parts.creates && { creates: parts.creates }),
    },
    query: parts.query,
    literals: found.literals,
    allLiterals: found.allLiterals && sensitivity.any,
    literalsDecide: found.literalsDecide,
    // With the search path not known, it is not the catalog that is out of date.
    misses: ground.session.searchPath === undefined ? [] : [...found.misses],
  };
}

/** Statements whose expressions are all looked at. What others do to the rows of a table that they name (`ALTER … TYPE`) is not. */
const LOOKED_AT: ReadonlySet<string> = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'COPY']);

function reads(found: Findings, { outputs, verb }: Parts): boolean {
  if (found.reads || outputs === 'opaque' || found.effect === 'unknown') return true;
  return (found.near && !LOOKED_AT.has(verb)) || [...found.touched].some((label) => !found.written.has(label));
}

function go(ground: Ground, context: Context, node: Node, parts: Parts): void {
  const { found } = context;
  const kind = kindOf(node);
  switch (kind) {
    case 'SelectStmt':
    case 'InsertStmt':
    case 'UpdateStmt':
    case 'DeleteStmt':
    case 'MergeStmt': {
      const select = as(node, 'SelectStmt');
      const query = analyseStatement(context, node, EMPTY_SCOPE);
      parts.query = query;
      parts.outputs = outputsOf(query, context);
      parts.verb = select ? (select.valuesLists ? 'VALUES' : 'SELECT') : kind.replace('Stmt', '').toUpperCase();
      const into = select && intoOf(select);
      if (into) {
        parts.verb = 'SELECT INTO';
        create(ground, context, parts, into, query, []);
        parts.outputs = [];
      }
      return;
    }
    case 'ExplainStmt': {
      const body = as(node, 'ExplainStmt');
      const runs = explainRuns(body?.options);
      const inner = nested(ground, context, body?.query, parts);
      parts.verb = runs ? 'EXPLAIN ANALYZE' : 'EXPLAIN';
      parts.headline = `${parts.verb} ${inner?.facts.headline ?? ''}`;
      // Only planned: nothing of it happens. What could not be understood stays so.
      if (!runs && found.effect !== 'unknown') {
        found.effect = 'read';
        found.bulk = false;
      }
      delete parts.control;
      delete parts.creates;
      found.flows.length = runs ? found.flows.length : 0;
      parts.outputs = found.routineTaint || found.effect === 'unknown' ? 'opaque' : [{ kind: 'clean' }];
      return;
    }
    case 'PrepareStmt': {
      const body = as(node, 'PrepareStmt');
      const inner = nested(ground, context, body?.query, parts);
      parts.headline = `PREPARE ${inner?.facts.headline ?? ''}`;
      parts.verb = 'PREPARE';
      parts.session = true;
      parts.outputs = [];
      delete parts.creates;
      parts.control = { kind: 'prepare', name: body?.name ?? '', sql: ground.sql };
      return;
    }
    case 'ExecuteStmt':
      execute(ground, context, node, parts);
      return;
    case 'DeclareCursorStmt': {
      const body = as(node, 'DeclareCursorStmt');
      const inner = nested(ground, context, body?.query, parts);
      parts.verb = 'DECLARE';
      parts.headline = `DECLARE ${body?.portalname ?? ''}: ${inner?.facts.headline ?? ''}`;
      parts.session = true;
      parts.outputs = [];
      // CURSOR_OPT_HOLD
      if (inner) parts.control = { kind: 'declare', name: body?.portalname ?? '', hold: ((body?.options ?? 0) & 0x20) !== 0, statement: inner };
      return;
    }
    case 'FetchStmt': {
      const body = as(node, 'FetchStmt');
      const name = body?.portalname ?? '';
      parts.verb = body?.ismove ? 'MOVE' : 'FETCH';
      parts.control = { kind: 'fetch', name };
      const cursor = ground.session.cursors.get(name);
      parts.headline = `${parts.verb} ${name}`;
      if (!cursor) {
        found.unresolved(`cursor ${name}`);
        parts.outputs = 'opaque';
        return;
      }
      adopt(found, cursor);
      parts.outputs = body?.ismove ? [] : cursor.outputs;
      return;
    }
    case 'CopyStmt': {
      const result = copy(context, as(node, 'CopyStmt') ?? {});
      parts.verb = result.info.direction === 'out' ? 'COPY TO' : 'COPY FROM';
      parts.copy = { ...result.info, columns: result.info.direction === 'in' ? [] : outputsOf(result.query, context) };
      parts.query = result.query;
      if (result.info.direction === 'in') parts.query = { columns: [], open: false };
      return;
    }
    case 'CreateTableAsStmt': {
      const body = as(node, 'CreateTableAsStmt');
      const inner = body?.query ? nestedQuery(ground, context, body.query) : undefined;
      found.raise('schema');
      parts.verb = body?.objtype === 'OBJECT_MATVIEW' ? 'CREATE MATERIALIZED VIEW' : 'CREATE TABLE AS';
      if (body?.into?.rel) create(ground, context, parts, body.into.rel, inner, strings(body.into.colNames));
      return;
    }
    case 'ViewStmt': {
      const body = as(node, 'ViewStmt');
      const inner = body?.query ? nestedQuery(ground, context, body.query) : undefined;
      found.raise('schema');
      if (body?.view) create(ground, context, parts, body.view, inner, strings(body.aliases));
      found.flows.length = 0;
      return;
    }
    case 'TransactionStmt':
      transaction(context, node, parts);
      return;
    case 'VariableSetStmt': {
      const body = as(node, 'VariableSetStmt') ?? {};
      found.raise(utilityEffect(node));
      const change = settingChange(body);
      parts.verb = body.kind === 'VAR_RESET' || body.kind === 'VAR_RESET_ALL' ? 'RESET' : 'SET';
      parts.headline = `${parts.verb} ${change.name === '*' ? 'ALL' : change.name}`;
      parts.session = true;
      found.target('setting', change.name);
      found.literalsDecide = true;
      parts.control = change;
      return;
    }
    case 'VariableShowStmt': {
      const name = (as(node, 'VariableShowStmt')?.name ?? '').toLowerCase();
      parts.headline = `SHOW ${name}`;
      parts.control = { kind: 'show', name };
      const taint = sensitiveSetting(context, name) ? context.sensitivity.opaqueTaint : undefined;
      const value: OutputColumn = taint ? { kind: 'mask', mask: 'redact', label: taint.label } : { kind: 'clean' };
      if (taint) found.touch([taint]);
      parts.outputs = name === 'all' ? [{ kind: 'clean' }, value, { kind: 'clean' }] : [value];
      return;
    }
    default:
      utility(ground, context, node, parts);
  }
}

function utility(ground: Ground, context: Context, node: Node, parts: Parts): void {
  const { found } = context;
  const effect = utilityEffect(node);
  found.raise(effect);
  if (effect === 'unknown') {
    found.unresolved(`statement ${parts.verb}`);
    parts.outputs = 'opaque';
  }
  const more = describeUtility(context, node);
  found.flows.push(...renamedFlows(context, node));
  followExpressions(context, node, creationSchema(context.catalog, context.searchPath));
  askedByDefinition(context, node);
  parts.session = more.session;
  parts.notes.push(...more.notes);
  if (more.outputs) parts.outputs = more.outputs;
  if (more.control) parts.control = more.control;
  if (more.creates) parts.creates = { ...more.creates };
  if (more.headline !== undefined) parts.headline = more.headline;
}

/** A statement inside another: its findings are this one's. */
function nested(ground: Ground, context: Context, node: Node | undefined, parts: Parts): StatementInfo | undefined {
  if (!node) return undefined;
  const inner: Parts = { verb: verbOf(node), outputs: [], session: false, notes: [] };
  context.budget.within(() => {
    go(ground, context, node, inner);
  });
  parts.query = inner.query;
  parts.notes.push(...inner.notes);
  return finish(ground, context.found, inner).info;
}

/** The columns of a query that may also be EXECUTE. */
function nestedQuery(ground: Ground, context: Context, node: Node): Query {
  if (!as(node, 'ExecuteStmt')) return analyseStatement(context, node, EMPTY_SCOPE) ?? { columns: [], open: true };
  const inner: Parts = { verb: 'EXECUTE', outputs: [], session: false, notes: [] };
  execute(ground, context, node, inner);
  return inner.query ?? { columns: [], open: true };
}

function execute(ground: Ground, context: Context, node: Node, parts: Parts): void {
  const { found } = context;
  const body = as(node, 'ExecuteStmt');
  const name = body?.name ?? '';
  parts.control = { kind: 'execute', name };
  parts.headline = `EXECUTE ${name}`;
  valuesOf(context, body?.params, EMPTY_SCOPE);
  const text = ground.session.prepared.get(name);
  const parsed = text === undefined ? undefined : ground.parser.parse(text);
  const statement = parsed?.ok ? parsed.statements[0]?.node : undefined;
  if (!statement) {
    found.unresolved(`prepared statement ${name}`);
    parts.outputs = 'opaque';
    return;
  }
  // The server reads it again under the search path of now; so do we. Places in its text are not places in this one.
  const inner = describe(ground, as(statement, 'PrepareStmt')?.query ?? statement);
  adopt(found, inner.info);
  for (const miss of inner.misses) found.misses.add(miss);
  if (inner.info.sensitiveParams.size > 0) found.allLiterals = true;
  found.changesSession ||= inner.info.changesSession;
  found.flows.push(...inner.info.flows);
  parts.outputs = inner.info.outputs;
  parts.query = inner.query && { columns: inner.query.columns.map((c) => ({ name: c.name, value: { ...c.value, sources: [] } })), open: inner.query.open };
  parts.headline = `EXECUTE ${name}: ${inner.info.facts.headline}`;
}

/** Another statement's facts become this one's. */
function adopt(found: Findings, info: StatementInfo): void {
  const { facts } = info;
  found.raise(facts.effect);
  for (const { kind, name } of facts.targets) found.target(kind, name);
  for (const label of facts.sensitive) found.touched.add(label);
  for (const label of facts.sql?.predicates ?? []) found.predicates.add(label);
  if ((facts.sql?.predicates.length ?? 0) > 0 && facts.sql?.equality !== true) found.onlyEquality = false;
  for (const label of facts.sql?.written ?? []) found.written.add(label);
  for (const name of facts.sql?.functions ?? []) found.functions.add(name);
  for (const label of facts.sql?.returned ?? []) found.returned.add(label);
  for (const note of facts.notes) found.notes.add(note);
  found.bulk ||= facts.bulk;
  found.reads ||= info.reads ?? false;
  found.refused ??= info.refused;
  found.doubtful ||= info.doubtful ?? false;
}

function outputsOf(query: Query | undefined, context: Context): Outputs {
  if (!query) return [];
  if (query.open) {
    const taint = context.sensitivity.opaqueTaint;
    if (taint) context.found.touch([taint]);
    return 'opaque';
  }
  return query.columns.map((column) => outputOf(column.value));
}

function outputOf(value: Value): OutputColumn {
  const [first] = value.taints;
  if (value.origin) {
    const { relation, attribute } = value.origin;
    const name = relation.columns.find((c) => c.number === attribute)?.name ?? '*';
    const column = `${relation.schema}.${relation.name}.${name}`.toLowerCase();
    const place = { kind: 'origin', column, table: relation.oid, attribute } as const;
    return first ? { ...place, mask: maskOf(value), label: first.label } : place;
  }
  return first ? { kind: 'mask', mask: maskOf(value), label: first.label, ...(!value.keeps && { computed: true as const }) } : { kind: 'clean' };
}

/** A new relation holds what its query gives. */
function create(ground: Ground, context: Context, parts: Parts, rel: RangeVar, query: Query | undefined, names: readonly string[]): void {
  const { found, catalog } = context;
  const temporary = rel.relpersistence === 't' || rel.schemaname?.startsWith('pg_temp') === true;
  const name = rel.relname ?? '';
  const schema = temporary ? 'pg_temp' : (rel.schemaname ?? creationSchema(catalog, context.searchPath));
  found.target('table', temporary ? name : relationName({ schema, name }));
  const columns: readonly TemporaryColumn[] | 'opaque' =
    !query || query.open ? 'opaque' : query.columns.map((c, i) => ({ name: names[i] ?? c.name, taints: settled(c.value) }));
  parts.creates = { name, temporary, columns };
  parts.headline = `${parts.verb} ${temporary ? name : relationName({ schema, name })}`;
  if (columns === 'opaque') {
    // It cannot be said which of its columns hold what.
    if (context.sensitivity.opaqueTaint && !temporary)
      found.flows.push({ table: `${schema}.${name}`, column: ANY_COLUMN, taints: [context.sensitivity.opaqueTaint] });
    return;
  }
  const flows: Flow[] = columns.flatMap((c) => (c.taints.length > 0 ? [{ table: `${schema}.${name}`, column: c.name, taints: c.taints }] : []));
  found.flows.push(...flows);
  for (const flow of flows) for (const { label } of flow.taints) found.notes.add(`copies ${label} into ${name}.${flow.column}`.slice(0, 300));
}

function creationSchema(catalog: Catalog, searchPath: readonly string[]): string {
  return searchPath.map((s) => (s === '$user' ? catalog.user : s)).find((s) => catalog.hasSchema(s)) ?? 'public';
}

function intoOf(select: SelectStmt): RangeVar | undefined {
  for (let at: SelectStmt | undefined = select; at; at = at.larg) if (at.intoClause) return at.intoClause.rel;
  return undefined;
}

/** EXPLAIN runs its statement with ANALYZE, unless that is switched off again; the last one counts. */
function explainRuns(options: readonly Node[] | undefined): boolean {
  let runs = false;
  for (const node of options ?? []) {
    const option = as(node, 'DefElem');
    if (option?.defname !== 'analyze') continue;
    const text = as(option.arg, 'String')?.sval ?? as(option.arg, 'Float')?.fval;
    const number = as(option.arg, 'Integer');
    const boolean = as(option.arg, 'Boolean');
    const off =
      (text !== undefined && /^(off|false|no|f|n|0)$/i.test(text)) ||
      (number !== undefined && (number.ival ?? 0) === 0) ||
      (boolean !== undefined && !boolean.boolval);
    runs = !off;
  }
  return runs;
}

function sensitiveSetting(context: Context, name: string): boolean {
  return context.sensitivity.any && (name.includes('.') || context.settingsTainted === true);
}

function transaction(context: Context, node: Node, parts: Parts): void {
  const body = as(node, 'TransactionStmt');
  parts.session = true;
  const name = body?.savepoint_name ?? '';
  const kind: string = body?.kind ?? '';
  switch (kind) {
    case 'TRANS_STMT_BEGIN':
    case 'TRANS_STMT_START': {
      parts.verb = 'BEGIN';
      const mode = (body?.options ?? []).flatMap((o) => as(o, 'DefElem') ?? []).find((o) => o.defname === 'transaction_read_only');
      parts.control = { kind: 'begin', readOnly: mode ? isOn(mode.arg) : undefined };
      break;
    }
    case 'TRANS_STMT_COMMIT':
      parts.verb = 'COMMIT';
      parts.control = { kind: 'commit', chain: body?.chain ?? false };
      break;
    case 'TRANS_STMT_ROLLBACK':
      parts.verb = 'ROLLBACK';
      parts.control = { kind: 'rollback', chain: body?.chain ?? false };
      break;
    case 'TRANS_STMT_SAVEPOINT':
      parts.verb = 'SAVEPOINT';
      parts.control = { kind: 'savepoint', name };
      break;
    case 'TRANS_STMT_RELEASE':
      parts.verb = 'RELEASE SAVEPOINT';
      parts.control = { kind: 'release', name };
      break;
    case 'TRANS_STMT_ROLLBACK_TO':
      parts.verb = 'ROLLBACK TO SAVEPOINT';
      parts.control = { kind: 'rollback-to', name };
      break;
    case 'TRANS_STMT_PREPARE':
    case 'TRANS_STMT_COMMIT_PREPARED':
    case 'TRANS_STMT_ROLLBACK_PREPARED':
      // Outlives the session, and may end what another one began.
      parts.verb = kind.replace('TRANS_STMT_', '').replace('_', ' ');
      if (kind === 'TRANS_STMT_PREPARE') parts.verb = 'PREPARE TRANSACTION';
      parts.control = { kind: 'two-phase' };
      context.found.raise('admin');
      break;
    default:
      context.found.unresolved('transaction statement');
  }
  parts.headline = parts.verb;
}
