/**
 * SET and RESET. What a setting may do to us, and what follows:
 *
 * - It only tunes how queries run, how values are shown or how long things may take → read, with `sql.session`.
 * - `search_path` decides what names mean. It is tracked, not stopped: read, with `control` saying the new value.
 * - `row_security = off` makes a query fail that a policy would cut, and lets nothing more through → read.
 * - It makes the session's or transaction's default read-only → read. It lifts that → admin.
 * - It changes how text is read (standard_conforming_strings, backslash_quote, client_encoding other than UTF8), who one
 *   is (role, session_authorization), what protects (session_replication_role), what is written to the
 *   server's log, or is the application's own (`app.tenant`, which row security may look at), or is not on the list
 *   → admin.
 */
import type { Node, VariableSetStmt } from 'libpg-query';
import type { Effect } from '../../../../contract/facts.ts';
import { as } from './nodes.ts';

const HARMLESS: ReadonlySet<string> = new Set([
  'application_name',
  'bytea_output',
  'check_function_bodies',
  'client_min_messages',
  'commit_delay',
  'constraint_exclusion',
  'cpu_index_tuple_cost',
  'cpu_operator_cost',
  'cpu_tuple_cost',
  'cursor_tuple_fraction',
  'datestyle',
  'deadlock_timeout',
  'default_statistics_target',
  'default_table_access_method',
  'default_tablespace',
  'default_transaction_deferrable',
  'default_transaction_isolation',
  'effective_cache_size',
  'effective_io_concurrency',
  'escape_string_warning',
  'extra_float_digits',
  'from_collapse_limit',
  'gin_fuzzy_search_limit',
  'hash_mem_multiplier',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'intervalstyle',
  'join_collapse_limit',
  'lc_messages',
  'lc_monetary',
  'lc_numeric',
  'lc_time',
  'lock_timeout',
  'maintenance_work_mem',
  'max_parallel_workers',
  'max_parallel_workers_per_gather',
  'min_parallel_index_scan_size',
  'min_parallel_table_scan_size',
  'parallel_leader_participation',
  'parallel_setup_cost',
  'parallel_tuple_cost',
  'plan_cache_mode',
  'random_page_cost',
  'recursive_worktable_factor',
  'row_security',
  'search_path',
  'seed',
  'seq_page_cost',
  'statement_timeout',
  'synchronize_seqscans',
  'synchronous_commit',
  'temp_buffers',
  'timezone',
  'transaction_deferrable',
  'transaction_isolation',
  'transaction_timeout',
  'work_mem',
  'xmlbinary',
  'xmloption',
]);
const HARMLESS_FAMILIES = /^(enable_|geqo|jit)/;
const READ_ONLY: ReadonlySet<string> = new Set(['default_transaction_read_only', 'transaction_read_only']);

/** What a SET or RESET does to the session, for whoever tracks it. */
export interface SettingChange {
  readonly kind: 'set';
  /** Lower case; `*` for RESET ALL. Of SET TRANSACTION, the access mode where it has one. */
  readonly name: string;
  /** The new value's parts; undefined: back to the session's default, or not known. */
  readonly value: readonly string[] | undefined;
  /** Until the transaction ends. */
  readonly local: boolean;
}

export function settingChange(stmt: VariableSetStmt): SettingChange {
  const local = stmt.is_local ?? false;
  if (stmt.kind === 'VAR_RESET_ALL') return { kind: 'set', name: '*', value: undefined, local };
  if (stmt.kind === 'VAR_SET_MULTI') {
    const mode = (stmt.args ?? []).flatMap((arg) => as(arg, 'DefElem') ?? []).find((e) => e.defname === 'transaction_read_only');
    const forSession = stmt.name === 'SESSION CHARACTERISTICS';
    const name = `${forSession ? 'default_' : ''}${mode ? 'transaction_read_only' : 'transaction_isolation'}`;
    return { kind: 'set', name, value: mode ? [isOn(mode.arg) ? 'on' : 'off'] : undefined, local: !forSession };
  }
  const value = stmt.kind === 'VAR_SET_VALUE' ? (stmt.args ?? []).map(settingText) : undefined;
  return { kind: 'set', name: (stmt.name ?? '').toLowerCase(), value, local };
}

function settingText(node: Node): string {
  const constant = as(node, 'A_Const') ?? as(as(node, 'TypeCast')?.arg, 'A_Const');
  if (!constant) return '';
  return (
    constant.sval?.sval ??
    constant.fval?.fval ??
    (constant.boolval ? String(constant.boolval.boolval ?? false) : constant.ival ? String(constant.ival.ival ?? 0) : '')
  );
}

export function setEffect(stmt: VariableSetStmt): Effect {
  const { name, value: [value = ''] = [] } = settingChange(stmt);
  const kind: string = stmt.kind ?? '';
  switch (kind) {
    case 'VAR_RESET_ALL':
      return 'read';
    case 'VAR_SET_MULTI':
      return transactionModesEffect(stmt);
    case 'VAR_SET_VALUE':
      if (READ_ONLY.has(name)) return /^(on|true|t|yes|y|1)$/i.test(value) ? 'read' : 'admin';
      if (name === 'client_encoding' || name === 'names') return /^utf-?8$|^unicode$/i.test(value) ? 'read' : 'admin';
      if (name === 'standard_conforming_strings') return /^(on|true|t|yes|y|1)$/i.test(value) ? 'read' : 'admin';
      return isHarmless(name) ? 'read' : 'admin';
    default:
      return isHarmless(name) || name === 'client_encoding' || name === 'standard_conforming_strings' ? 'read' : 'admin';
  }
}

/**
 * `set_config('work_mem', '64MB', false)`: the same as a SET that is let through, its name and value in plain sight. What the search
 * path is after that is read from the server, since it may have been called or not.
 */
export function setsHarmlessly([name, value]: readonly Node[]): boolean {
  const setting = as(name, 'A_Const')?.sval?.sval?.toLowerCase();
  return setting !== undefined && as(value, 'A_Const')?.sval !== undefined && isHarmless(setting);
}

function isHarmless(name: string): boolean {
  return HARMLESS.has(name) || HARMLESS_FAMILIES.test(name);
}

/** SET TRANSACTION and SET SESSION CHARACTERISTICS: READ WRITE lifts a protection, SNAPSHOT and the rest do not. */
function transactionModesEffect(stmt: VariableSetStmt): Effect {
  for (const arg of stmt.args ?? []) {
    const mode = as(arg, 'DefElem');
    if (mode?.defname === 'transaction_read_only' && !isOn(mode.arg)) return 'admin';
  }
  return 'read';
}

export function isOn(node: Node | undefined): boolean {
  const constant = as(node, 'A_Const');
  return (constant?.ival?.ival ?? 0) !== 0 || constant?.boolval?.boolval === true;
}
