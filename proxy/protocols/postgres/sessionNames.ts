/**
 * Names that only one session knows: prepared statements, cursors, temporary tables, and its search path. What the client
 * says in plain statements is followed as it is carried out; what code may have done unseen is read again from the server.
 */
import type { SessionNames } from './classify.ts';
import type { Portal, Prepared } from './expected.ts';
import { Names } from './names.ts';
import { readSearchPath } from './settings.ts';
import type { StatementInfo } from './sql/classifier.ts';
import { type Temporary, temporaryFlows, temporaryMade } from './sql/temporary.ts';

/** Reads the search path alone; takes no snapshot, so a transaction's isolation level can still be set after it. */
export const READ_PATH = 'SHOW search_path';

/** Reads all that is followed. Names are qualified: the search path in force may hold somebody else's `=`. */
export const READ_ALL = `SELECT 'path', pg_catalog.current_setting('search_path'), CURRENT_USER::pg_catalog.text
UNION ALL SELECT 'statement', s.name, s.statement FROM pg_catalog.pg_prepared_statements s
UNION ALL SELECT 'temporary', c.relname::pg_catalog.text, '' FROM pg_catalog.pg_class c
WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,v,m,p,f}'::pg_catalog."char"[])`;

/** Settings on which it does not depend what a statement changes. */
const SAME_EFFECT: ReadonlySet<string> = new Set([
  'application_name',
  'client_min_messages',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'lock_timeout',
  'search_path',
  'statement_timeout',
]);

export class NamesInSession {
  readonly statements = new Names<Prepared>();
  readonly portals = new Names<Portal>();
  readonly #prepared = new Map<string, string>();
  readonly #cursors = new Map<string, StatementInfo>();
  readonly #temporary = new Map<string, Temporary>();
  #settingsTainted = false;
  readonly #changed = new Set<string>();
  searchPath: readonly string[];
  /** Settings are no longer those that another session with the same start-up has, or may not be; `search_path` is followed. */
  ownSettings = false;

  constructor(searchPath: readonly string[]) {
    this.searchPath = searchPath;
  }

  /** For the classifier. */
  get known(): SessionNames {
    return { prepared: this.#prepared, cursors: this.#cursors, temporary: this.#temporary, settingsTainted: this.#settingsTainted, changed: this.#changed };
  }

  get hasTemporary(): boolean {
    return this.#temporary.size > 0;
  }

  /** The server took a Parse. */
  parsed(name: string, prepared: Prepared): void {
    if (name !== '') this.#prepared.set(name, prepared.sql);
  }

  closed(name: string): void {
    this.#prepared.delete(name);
  }

  /** A portal with a name can be fetched from, as a cursor can. */
  bound(name: string, info: StatementInfo): void {
    if (name !== '') this.#cursors.set(name, info);
  }

  portalClosed(name: string): void {
    this.#cursors.delete(name);
  }

  /** The server carried a statement out. */
  completed(statement: StatementInfo): void {
    const { control, creates } = statement;
    if (statement.changesSession && statement.touchesSensitive) this.#settingsTainted = true;
    if (statement.changesSession || (control?.kind === 'set' && !SAME_EFFECT.has(control.name))) this.ownSettings = true;
    if (creates?.temporary) temporaryMade(this.#temporary, creates.name, creates.columns);
    // oxlint-disable-next-line typescript/switch-exhaustiveness-check -- the others change no name
    switch (control?.kind) {
      case 'prepare':
        this.#prepared.set(control.name, control.sql);
        this.statements.set(control.name, { sql: control.sql, paramTypes: [] });
        break;
      case 'deallocate':
        if (control.name === undefined) {
          this.#prepared.clear();
          this.statements.clear();
        } else {
          this.#prepared.delete(control.name);
          this.statements.delete(control.name);
        }
        break;
      case 'declare':
        this.#cursors.set(control.name, control.statement);
        break;
      case 'close':
        if (control.name === undefined) this.#cursors.clear();
        else this.#cursors.delete(control.name);
        break;
      case 'discard':
        if (control.all) {
          this.#prepared.clear();
          this.statements.clear();
          this.#cursors.clear();
          this.#temporary.clear();
        }
        break;
      default:
    }
  }

  /** A statement that moves sensitive data was sent. */
  moves(flows: StatementInfo['flows']): void {
    temporaryFlows(this.#temporary, flows);
  }

  /** A statement that changes what names mean was sent: others do not see what they mean before its transaction is over. */
  changes(names: readonly string[]): void {
    for (const name of names) this.#changed.add(name);
  }

  /** The catalog will be read again before anything else is understood. */
  catalogRead(): void {
    this.#changed.clear();
  }

  /** Takes what `READ_PATH` gave. */
  readPath(rows: readonly (string | null)[][]): void {
    this.searchPath = readSearchPath(rows[0]?.[0] ?? '');
  }

  /** Takes what `READ_ALL` gave. */
  readAll(rows: readonly (string | null)[][]): void {
    // Code may have closed a cursor and opened another under its name.
    this.#cursors.clear();
    this.#prepared.clear();
    const temporary = new Set<string>();
    for (const [kind, name, text] of rows) {
      if (kind === 'path') this.searchPath = readSearchPath(name ?? '').map((schema) => (schema === '$user' ? (text ?? schema) : schema));
      else if (kind === 'statement' && name !== null && name !== undefined) this.#prepared.set(name, text ?? '');
      else if (kind === 'temporary' && name) temporary.add(name);
    }
    for (const [name, prepared] of this.statements.confirmed) {
      // What the server has holds values where the client wrote tokens.
      if (prepared.sent !== undefined && this.#prepared.get(name) === prepared.sent) this.#prepared.set(name, prepared.sql);
      if (name !== '' && this.#prepared.get(name) !== prepared.sql) this.statements.delete(name);
    }
    for (const [name, sql] of this.#prepared) if (!this.statements.confirmed.has(name)) this.statements.set(name, { sql, paramTypes: [] });
    for (const name of this.#temporary.keys()) if (!temporary.has(name)) this.#temporary.delete(name);
    for (const name of temporary) if (!this.#temporary.has(name)) this.#temporary.set(name, 'opaque');
  }
}
