/** What statements other than SELECT, INSERT, UPDATE, DELETE and MERGE do, by their kind. */
import type { Node } from 'libpg-query';
import type { Effect } from '../../../../contract/facts.ts';
import { as, kindOf } from './nodes.ts';
import { setEffect } from './settings.ts';

/**
 * schema: definitions of tables, types, functions and the like. admin: who may do what, what the server does for
 * everyone, and upkeep. execute: code chosen by the statement. send: leaves the session for others.
 */
const EFFECTS: Readonly<Record<string, Effect>> = {
  CreateStmt: 'schema',
  CreateSchemaStmt: 'schema',
  CreateTableAsStmt: 'schema',
  ViewStmt: 'schema',
  IndexStmt: 'schema',
  CreateSeqStmt: 'schema',
  AlterSeqStmt: 'schema',
  CreateFunctionStmt: 'schema',
  AlterFunctionStmt: 'schema',
  CreateTrigStmt: 'schema',
  RuleStmt: 'schema',
  CreateDomainStmt: 'schema',
  AlterDomainStmt: 'schema',
  CreateEnumStmt: 'schema',
  AlterEnumStmt: 'schema',
  CompositeTypeStmt: 'schema',
  CreateRangeStmt: 'schema',
  AlterTypeStmt: 'schema',
  DefineStmt: 'schema',
  CreateCastStmt: 'schema',
  CreateConversionStmt: 'schema',
  CreateOpClassStmt: 'schema',
  CreateOpFamilyStmt: 'schema',
  AlterOpFamilyStmt: 'schema',
  AlterOperatorStmt: 'schema',
  CreateStatsStmt: 'schema',
  AlterStatsStmt: 'schema',
  AlterTSConfigurationStmt: 'schema',
  AlterTSDictionaryStmt: 'schema',
  AlterCollationStmt: 'schema',
  CreateTransformStmt: 'schema',
  AlterObjectSchemaStmt: 'schema',
  AlterObjectDependsStmt: 'schema',
  AlterTableStmt: 'schema',
  RenameStmt: 'schema',
  CommentStmt: 'schema',
  DropStmt: 'schema',
  CreateForeignTableStmt: 'schema',
  ImportForeignSchemaStmt: 'admin',
  CreateAmStmt: 'admin',
  CreatePLangStmt: 'admin',
  CreateExtensionStmt: 'admin',
  AlterExtensionStmt: 'admin',
  AlterExtensionContentsStmt: 'admin',
  CreateEventTrigStmt: 'admin',
  AlterEventTrigStmt: 'admin',
  GrantStmt: 'admin',
  GrantRoleStmt: 'admin',
  AlterDefaultPrivilegesStmt: 'admin',
  AlterOwnerStmt: 'admin',
  CreateRoleStmt: 'admin',
  AlterRoleStmt: 'admin',
  AlterRoleSetStmt: 'admin',
  DropRoleStmt: 'admin',
  DropOwnedStmt: 'admin',
  ReassignOwnedStmt: 'admin',
  CreatePolicyStmt: 'admin',
  AlterPolicyStmt: 'admin',
  SecLabelStmt: 'admin',
  CreatedbStmt: 'admin',
  DropdbStmt: 'admin',
  AlterDatabaseStmt: 'admin',
  AlterDatabaseSetStmt: 'admin',
  AlterDatabaseRefreshCollStmt: 'admin',
  CreateTableSpaceStmt: 'admin',
  DropTableSpaceStmt: 'admin',
  AlterTableSpaceOptionsStmt: 'admin',
  AlterTableMoveAllStmt: 'admin',
  CreateFdwStmt: 'admin',
  AlterFdwStmt: 'admin',
  CreateForeignServerStmt: 'admin',
  AlterForeignServerStmt: 'admin',
  CreateUserMappingStmt: 'admin',
  AlterUserMappingStmt: 'admin',
  DropUserMappingStmt: 'admin',
  CreatePublicationStmt: 'admin',
  AlterPublicationStmt: 'admin',
  CreateSubscriptionStmt: 'admin',
  AlterSubscriptionStmt: 'admin',
  DropSubscriptionStmt: 'admin',
  AlterSystemStmt: 'admin',
  CheckPointStmt: 'admin',
  VacuumStmt: 'admin',
  ClusterStmt: 'admin',
  ReindexStmt: 'admin',
  ReplicaIdentityStmt: 'admin',
  TruncateStmt: 'delete',
  RefreshMatViewStmt: 'write',
  LockStmt: 'write',
  DoStmt: 'execute',
  CallStmt: 'execute',
  LoadStmt: 'execute',
  NotifyStmt: 'send',
  ListenStmt: 'send',
  UnlistenStmt: 'read',
  ConstraintsSetStmt: 'read',
  DiscardStmt: 'read',
  DeallocateStmt: 'read',
  ClosePortalStmt: 'read',
  VariableShowStmt: 'read',
};

