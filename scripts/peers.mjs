// The clients that tests put through the proxy and no npm package brings: psql, pgbench, psycopg with its own tests, JDBC.
// They come from Debian's packages where this is Debian and root; elsewhere those tests say that they were skipped.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './setup.mjs';

/** Must be what `test/peers/programs.ts` reads. */
const FETCHED = join(ROOT, 'node_modules', '.cache', 'countersign-peers');
const PACKAGES = { psql: 'postgresql-client', python3: 'python3-psycopg2', javac: 'default-jdk-headless', jdbc: 'libpostgresql-jdbc-java' };
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** Where psycopg's source is looked for besides this system's own release. */
const OTHER_RELEASE = 'trixie';

const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
const run = (program, args, options = {}) => spawnSync(program, args, { encoding: 'utf8', env, ...options });
const works = (program, ...args) => run(program, args).status === 0;
const codename = () => /^VERSION_CODENAME=(\w+)$/m.exec(existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '')?.[1];

/** @returns sentences about what could not be had; the tests that need it are skipped */
export function installPeers(say) {
  if (process.platform !== 'linux' || process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return [];
  const problems = [];
  let updated = false;
  const update = () => {
    if (!updated) run('apt-get', ['update', '-qq']);
    updated = true;
  };
  const wanted = [
    !works('psql', '--version') && PACKAGES.psql,
    !works('/usr/bin/python3', '-c', 'import psycopg2') && PACKAGES.python3,
    !works('javac', '-version') && PACKAGES.javac,
    !existsSync('/usr/share/java/postgresql.jar') && PACKAGES.jdbc,
  ].filter(Boolean);
  if (wanted.length > 0) {
    say(`Installing the clients that the tests use, from Debian’s packages (${wanted.join(', ')})…`);
    update();
    // One by one: what cannot be had must not take the others with it.
    for (const name of wanted) {
      if (run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', name]).status !== 0) problems.push(`${name} could not be installed.`);
    }
  }
  mkdirSync(FETCHED, { recursive: true });
  if (!hasPgbench()) {
    update();
    if (!unpackServer()) problems.push('pgbench could not be had.');
  }
  if (!existsSync(join(FETCHED, 'psycopg2', 'tests'))) {
    if (!fetchPsycopg()) problems.push('psycopg’s own tests could not be had.');
  }
  return problems;
}

function hasPgbench() {
  if (works('pgbench', '--version')) return true;
  return ['/usr/lib/postgresql', join(FETCHED, 'postgresql/usr/lib/postgresql')].some(
    (folder) => existsSync(folder) && readdirSync(folder).some((v) => existsSync(join(folder, v, 'bin', 'pgbench'))),
  );
}

/** pgbench is in the server's package. It is unpacked, not installed: installing it would start a server. */
function unpackServer() {
  const found = /^Depends: (postgresql-\d+)/m.exec(run('apt-cache', ['show', 'postgresql']).stdout ?? '')?.[1];
  if (!found) return false;
  return inFolder((folder) => {
    if (run('apt-get', ['download', '-qq', found], { cwd: folder }).status !== 0) return false;
    const [file] = readdirSync(folder).filter((name) => name.endsWith('.deb'));
    return file !== undefined && run('dpkg-deb', ['-x', join(folder, file), join(FETCHED, 'postgresql')]).status === 0;
  });
}

/** Where this system's own packages come from, security updates aside. */
function mirrorOfSystem() {
  const places = run('apt-get', ['indextargets', '--format', '$(REPO_URI)']).stdout ?? '';
  return places.split('\n').find((place) => place !== '' && !/security/.test(place));
}

/** The source package as its authors made it; apt-get checks its signature. The system's own list of sources stays as it is. */
function fetchPsycopg() {
  const own = codename();
  const mirror = mirrorOfSystem();
  return [...new Set([own, OTHER_RELEASE])].some(
    (release) =>
      release !== undefined &&
      mirror !== undefined &&
      inFolder((folder) => {
        mkdirSync(join(folder, 'lists', 'partial'), { recursive: true });
        writeFileSync(join(folder, 'sources.list'), `deb-src [signed-by=${KEYRING}] ${mirror} ${release} main\n`);
        const options = { sourcelist: join(folder, 'sources.list'), sourceparts: '-' };
        const flags = [
          ...Object.entries(options).flatMap(([key, value]) => ['-o', `Dir::Etc::${key}=${value}`]),
          '-o',
          `Dir::State::lists=${join(folder, 'lists')}`,
        ];
        if (run('apt-get', [...flags, 'update', '-qq']).status !== 0) return false;
        run('apt-get', [...flags, 'source', '--download-only', '--tar-only', '-qq', 'psycopg2'], { cwd: folder });
        const tarball = readdirSync(folder).find((name) => name.endsWith('.orig.tar.gz'));
        if (tarball === undefined || run('tar', ['xzf', tarball], { cwd: folder }).status !== 0) return false;
        const source = readdirSync(folder).find((name) => existsSync(join(folder, name, 'tests', '__init__.py')));
        if (source === undefined) return false;
        rmSync(join(FETCHED, 'psycopg2'), { recursive: true, force: true });
        renameSync(join(folder, source), join(FETCHED, 'psycopg2'));
        return true;
      }),
  );
}

function inFolder(work) {
  const folder = mkdtempSync(join(FETCHED, 'new-'));
  try {
    return work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
