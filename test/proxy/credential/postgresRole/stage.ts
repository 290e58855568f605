/** A broker on a real server, and a way to log in as what it made, past everything else of ours. */
import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { Secret } from '../../../../contract/secret.ts';
import type { MaskKind } from '../../../../contract/verdict.ts';
import { type MintedRole, PostgresRoleBroker, type PostgresRoleBrokerOptions } from '../../../../proxy/credential/postgresRole/broker.ts';
import { connectAdmin } from '../../../../proxy/credential/postgresRole/connectAdmin.ts';
import { planOf } from '../../../../proxy/policy/masks.ts';
import type { PostgresConnection, TableGrant } from '../../../../proxy/policy/policy.ts';
import { closeBackend, openBackend } from '../../../../proxy/protocols/postgres/backend.ts';
import { ownQueries } from '../../../../proxy/protocols/postgres/ownQueries.ts';
import { loadCatalog } from '../../../../proxy/protocols/postgres/sql/catalog.ts';
import { PASSWORD, SENSITIVE, SUPERUSER, type TestDatabase } from '../../../support/postgres.ts';

export const grant = (privileges: Partial<Record<'select' | 'insert' | 'update' | 'delete', 'all' | readonly string[]>>): TableGrant =>
  new Map(Object.entries(privileges)) as TableGrant;

export interface StageOptions {
  readonly sensitive?: Readonly<Record<string, MaskKind>>;
  readonly grants?: Readonly<Record<string, TableGrant>>;
  readonly user?: string;
  readonly password?: string;
  readonly installation?: string;
  readonly ttlMs?: number;
  readonly broker?: Partial<PostgresRoleBrokerOptions>;
}

export interface LogLine {
  readonly event: string;
  readonly fields: unknown;
}

export interface Stage {
  readonly broker: PostgresRoleBroker;
  readonly log: LogLine[];
  /** Policy in force from now on. */
  sensitive: Readonly<Record<string, MaskKind>>;
  /** As after DDL. */
  stale(): void;
}

const signal = (): AbortSignal => AbortSignal.timeout(30_000);

function connectionTo(database: TestDatabase, user: string): PostgresConnection {
  return {
    name: 'shop',
    protocol: 'postgres',
    via: 'local',
    upstream: { host: database.host, port: database.port, database: database.database, user },
    tls: { mode: 'disable' },
    sensitive: new Map(),
  };
}

export function stageOf(database: TestDatabase, options: StageOptions = {}): Stage {
  const connection = connectionTo(database, options.user ?? SUPERUSER);
  const password = new Secret(options.password ?? PASSWORD);
  const log: LogLine[] = [];
  const write = (event: string, fields?: unknown): void => void log.push({ event, fields });
  let catalog: ReturnType<typeof loadCatalog> | undefined;
  let sensitive: Readonly<Record<string, MaskKind>> = options.sensitive ?? SENSITIVE;
  let plan = planOf(new Map(Object.entries(sensitive)), { detectors: new Map(), otherwise: 'redact' });
  const broker: PostgresRoleBroker = new PostgresRoleBroker({
    connect: () => connectAdmin(connection, password, signal()),
    catalog: () => {
      catalog ??= (async () => {
        const backend = await openBackend(connection, password, new Map(), signal());
        try {
          return await loadCatalog(ownQueries(backend), { standIns: broker.standIns });
        } finally {
          closeBackend(backend);
        }
      })();
      return catalog;
    },
    plan: () => plan,
    grants: options.grants && new Map(Object.entries(options.grants)),
    ttlMs: options.ttlMs ?? 60_000,
    connection: 'shop',
    database: database.database,
    installation: options.installation ?? randomUUID(),
    clock: { now: () => Date.now() },
    log: { info: write, warn: write, error: write },
    changed: () => {
      catalog = undefined;
    },
    ...options.broker,
  });
  return {
    broker,
    log,
    get sensitive() {
      return sensitive;
    },
    set sensitive(value) {
      sensitive = value;
      plan = planOf(new Map(Object.entries(value)), { detectors: new Map(), otherwise: 'redact' });
    },
    stale: () => {
      catalog = undefined;
    },
  };
}

/** Logs in as a minted role, straight to the server. */
export async function logIn(database: TestDatabase, role: MintedRole): Promise<Client> {
  const client = new Client({ host: database.host, port: database.port, database: database.database, user: role.user, password: role.password.reveal() });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** Names of all roles of ours. */
export async function rolesOf(database: TestDatabase): Promise<readonly string[]> {
  const admin = await database.direct();
  const { rows } = await admin.query<{ rolname: string }>(`select rolname from pg_roles where rolname like 'countersign%' order by 1`);
  await admin.end();
  return rows.map((row) => row.rolname);
}

export async function schemasOf(database: TestDatabase): Promise<readonly string[]> {
  const admin = await database.direct();
  const { rows } = await admin.query<{ nspname: string }>(`select nspname from pg_namespace where nspname like 'countersign%' order by 1`);
  await admin.end();
  return rows.map((row) => row.nspname);
}
