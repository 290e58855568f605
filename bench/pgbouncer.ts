/** PgBouncer, the peer that a PostgreSQL proxy is measured against, where the machine has it (Debian: `pgbouncer`). */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PROGRAM = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer', '/opt/homebrew/bin/pgbouncer'].find(existsSync);

export interface PgBouncer {
  readonly pid: number;
  readonly port: number;
  stop(): Promise<void>;
}

export async function startPgBouncer(
  upstream: { readonly port: number; readonly database: string; readonly user: string; readonly password: string },
  port: number,
): Promise<PgBouncer | undefined> {
  if (!PROGRAM) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'countersign-pgbouncer-'));
  const users = join(folder, 'users.txt');
  writeFileSync(users, `"${upstream.user}" "${upstream.password}"\n`);
  const file = join(folder, 'pgbouncer.ini');
  writeFileSync(
    file,
    `[databases]
${upstream.database} = host=127.0.0.1 port=${upstream.port} dbname=${upstream.database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = session
max_client_conn = 500
default_pool_size = 300
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
`,
  );
  // It refuses to run as root, and must read its files as whoever it runs as.
  const root = process.getuid?.() === 0;
  if (root) spawnSync('chown', ['-R', 'nobody', folder]);
  const child = spawn(PROGRAM, ['-q', ...(root ? ['-u', 'nobody'] : []), file], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  for (let attempt = 0; !(await accepts(port)); attempt++) {
    if (child.exitCode !== null || attempt > 100) throw new Error(`PgBouncer did not start: ${log}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    pid: child.pid ?? 0,
    port,
    stop: async () => {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    }).once('error', () => resolve(false));
  });
}