/** DROP of these is about who may do what, or about the whole server. */
const ADMIN_OBJECTS: ReadonlySet<string> = new Set([
  'OBJECT_POLICY',
  'OBJECT_EXTENSION',
  'OBJECT_FDW',
  'OBJECT_FOREIGN_SERVER',
  'OBJECT_PUBLICATION',
  'OBJECT_EVENT_TRIGGER',
  'OBJECT_LANGUAGE',
  'OBJECT_ACCESS_METHOD',
  'OBJECT_ROLE',
  'OBJECT_DATABASE',
  'OBJECT_TABLESPACE',
]);

/** ALTER TABLE actions that change who sees what or switch protections off. */
const ADMIN_ACTIONS =
  /RowSecurity|ChangeOwner|DisableTrig|EnableTrig|EnableAlwaysTrig|EnableReplicaTrig|DisableRule|EnableRule|EnableAlwaysRule|EnableReplicaRule|ReplicaIdentity|SetLogged|SetUnLogged|SetTableSpace/;

export function utilityEffect(node: Node): Effect {
  const kind = kindOf(node);
  const alter = as(node, 'AlterTableStmt');
  if (alter?.cmds?.some((cmd) => ADMIN_ACTIONS.test(as(cmd, 'AlterTableCmd')?.subtype ?? ''))) return 'admin';
  const drop = as(node, 'DropStmt');
  if (drop && ADMIN_OBJECTS.has(drop.removeType ?? '')) return 'admin';
  const create = as(node, 'CreateFunctionStmt');
  if (create?.options?.some((option) => as(option, 'DefElem')?.defname === 'security' && as(as(option, 'DefElem')?.arg, 'Boolean')?.boolval)) return 'admin';
  const set = as(node, 'VariableSetStmt');
  if (set) return setEffect(set);
  return EFFECTS[kind] ?? 'unknown';
}

const VERBS: Readonly<Record<string, string>> = {
  CreateTableAsStmt: 'CREATE TABLE AS',
  ViewStmt: 'CREATE VIEW',
  CreateStmt: 'CREATE TABLE',
  IndexStmt: 'CREATE INDEX',
  CreateSeqStmt: 'CREATE SEQUENCE',
  AlterSeqStmt: 'ALTER SEQUENCE',
  CreateTrigStmt: 'CREATE TRIGGER',
  RuleStmt: 'CREATE RULE',
  CompositeTypeStmt: 'CREATE TYPE',
  CreateEnumStmt: 'CREATE TYPE',
  CreateRangeStmt: 'CREATE TYPE',
  AlterEnumStmt: 'ALTER TYPE',
  GrantRoleStmt: 'GRANT',
  AlterRoleSetStmt: 'ALTER ROLE',
  CreatedbStmt: 'CREATE DATABASE',
  DropdbStmt: 'DROP DATABASE',
  AlterDatabaseSetStmt: 'ALTER DATABASE',
  RefreshMatViewStmt: 'REFRESH MATERIALIZED VIEW',
  ClosePortalStmt: 'CLOSE',
  ConstraintsSetStmt: 'SET CONSTRAINTS',
  CheckPointStmt: 'CHECKPOINT',
  VariableShowStmt: 'SHOW',
  SecLabelStmt: 'SECURITY LABEL',
  CreatePLangStmt: 'CREATE LANGUAGE',
  CreateAmStmt: 'CREATE ACCESS METHOD',
  AlterObjectSchemaStmt: 'ALTER',
  AlterOwnerStmt: 'ALTER OWNER',
  CreateTableSpaceStmt: 'CREATE TABLESPACE',
  CreateStatsStmt: 'CREATE STATISTICS',
  CreateEventTrigStmt: 'CREATE EVENT TRIGGER',
  AlterEventTrigStmt: 'ALTER EVENT TRIGGER',
  DropTableSpaceStmt: 'DROP TABLESPACE',
};

/** The statement's verb in upper case: `CREATE TABLE`. */
export function verbOf(node: Node): string {
  const kind = kindOf(node);
  const fixed = VERBS[kind];
  if (fixed !== undefined) return fixed;
  const grant = as(node, 'GrantStmt');
  if (grant) return grant.is_grant ? 'GRANT' : 'REVOKE';
  const drop = as(node, 'DropStmt');
  if (drop) return `DROP ${(drop.removeType ?? '').replace('OBJECT_', '').replaceAll('_', ' ')}`.replace('MATVIEW', 'MATERIALIZED VIEW');
  const alter = as(node, 'AlterTableStmt');
  if (alter) return `ALTER ${(alter.objtype ?? 'OBJECT_TABLE').replace('OBJECT_', '').replaceAll('_', ' ')}`.replace('MATVIEW', 'MATERIALIZED VIEW');
  const define = as(node, 'DefineStmt');
  if (define) return `CREATE ${(define.kind ?? '').replace('OBJECT_', '').replaceAll('_', ' ')}`;
  const rename = as(node, 'RenameStmt');
  if (rename) return `ALTER ${(rename.renameType ?? '').replace('OBJECT_', '').replaceAll('_', ' ')}`;
  const vacuum = as(node, 'VacuumStmt');
  if (vacuum) return vacuum.is_vacuumcmd ? 'VACUUM' : 'ANALYZE';
  // CreateForeignServerStmt → CREATE FOREIGN SERVER
  return kind
    .replace(/Stmt$/, '')
    .replaceAll(/([a-z])([A-Z])/g, '$1 $2')
    .toUpperCase();
}
