/** The two stores that a gateway runs on, for tests that must hold on both. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Database } from '../../gateway/store/database.ts';
import { openEmbedded } from '../../gateway/store/embedded.ts';
import { openPostgres } from '../../gateway/store/postgres.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import { PASSWORD, SUPERUSER, testDatabase } from '../support/postgres.ts';
import { fromTemplate, versionOf } from '../support/template.ts';

export const quiet: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-gateway-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Lays a new embedded store into a folder: to make one takes four seconds of a processor, to copy it a tenth of one. */
export async function layEmbedded(folder: string): Promise<string> {
  await fromTemplate(
    {
      name: 'embedded',
      inputs: [versionOf('@electric-sql/pglite'), readFileSync(resolve(import.meta.dirname, '../../gateway/store/embedded.ts'), 'utf8')],
      make: async (made) => {
        await (await openEmbedded(made)).close();
        return join(made, 'store');
      },
    },
    join(folder, 'store'),
  );
  return folder;
}

export async function postgresUrl(): Promise<string> {
  const { port, database } = await testDatabase();
  return `postgres://${SUPERUSER}:${PASSWORD}@127.0.0.1:${port}/${database}`;
}

export const STORES: readonly { readonly name: string; readonly open: () => Promise<Database> }[] = [
  { name: 'PostgreSQL', open: async () => openPostgres({ url: await postgresUrl(), log: quiet }) },
  { name: 'the embedded store', open: async () => openEmbedded(await layEmbedded(temporaryFolder())) },
];
