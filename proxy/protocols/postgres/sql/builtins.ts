/**
 * What is known of PostgreSQL's own functions and relations beyond what its catalog says. Everything here loosens: a
 * built-in that is volatile and not listed counts as having side effects, and one over a sensitive input that is not
 * listed masks its whole result.
 */
import type { Effect } from '../../../../contract/facts.ts';

/** The result is one of the arguments' values (or NULL), at most in another case: the column's own mask still fits. */
export const KEEPS_VALUE: ReadonlySet<string> = new Set([
  'min',
  'max',
  'any_value',
  'lower',
  'upper',
  'first_value',
  'last_value',
  'nth_value',
  'lag',
  'lead',
  'text',
  'varchar',
]);

/** The result says nothing of a value but that there is one. The argument still counts as used in a predicate. */
export const SAYS_NOTHING: ReadonlySet<string> = new Set(['count', 'num_nulls', 'num_nonnulls', 'pg_typeof']);

/** Volatile built-ins that change nothing and give nothing away. */
export const HARMLESS_VOLATILE: ReadonlySet<string> = new Set([
  'random',
  'random_normal',
  'setseed',
  'gen_random_uuid',
  'uuidv4',
  'uuidv7',
  'clock_timestamp',
  'timeofday',
  'currval',
  'lastval',
  'txid_current_if_assigned',
  'pg_current_xact_id_if_assigned',
  'txid_status',
  'pg_xact_status',
  'pg_is_in_recovery',
  'pg_last_wal_receive_lsn',
  'pg_last_wal_replay_lsn',
  'pg_last_xact_replay_timestamp',
  'pg_get_wal_replay_pause_state',
  'pg_is_wal_replay_paused',
  'pg_current_wal_lsn',
  'pg_current_wal_insert_lsn',
  'pg_current_wal_flush_lsn',
  'pg_partition_ancestors',
  'pg_partition_root',
  'pg_partition_tree',
  'pg_relation_size',
  'pg_table_size',
  'pg_indexes_size',
  'pg_total_relation_size',
  'pg_database_size',
  'pg_tablespace_size',
  'pg_column_size',
  'pg_column_compression',
  'pg_lock_status',
  'pg_blocking_pids',
  'pg_safe_snapshot_blocking_pids',
  'pg_notification_queue_usage',
  'pg_sequence_last_value',
  'pg_sequence_parameters',
  'pg_get_sequence_data',
  'pg_prepared_xact',
  'pg_show_replication_origin_status',
  'pg_get_replication_slots',
  'pg_timezone_names',
  'pg_trigger_depth',
  'pg_collation_actual_version',
  'pg_database_collation_actual_version',
  'pg_event_trigger_ddl_commands',
  'inet_client_addr',
  'inet_client_port',
  'inet_server_addr',
  'inet_server_port',
  'pg_stat_get_backend_pid',
  'pg_control_checkpoint',
  'pg_control_init',
  'pg_control_recovery',
  'pg_control_system',
  'pg_numa_available',
]);

/**
 * Locks on a number that only those heed who ask for it: every tool for migrations takes one, so that no two run at once. They touch
 * no data, keep nobody from any, and PostgreSQL itself lets transactions take them that may only read. So they are `read`, unlike
 * `LOCK TABLE` and `FOR UPDATE`; a rule that wants more names them: `sql: { function: 'pg_*advisory*' }`.
 */
const ADVISORY_LOCKS = [
  'pg_advisory_lock',
  'pg_advisory_lock_shared',
  'pg_advisory_xact_lock',
  'pg_advisory_xact_lock_shared',
  'pg_try_advisory_lock',
  'pg_try_advisory_lock_shared',
  'pg_try_advisory_xact_lock',
  'pg_try_advisory_xact_lock_shared',
  'pg_advisory_unlock',
  'pg_advisory_unlock_shared',
  'pg_advisory_unlock_all',
] as const;

/** Built-ins whose effect is not `execute` though they change or send something, or keep others waiting. */
export const BUILTIN_EFFECTS: ReadonlyMap<string, Effect> = new Map<string, Effect>([
  ...ADVISORY_LOCKS.map((name) => [name, 'read'] as const),
  ['nextval', 'write'],
  ['setval', 'write'],
  ['pg_notify', 'send'],
  ['pg_logical_emit_message', 'send'],
  ['pg_reload_conf', 'admin'],
  ['pg_rotate_logfile', 'admin'],
  ['pg_promote', 'admin'],
  ['pg_switch_wal', 'admin'],
  ['pg_create_restore_point', 'admin'],
  ['pg_terminate_backend', 'admin'],
  ['pg_cancel_backend', 'admin'],
  ['pg_import_system_collations', 'schema'],
]);

