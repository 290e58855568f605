/** Where the clients are that no npm package brings; `npm test` installs them from Debian's packages where it can. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Kept between runs, beside the dependencies: `scripts/peers.mjs` fills it. */
const FETCHED = fileURLToPath(new URL('../../node_modules/.cache/countersign-peers', import.meta.url));
const DEBIAN = '/usr/lib/postgresql';

function works(program: string, ...args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

/** A program of PostgreSQL's, on the PATH or where Debian keeps those of each version. */
function postgresProgram(name: string): string | undefined {
  const versions = [DEBIAN, join(FETCHED, 'postgresql', DEBIAN)].flatMap((folder) =>
    existsSync(folder) ? readdirSync(folder).map((v) => join(folder, v)) : [],
  );
  return [name, ...versions.map((folder) => join(folder, 'bin', name))].find((program) => works(program, '--version'));
}

export const PSQL = postgresProgram('psql');
export const PGBENCH = postgresProgram('pgbench');
/** Debian's own Python: the packages that apt-get installs are that one's. */
export const PYTHON = ['/usr/bin/python3', 'python3'].find((program) => works(program, '-c', 'import psycopg2'));
export const PGJDBC = ['/usr/share/java/postgresql.jar'].find((jar) => existsSync(jar));
export const JAVA = works('java', '-version') && works('javac', '-version') ? 'java' : undefined;
/** psycopg's source with its tests, from Debian's source package. */
export const PSYCOPG_SUITE = [join(FETCHED, 'psycopg2')].find((folder) => existsSync(join(folder, 'tests', '__init__.py')));

/** Why a test is skipped; false where what it needs is here. */
export function missing(what: string, ...found: readonly (string | undefined)[]): string | false {
  return found.every((path) => path !== undefined) ? false : `${what} is not on this machine, and Debian's packages could not be had`;
}
