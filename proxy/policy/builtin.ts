/**
 * What holds with no file at all: a policy like any other, written in the same language and shown in docs/policy.md. Its
 * `defaults` give way to the highest file's; its rules stand beside the file's, unless the highest file has a rule of
 * the same id, which then replaces it.
 */
export const BUILTIN_FILE = 'built in';

export const BUILTIN_POLICY = `version: 1

defaults:
  read: allow
  send: ask
  write: ask
  delete: ask
  schema: ask
  execute: ask
  admin: ask
  unknown: ask
  mask: redact
  detectors:
    email: partial
    phone: partial
    card: token
    iban: token

rules:
  - id: no-mass-change
    match: { effect: [write, delete], bulk: true }
    verdict: deny
    say: This would change or remove every row. Say which rows in a WHERE; changing all of them is a migration, which a person runs.

  - id: sensitive-conditions-ask
    match: { sql: { predicates: true } }
    when: '!sql.equality'
    verdict: ask
    say: This filters, sorts, groups or joins by a masked column, which can give its values away bit by bit.

  - id: no-masks-written
    match: { sql: { masks: true } }
    verdict: deny
    say: This writes a mask where a value belongs, and the value would be lost. Leave the column out, or use the value's token as it was given.

  - id: statistics-ask
    match:
      protocol: postgres
      target: [pg_stats, pg_stats_ext, pg_stats_ext_exprs, pg_statistic, pg_statistic_ext_data, pg_stat_activity,
        pg_stat_statements, pg_prepared_statements, pg_cursors, pg_authid, pg_shadow, pg_user_mapping, pg_user_mappings,
        pg_subscription, pg_largeobject, pg_hba_file_rules, pg_file_settings,
        pg_catalog.pg_stats, pg_catalog.pg_stats_ext, pg_catalog.pg_stats_ext_exprs, pg_catalog.pg_statistic,
        pg_catalog.pg_statistic_ext_data, pg_catalog.pg_stat_activity, pg_catalog.pg_prepared_statements,
        pg_catalog.pg_cursors, pg_catalog.pg_authid, pg_catalog.pg_shadow, pg_catalog.pg_user_mapping,
        pg_catalog.pg_user_mappings, pg_catalog.pg_subscription, pg_catalog.pg_largeobject,
        pg_catalog.pg_hba_file_rules, pg_catalog.pg_file_settings]
    verdict: ask
    say: This reads server tables that hold samples of other tables’ values, other people’s statements, or secrets.

  - id: secrets-in-arguments-ask
    match: { mcp: { secrets: [private-key, jwt, api-key, secret, card, iban, us-ssn] } }
    verdict: ask
    say: What the agent sends holds something that looks like a secret. Allow it only where this server is meant to have it.

  - id: after-sensitive-read-calls-ask
    match: { mcp: { outward: true } }
    when: conversation.read.exists(t, t.sensitive)
    verdict: ask
    say: This conversation has read sensitive data, and this call could carry it out.

  - id: after-sensitive-read-sends-ask
    match: { effect: send }
    when: conversation.read.exists(t, t.sensitive)
    verdict: ask
    say: This conversation has read sensitive data, and this sends something out.
`;
