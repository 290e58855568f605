/** What the proxy costs a PostgreSQL client, beside a direct connection and beside PgBouncer, in one run. */
import { Client } from 'pg';
import { type Figure, interleaved, median, quantile } from './figures.ts';
import { fillPgbench, hasPgbench, type Load, selectOnly } from './pgbench.ts';
import { residentMb } from './processes.ts';
import { PEOPLE, type Stage, setStage, type Way } from './stage.ts';
import { timedLookups, WireClient } from './wire.ts';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
/** How long one load lasts, in seconds. */
const LOAD_SECONDS = 3;
/** Load that is not counted, in seconds: a proxy runs for days, and its code is compiled in the first of them. All get the same. */
const WARM_UP_SECONDS = 8;
/** How often the large result is read. */
const ROW_ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);
/** Connections opened and closed in one round. */
const LOGINS = 20;
/** What the proxy may take through all of it: nothing grows with a result. */
const MOST_MEMORY_MB = 400;
const ALL_PEOPLE = 'SELECT id, city, email, ssn, card FROM people';

export async function benchPostgres(): Promise<Figure[]> {
  const only = process.argv[3];
  const stage = await setStage();
  try {
    const parts: Readonly<Record<string, (stage: Stage) => Promise<Figure[]>>> = { load: benchLoad, rows: benchRows, point: benchLookup, login: benchLogin };
    const figures: Figure[] = [];
    for (const [name, part] of Object.entries(parts)) if (only === undefined || only === name) figures.push(...(await part(stage)));
    figures.push({ name: 'proxy: most memory resident', value: residentMb(stage.proxy.pid ?? 0, true), unit: 'MB', atMost: MOST_MEMORY_MB });
    return figures;
  } finally {
    await stage.stop();
  }
}

async function benchLoad(stage: Stage): Promise<Figure[]> {
  const { direct, pgbouncer, proxy } = stage;
  if (!hasPgbench) {
    console.log('pgbench is not on the PATH, so nothing is measured under load. It comes with PostgreSQL (Debian: postgresql-contrib).');
    return [];
  }
  await fillPgbench(direct);
  if (!pgbouncer) console.log('PgBouncer is not on this machine, so there is nothing to compare load with. Debian: apt-get install pgbouncer.');
  const figures: Figure[] = [];
  for (const mode of ['simple', 'prepared'] as const) {
    const loads = new Map<Way, Load[]>();
    const ways = [direct, ...(pgbouncer ? [pgbouncer] : []), proxy];
    for (const way of ways) await selectOnly(way, mode, WARM_UP_SECONDS);
    for (let round = 0; round < ROUNDS; round++) {
      for (const way of ways) loads.set(way, [...(loads.get(way) ?? []), await selectOnly(way, mode, LOAD_SECONDS)]);
    }
    const tps = (way: Way): number => median((loads.get(way) ?? []).map((load) => load.tps));
    const cpu = (way: Way): number => median((loads.get(way) ?? []).map((load) => load.cpuUs));
    const name = `pgbench -S -c 8 -M ${mode}`;
    for (const way of ways) figures.push({ name: `${name}: ${way.name}`, value: tps(way), unit: 'tps' });
    for (const way of ways.slice(1)) figures.push({ name: `${name}: CPU of ${way.name}`, value: cpu(way), unit: 'µs/transaction' });
    if (!pgbouncer) continue;
    figures.push(
      { name: `${name}: transactions beside PgBouncer`, value: tps(proxy) / tps(pgbouncer), unit: '×', atLeast: 0.9 },
      { name: `${name}: CPU beside PgBouncer`, value: cpu(proxy) / cpu(pgbouncer), unit: '×', atMost: 1.6 },
    );
  }
  return figures;
}

async function benchRows(stage: Stage): Promise<Figure[]> {
  const direct = await WireClient.connect(stage.direct);
  const proxy = await WireClient.connect(stage.proxy);
  const time = (client: WireClient, sql: string) => async (): Promise<number> => {
    const from = performance.now();
    await client.query(sql);
    return performance.now() - from;
  };
  const figures: Figure[] = [];
  const compare = async (what: string, sql: string, rounds: number): Promise<{ direct: number; proxy: number }> => {
    const contenders = { direct: time(direct, sql), proxy: time(proxy, sql) };
    await interleaved(Math.max(3, Math.ceil(rounds / 4)), contenders);
    const samples = await interleaved(rounds, contenders);
    const medians = { direct: median(samples.direct), proxy: median(samples.proxy) };
    for (const name of ['direct', 'proxy'] as const) figures.push({ name: `${what}: ${name}`, value: medians[name], unit: 'ms' });
    return medians;
  };
  const many = '500,000 rows, 3 of 5 columns masked';
  const all = await compare(many, ALL_PEOPLE, ROW_ROUNDS);
  figures.push({ name: `${many}: speed beside direct`, value: all.direct / all.proxy, unit: '×', atLeast: 0.85 });
  const few = '5,000 rows, 3 of 5 columns masked';
  const some = await compare(few, `${ALL_PEOPLE} WHERE id <= 5000`, 60);
  figures.push({ name: `${few}: time beside direct`, value: some.proxy / some.direct, unit: '×', atMost: 1.5 });
  await Promise.all([direct.close(), proxy.close()]);
  return figures;
}

async function benchLookup({ direct, proxy }: Stage): Promise<Figure[]> {
  const names = ['direct', 'proxy'] as const;
  const samples = await timedLookups({ direct, proxy }, ROUNDS, PEOPLE);
  const what = 'one connection, point SELECT';
  return [
    ...names.map((name) => ({ name: `${what}: ${name}, median`, value: median(samples[name]), unit: 'ms' })),
    ...names.map((name) => ({ name: `${what}: ${name}, p99`, value: quantile(samples[name], 0.99), unit: 'ms' })),
    { name: `${what}: added, median`, value: median(samples.proxy) - median(samples.direct), unit: 'ms', atMost: 0.15 },
    { name: `${what}: added, p99`, value: quantile(samples.proxy, 0.99) - quantile(samples.direct, 0.99), unit: 'ms', atMost: 1 },
  ];
}

async function benchLogin(stage: Stage): Promise<Figure[]> {
  const time =
    ({ database, password, port, user }: Way) =>
    async (): Promise<number> => {
      const taken: number[] = [];
      for (let i = 0; i < LOGINS; i++) {
        const client = new Client({ host: '127.0.0.1', port, database, user, password });
        const from = performance.now();
        await client.connect();
        taken.push(performance.now() - from);
        await client.end();
      }
      return median(taken);
    };
  const contenders = { direct: time(stage.direct), proxy: time(stage.proxy) };
  await interleaved(1, contenders);
  const samples = await interleaved(ROUNDS, contenders);
  const direct = median(samples.direct);
  const proxy = median(samples.proxy);
  return [
    { name: 'session set-up: direct', value: direct, unit: 'ms' },
    { name: 'session set-up: proxy', value: proxy, unit: 'ms' },
    { name: 'session set-up: added', value: proxy - direct, unit: 'ms', atMost: 30 },
  ];
}
