/** A real PostgreSQL with the schema that the corpus speaks of. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { freePort } from '../../../../../demo/freePort.ts';
import { SUPERUSER } from '../../../../../demo/postgres.ts';
import type { MaskPlan } from '../../../../../proxy/policy/policy.ts';
import { type Catalog, loadCatalog } from '../../../../../proxy/protocols/postgres/sql/catalog.ts';
import type { SqlSettings } from '../../../../../proxy/protocols/postgres/sql/classifier.ts';
import { startCluster } from '../../../../support/cluster.ts';

export interface TestServer {
  connect(): Promise<Client>;
  catalog(known?: Catalog): Promise<Catalog>;
  stop(): Promise<void>;
}

/** What is sensitive in the corpus's schema. */
export const PLAN: MaskPlan = {
  columns: new Map([
    ['public.customers.email', 'partial'],
    ['public.customers.ssn', 'redact'],
    ['public.customers.card', 'token'],
    ['hr.people.salary', 'hash'],
    ['public.events.body', 'redact'],
  ]),
  detectors: new Map(),
  otherwise: 'redact',
};

export const SETTINGS: SqlSettings = { searchPath: ['$user', 'public'], standardConformingStrings: true };

const SCHEMA = new URL('../../../../corpus/sqlSchema.sql', import.meta.url);

export async function startTestServer(): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-sql-'));
  const port = await freePort();
  const server = await startCluster({ folder, port, password: 'test', settings: ['fsync=off'] });
  const connect = async (): Promise<Client> => {
    const client = new Client({ host: '127.0.0.1', port, user: SUPERUSER, password: 'test', database: 'postgres' });
    client.on('error', () => {});
    await client.connect();
    return client;
  };
  const admin = await connect();
  await admin.query(readFileSync(SCHEMA, 'utf8'));
  return {
    connect,
    catalog: (known) =>
      loadCatalog(
        async (sql) =>
          (await admin.query<(string | null)[]>({ text: sql, rowMode: 'array', types: { getTypeParser: () => (text: string | null) => text } as never })).rows,
        undefined,
        known,
      ),
    stop: async () => {
      await admin.end();
      await server.stop('immediate');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
