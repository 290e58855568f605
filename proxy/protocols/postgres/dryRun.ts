/**
 * What an asked INSERT, UPDATE or DELETE would change, found out by doing it: on a connection of its own with the session's
 * login, settings and search path, in a transaction that is always rolled back, within a short time. Everything that is
 * shown of it passes the same masks as an answer would. Runs under a permit of its own (`permitForDryRun`).
 */
import type { DryRun } from '../../../contract/approval.ts';
import type { SessionMasking } from '../../masking/masking.ts';
import type { DryRunAttempt } from '../../pipeline/operation.ts';
import type { Permit } from '../../pipeline/permit.ts';
import type { MaskPlan, PostgresConnection } from '../../policy/policy.ts';
import { type Backend, LoginRefused } from './backend.ts';
import type { Batch } from './classify.ts';
import { type Action, actionsOf, type Lineage, replace } from './columnMask.ts';
import { checkHarmless, checkPlan, plannedRelations } from './dryRunChecks.ts';
import { DryRunLink, NO_PARAMETERS, type Parameters, Refused } from './dryRunLink.ts';
import { cannot, type DryRunText, dryRunText, quoted } from './dryRunText.ts';
import type { Reading } from './flight.ts';
import type { FieldReader } from './frames.ts';
import type { Ground } from './ground.ts';
import type { Column } from './messages.ts';
import type { Bound } from './operations.ts';
import { readRow } from './ownQueries.ts';
import { followed } from './plans.ts';
import type { Relation } from './sql/catalog.ts';
import { loadParser } from './sql/parser.ts';
import { readable } from './types.ts';

/** How long the statement may run when it is only tried, in milliseconds. */
const DRY_RUN_STATEMENT_MS = 3000;
/** How long it may wait for a lock that somebody else holds, in milliseconds. */
const DRY_RUN_LOCK_MS = 500;
/** After this the server itself rolls back a dry run that nobody goes on with, in milliseconds. */
const ABANDONED_MS = 10_000;
/** Dry runs that show up in `pg_stat_activity` are called so. */
export const DRY_RUN_APPLICATION = 'countersign dry run';
/** Rows that are shown; the contract's cap. */
const MAX_SAMPLES = 20;
const MAX_COLUMNS = 200;
const MAX_NAME = 300;
/** Longest value that is shown, in characters. */
const MAX_CELL = 500;
const PORTAL = 'countersign_dry_run';

/** What a session hands over for its dry runs. */
export interface DryRunSession {
  readonly masking: SessionMasking;
  /** Whom to log in as, and the start-up that the client chose. Undefined: the login may connect once only. */
  readonly login: { readonly connection: PostgresConnection; open(signal: AbortSignal): Promise<Backend> } | undefined;
  /** Understands a text as the session's next statement. */
  understand(sql: string, reading: Reading): Batch;
  /** Resolves when what came before is answered. @throws Problem `no-dry-run` where another connection could not see what the session sees */
  settled(signal: AbortSignal): Promise<void>;
}

/** What was asked for. */
export interface Asked {
  readonly sql: string;
  readonly batch: Batch;
  readonly reading: Reading;
  readonly bound: Bound | undefined;
  /** Of the operation. */
  readonly digest: string;
}

/** Why it cannot be tried, as far as the statement alone tells; undefined where it may be. */
export function noDryRun({ batch }: Pick<Asked, 'batch'>, session: Pick<DryRunSession, 'login'>): string | undefined {
  const [statement, ...others] = batch.statements;
  if (!statement || others.length > 0) return 'several statements were sent together';
  const { facts } = statement;
  if (statement.copy) return 'COPY sends its rows after it is approved';
  if (statement.control) return `${facts.verb} is not a plain INSERT, UPDATE or DELETE`;
  const called = facts.sql?.functions[0] ?? facts.targets.find((target) => target.kind === 'function')?.name;
  if (called !== undefined) return `it calls ${called}, which could do more than a roll-back takes back`;
  if (!/^(INSERT|UPDATE|DELETE)$/.test(facts.verb) || (facts.effect !== 'write' && facts.effect !== 'delete'))
    return `a dry run is for a plain INSERT, UPDATE or DELETE, and this is ${facts.effect === 'write' ? facts.verb : `${facts.verb} (${facts.effect})`}`;
  if (!session.login) return 'the session logs in with a role of its own, which may connect once only';
  return undefined;
}

/** What is needed to try it; nothing is sent. @throws Problem `no-dry-run` */
export async function dryRunOf(ground: Ground, session: DryRunSession, asked: Asked): Promise<DryRunAttempt> {
  const { reading, sql } = asked;
  const { catalog, searchPath } = reading;
  const find = (schema: string | undefined, name: string) => catalog.findRelation(schema, name, searchPath);
  const text = dryRunText(await loadParser(), sql, catalog.serverVersion, (schema, name) => find(schema, name)?.columns.map((c) => c.name) ?? []);
  const target = find(text.target.schema, text.target.name);
  if (!target) throw cannot(`the table ${text.target.name} is not in the database’s catalog`);
  if (target.kind !== 'table')
    throw cannot(
      target.kind === 'foreign'
        ? `${target.name} is a foreign table: what is done on another server may not be taken back`
        : `${target.name} is not a plain table`,
    );
  const digest = ground.engine.digest(['postgres-dry-run', asked.digest, text.sql]);
  return {
    digest,
    run: (permit, signal) => new Trial(session, asked, text, target).run(permit, digest, signal),
  };
}

