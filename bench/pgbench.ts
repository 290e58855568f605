/** PostgreSQL's own load generator, where the machine has it. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { cpuMs } from './processes.ts';
import type { Way } from './stage.ts';

const PROGRAM = (process.env.PATH ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'pgbench'))
  .find(existsSync);

export interface Load {
  readonly tps: number;
  /** CPU time of the process in between, in microseconds a transaction; NaN where there is none or it cannot be told. */
  readonly cpuUs: number;
}

export const hasPgbench = PROGRAM !== undefined;

export async function fillPgbench(way: Way): Promise<void> {
  await pgbench(way, ['-i', '-q', '-s', '5']);
}

/** Point look-ups by eight clients. */
export async function selectOnly(way: Way, mode: 'simple' | 'prepared', seconds: number): Promise<Load> {
  const before = way.pid === undefined ? Number.NaN : cpuMs(way.pid);
  const output = await pgbench(way, ['-S', '-n', '-c', '8', '-j', '1', '-M', mode, '-T', String(seconds)]);
  const cpu = way.pid === undefined ? Number.NaN : cpuMs(way.pid) - before;
  const transactions = Number(/transactions actually processed: (\d+)/.exec(output)?.[1]);
  const tps = Number(/tps = ([\d.]+) \(without initial connection time\)/.exec(output)?.[1]);
  const failed = Number(/number of failed transactions: (\d+)/.exec(output)?.[1] ?? 0);
  if (!(tps > 0) || failed > 0) throw new Error(`pgbench through ${way.name} failed:\n${output}`);
  return { tps, cpuUs: (cpu * 1000) / transactions };
}

function pgbench({ database, password, port, user }: Way, args: readonly string[]): Promise<string> {
  if (PROGRAM === undefined) throw new Error('there is no pgbench here');
  const env = { ...process.env, PGHOST: '127.0.0.1', PGPORT: String(port), PGUSER: user, PGPASSWORD: password, PGSSLMODE: 'disable' };
  const child = spawn(PROGRAM, [...args, database], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve(output) : reject(new Error(`pgbench ${args.join(' ')} failed:\n${output}`))));
  });
}