/** Built-ins that the catalog calls stable or immutable and that nevertheless run text as SQL, reach files or change things. */
export const NOT_AS_DECLARED: ReadonlySet<string> = new Set([
  'query_to_xml',
  'query_to_xmlschema',
  'query_to_xml_and_xmlschema',
  'cursor_to_xml',
  'table_to_xml',
  'table_to_xml_and_xmlschema',
  'schema_to_xml',
  'schema_to_xml_and_xmlschema',
  'database_to_xml',
  'database_to_xml_and_xmlschema',
  'ts_stat',
  'ts_rewrite',
  'set_config',
  'pg_read_file',
  'pg_read_binary_file',
  'pg_ls_dir',
  'pg_stat_file',
]);

/** Built-ins whose string argument names what they act on, so that their literals decide the facts. */
export const LITERALS_DECIDE: ReadonlySet<string> = new Set(['nextval', 'setval', 'pg_notify', 'set_config', 'current_setting']);

/** Functions of well-known extensions that reach another server. */
export const REACHES_OUT = /^(dblink|http_|http$|postgres_fdw_disconnect|pg_net|net_http)/;

/** Built-ins that return what a sensitive column or another session's statement may hold; the label they count as. */
export const REVEALING_FUNCTIONS: ReadonlyMap<string, string> = new Map([
  ['pg_stat_get_activity', 'pg_stat_activity'],
  ['pg_stat_get_backend_activity', 'pg_stat_activity'],
  ['pg_prepared_statement', 'pg_prepared_statements'],
  ['pg_cursor', 'pg_cursors'],
  // The statement as the server got it: with the values of tokens.
  ['current_query', 'pg_stat_activity'],
  ['pg_mcv_list_items', 'pg_stats'],
  ['pg_show_all_file_settings', 'pg_file_settings'],
  ['pg_options_to_table', 'pg_user_mapping'],
  ['lo_get', 'pg_largeobject'],
  ['loread', 'pg_largeobject'],
]);

/** Columns of system relations that hold copies of table data or other sessions' statements: sensitive wherever the plan names a column. */
export const REVEALING_COLUMNS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  [
    'pg_stats',
    new Set(['most_common_vals', 'histogram_bounds', 'most_common_elems', 'elem_count_histogram', 'range_length_histogram', 'range_bounds_histogram']),
  ],
  ['pg_statistic', new Set(['stavalues1', 'stavalues2', 'stavalues3', 'stavalues4', 'stavalues5'])],
  ['pg_stats_ext', new Set(['most_common_vals', 'exprs'])],
  [
    'pg_stats_ext_exprs',
    new Set(['expr', 'most_common_vals', 'histogram_bounds', 'most_common_elems', 'elem_count_histogram', 'range_length_histogram', 'range_bounds_histogram']),
  ],
  ['pg_statistic_ext_data', new Set(['stxdmcv', 'stxdexpr'])],
  ['pg_stat_activity', new Set(['query'])],
  ['pg_prepared_statements', new Set(['statement'])],
  ['pg_cursors', new Set(['statement'])],
  ['pg_largeobject', new Set(['data'])],
]);

/** Columns that hold credentials: sensitive whatever the plan says. */
export const CREDENTIAL_COLUMNS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['pg_authid', new Set(['rolpassword'])],
  ['pg_shadow', new Set(['passwd'])],
  ['pg_user_mapping', new Set(['umoptions'])],
  ['pg_user_mappings', new Set(['umoptions'])],
  ['pg_subscription', new Set(['subconninfo'])],
  ['user_mapping_options', new Set(['option_value'])],
]);

/** Relations of extensions, wherever they are installed. */
export const REVEALING_EXTENSION_COLUMNS: ReadonlyMap<string, ReadonlySet<string>> = new Map([['pg_stat_statements', new Set(['query'])]]);

/** Built-ins with side effects whose result holds nothing of what is stored. */
export const RETURNS_NOTHING_STORED =
  /^(pg_sleep|pg_(try_)?advisory_|lo_(creat|create|from_bytea|import|export|unlink|open|close|lseek|tell|truncate|put)|lowrite|set_config|pg_export_snapshot|txid_current|pg_current_xact_id|pg_stat_(re|clear)|pg_(create|drop|copy|advance|backup|start|stop|log|wal|replication)_|brin_|gin_clean)/;

/** Built-ins that put an argument where other statements and sessions find it, in no column that a plan could name. */
export const KEEPS_ARGUMENTS =
  /^(setval|setseed|set_config|pg_(try_)?advisory_|pg_create_|pg_copy_\w+_slot$|pg_replication_|pg_logical_emit_message$|pg_(set|restore|clear)_\w+_stats$|lo_(creat|create|from_bytea|import|export)$)/;

/** Operators that compare: their operands count as used in a predicate wherever they stand. */
export const COMPARES =
  /^(=|<>|!=|<|>|<=|>=|~~|!~~|~~\*|!~~\*|~|!~|~\*|!~\*|\^@|@>|<@|&&|@@|@@@|\?|\?\||\?&|<->|<#>|<=>|%|<%|%>|~=|~<~|~>~|~<=~|~>=~|-\|-|<<|>>|&<|&>)$/;

/** Types to which a cast shows the value unchanged. */
export const TEXT_TYPES: ReadonlySet<string> = new Set(['text', 'varchar', 'character varying']);