type Cells = readonly (string | null)[];
type Sample = DryRun['samples'][number];

/** One row of the result: masked, apart from the values that it is found again by, which go nowhere but to the server. */
interface Row {
  readonly existed: boolean;
  /** The row before, the row after, or both behind each other. */
  readonly cells: Cells;
  readonly key: readonly { readonly type: number; readonly value: Buffer | null }[];
}

class Trial {
  readonly #session: DryRunSession;
  readonly #asked: Asked;
  readonly #text: DryRunText;
  readonly #target: Relation;
  readonly #parameters: Parameters;
  /** With the columns that this statement itself copies sensitive data to. */
  readonly #plan: MaskPlan;

  constructor(session: DryRunSession, asked: Asked, text: DryRunText, target: Relation) {
    this.#session = session;
    this.#asked = asked;
    this.#text = text;
    this.#target = target;
    this.#parameters = asked.bound ?? NO_PARAMETERS;
    this.#plan = followed(
      asked.reading.plan,
      asked.batch.statements.flatMap((statement) => statement.flows),
    );
  }

  async run(permit: Permit, digest: DryRunAttempt['digest'], signal: AbortSignal): Promise<DryRun> {
    const { login } = this.#session;
    if (!login) throw cannot('there is no login for it');
    await this.#session.settled(signal);
    signal.throwIfAborted();
    permit.use(digest);
    const link = new DryRunLink(login.connection, await login.open(signal));
    let givenUp = (): void => {};
    const aborted = new Promise<never>((_resolve, reject) => {
      givenUp = () => reject(new Error('given up'));
      signal.addEventListener('abort', givenUp);
    });
    try {
      signal.throwIfAborted();
      return await Promise.race([this.#tried(link), aborted]);
    } catch (cause) {
      throw signal.aborted ? cause : inWords(cause);
    } finally {
      signal.removeEventListener('abort', givenUp);
      await link.release();
    }
  }

  async #tried(link: DryRunLink): Promise<DryRun> {
    const { returns, set, sql, verb } = this.#text;
    const here = path(this.#asked.reading.searchPath);
    // Older servers return a row as it is only: as it was, it is read after a roll-back, out of the same snapshot.
    const apart = verb === 'update' && returns === 'after';
    await link.simple(
      `BEGIN${apart ? ' ISOLATION LEVEL REPEATABLE READ' : ''}; SET LOCAL statement_timeout = ${DRY_RUN_STATEMENT_MS}; SET LOCAL lock_timeout = ${DRY_RUN_LOCK_MS};
SET LOCAL idle_in_transaction_session_timeout = ${ABANDONED_MS}; ${path(OURS)}`,
    );
    // Planning can run what policies and views call: the target is looked at before it is planned, all else after.
    await checkHarmless(link, this.#text, this.#target.oid, []);
    await link.simple(here);
    let explained = '';
    await link.extended('', `EXPLAIN (VERBOSE, FORMAT JSON) ${sql}`, this.#parameters, 0, (row) => {
      explained += readRow(row)[0] ?? '';
    });
    checkPlan(explained);
    await link.simple(path(OURS));
    const { key } = await checkHarmless(link, this.#text, this.#target.oid, await plannedRelations(link));
    await link.simple(`${here}; SET CONSTRAINTS ALL IMMEDIATE; SAVEPOINT ${PORTAL}`);

    const samples: Row[] = [];
    const read = this.#reader(sql, returns === 'both' ? 2 : 1, apart ? key : []);
    const step = await link.extended(PORTAL, sql, this.#parameters, MAX_SAMPLES, (row, columns) => void samples.push(read(row, columns)));
    const rows = step.rows ?? samples.length + ((await link.simple(`MOVE ALL IN ${PORTAL}`)).rows ?? 0);
    if (!apart)
      return this.#result(
        rows,
        samples.map((row) => this.#sample(row)),
      );
    // A row whose key is changed cannot be found again.
    if (key.length === 0 || key.some((column) => set.has(column))) return this.#result(rows, []);
    await link.simple(`ROLLBACK TO SAVEPOINT ${PORTAL}; ${path(OURS)}`);
    return this.#result(rows, await this.#asTheyWere(link, key, samples));
  }

  #sample({ cells, existed }: Row): Sample {
    const width = this.#target.columns.length;
    if (this.#text.returns === 'before') return { before: [...cells], after: null };
    if (this.#text.returns === 'after') return { before: null, after: [...cells] };
    return { before: existed ? cells.slice(0, width) : null, after: cells.slice(width) };
  }

  /** @param after rows as an UPDATE left them */
  async #asTheyWere(link: DryRunLink, key: readonly string[], after: readonly Row[]): Promise<Sample[]> {
    const { name, schema } = this.#target;
    const sql = `SELECT * FROM ${quoted(schema)}.${quoted(name)} WHERE ${key.map((column, i) => `${quoted(column)} = $${i + 1}`).join(' AND ')}`;
    const read = this.#reader(sql, 1, []);
    const samples: Sample[] = [];
    for (const row of after) {
      const before: Row[] = [];
      const parameters: Parameters = { types: row.key.map(({ type }) => type), bind: { paramFormats: [], params: row.key.map(({ value }) => value) } };
      await link.extended('', sql, parameters, 2, (found, columns) => void before.push(read(found, columns)));
      const [only] = before;
      if (!only || before.length > 1) return [];
      samples.push({ before: [...only.cells], after: [...row.cells] });
    }
    return samples;
  }

  /** Reads the result's last columns, which are the target's: `times` over. Masked as the session's own answer would be. */
  #reader(sql: string, times: number, key: readonly string[]): (row: FieldReader, columns: readonly Column[]) => Row {
    const { masking } = this.#session;
    const { reading } = this.#asked;
    const [statement, ...others] = this.#session.understand(sql, reading).statements;
    const lineage: Lineage = statement && others.length === 0 ? statement : { outputs: 'opaque', touchesSensitive: true };
    const own = this.#target.columns;
    let actions: readonly (Action | undefined)[] | undefined;
    return (row, columns) => {
      const from = columns.length - own.length * times;
      const fits = (column: Column | undefined, i: number): boolean => column?.tableOid === this.#target.oid && column.attnum === own[i % own.length]?.number;
      if (from < 0 || !columns.slice(from).every(fits)) throw cannot('the table has changed meanwhile');
      actions ??= actionsOf(columns, lineage, reading.catalog, this.#plan);
      const cells: (string | null)[] = [];
      const found: Row['key'][number][] = [];
      let existed = times === 1;
      row.uint16();
      columns.forEach((column, i) => {
        const length = row.int32();
        const bytes = length < 0 ? null : row.bytes(length);
        if (i < from) {
          // Right before the rows stands whether there was one before.
          if (i === from - 1 && times > 1) existed = bytes?.toString() === 't';
          return;
        }
        if (key.includes(own[i - from]?.name ?? '')) found.push({ type: column.typeOid, value: bytes && Buffer.from(bytes) });
        cells.push(bytes && cell(bytes, column, actions?.[i], masking));
      });
      return { existed, cells, key: found };
    };
  }

  #result(rows: number, samples: readonly Sample[]): DryRun {
    const cut = (cells: Sample['before']): Sample['before'] => cells?.slice(0, MAX_COLUMNS) ?? null;
    const columns = this.#target.columns.slice(0, MAX_COLUMNS).map(({ name }) => this.#session.masking.scrub(name).text.slice(0, MAX_NAME));
    return { rows, columns, samples: samples.map(({ after, before }) => ({ before: cut(before), after: cut(after) })) };
  }
}

/** For statements of our own: nothing but `pg_catalog`. */
const OURS: readonly string[] = [];

function path(searchPath: readonly string[]): string {
  const value = searchPath.length === 0 ? 'pg_catalog' : searchPath.map(quoted).join(', ');
  // Both kinds of quote are doubled; a backslash means nothing in a plain string.
  return `SELECT pg_catalog.set_config('search_path', '${value.replaceAll("'", "''")}', true)`;
}

function cell(bytes: Buffer, column: Column, action: Action | undefined, masking: SessionMasking): string | null {
  const replaced = action && replace(action, bytes, 0, bytes.length, masking, false);
  const text = replaced ? replaced.value : readable(bytes, 0, bytes.length, 0, column.typeOid);
  return text !== null && text.length > MAX_CELL ? `${text.slice(0, MAX_CELL)}…` : text;
}

/** SQLSTATE → what the statement would run into. The server's own words can quote data. */
const REFUSALS: Readonly<Record<string, string>> = {
  '22': 'it would fail: a value does not fit (SQLSTATE',
  '23502': 'it would fail: a column that must have a value would have none (SQLSTATE',
  '23503': 'it would fail: a foreign key would be broken (SQLSTATE',
  '23505': 'it would fail: a value that must be unique exists already (SQLSTATE',
  '23': 'it would fail: a constraint would be broken (SQLSTATE',
  '25006': 'it would fail: the session is read-only (SQLSTATE',
  '40': 'another transaction was changing the same rows (SQLSTATE',
  '42501': 'the login may not do that, or may not read what it would change (SQLSTATE',
  '55P03': `rows or tables are locked by somebody else, and trying waits no longer than ${DRY_RUN_LOCK_MS} ms (SQLSTATE`,
  '57014': `it takes longer than ${DRY_RUN_STATEMENT_MS / 1000} s (SQLSTATE`,
};

function inWords(cause: unknown): unknown {
  if (cause instanceof Refused) {
    const said = REFUSALS[cause.sqlstate] ?? REFUSALS[cause.sqlstate.slice(0, 2)] ?? 'it would fail (SQLSTATE';
    return cannot(`${said} ${cause.sqlstate})`);
  }
  // Its words are the server's.
  if (cause instanceof LoginRefused) return cannot('the database refused another login for it');
  return cause;
}
