/**
 * What the proxy costs an MCP client, with policy, masking of a 10 KB result and recording on: beside the same server direct,
 * over HTTP and over stdio, and beside another gateway on the same work, in one run.
 *
 * The budgets are of calls that read. A call that may do more is on disk, as asked, before its server gets it, so that no crash leaves a
 * deed without its line: it takes as long as the disk takes, and its figures stand without a budget.
 */
import { type Figure, median, quantile } from './figures.ts';
import type { McpClient, Tool } from './mcpClient.ts';
import { type McpStage, setMcpStage, type Way } from './mcpStage.ts';
import { residentMb } from './processes.ts';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
/** Calls of one client one after another in a round, after as many that only warm up. */
const CALLS = 300;
/** Clients at once, and how long they go on, in milliseconds, where it is throughput that is measured. */
const CLIENTS = 8;
const LOAD_MS = 3_000;
/** Load that is not counted, in milliseconds: a proxy runs for days, and its code is compiled in the first thousands of calls. All get the same. */
const WARM_UP_MS = 8_000;
/** Calls a second, and for how long, in milliseconds, where they come whether or not the last is answered. */
const RATE = 60;
const RATE_MS = 4_000;

export async function benchMcp(): Promise<Figure[]> {
  const only = process.argv[3];
  const stage = await setMcpStage();
  try {
    await check(stage);
    const figures: Figure[] = [];
    for (const transport of ['http', 'stdio'] as const) {
      if (only !== undefined && only !== transport) continue;
      const { direct, proxy } = stage[transport];
      figures.push(
        ...compared(`${transport}, first calls of a proxy just started`, [direct, proxy], await latencies([direct, proxy], 'rows', 0)).map(withoutBudget),
      );
      for (const way of [direct, proxy]) await load(way, [WARM_UP_MS]);
      figures.push(
        ...compared(`${transport}, one call after another`, [direct, proxy], await latencies([direct, proxy], 'rows')),
        ...compared(`${transport}, calls that are on disk first`, [direct, proxy], await latencies([direct, proxy], 'enter')).map(withoutBudget),
        ...(await benchRate(transport, [direct, proxy])),
        ...(await benchLoad(transport, [direct, proxy])),
      );
    }
    if (only === undefined || only === 'peer') figures.push(...(await benchPeer(stage)));
    figures.push({ name: 'proxy: most memory resident', value: residentMb(stage.pid, true), unit: 'MB' });
    return figures;
  } finally {
    await stage.stop();
  }
}

/** What is measured is masked one way and as it was the other. */
async function check(stage: McpStage): Promise<void> {
  for (const { direct, proxy } of [stage.http, stage.stdio]) {
    const [one, other] = [await direct.connect(), await proxy.connect()];
    const [raw, masked] = [await one.call(1), await other.call(1)];
    if (!raw.includes('4111 1111') || masked.includes('4111 1111') || masked.length < 8_000)
      throw new Error(`the proxy does not mask what is measured: ${masked.slice(0, 300)}`);
    one.close();
    other.close();
  }
}

function withoutBudget({ name, value, unit }: Figure): Figure {
  return { name, value, unit };
}

/** How long each call took, in milliseconds, by way, one after another and the ways in turn. @param rounds after one that only warms up; 0: that one */
async function latencies(ways: readonly Way[], tool: Tool, rounds = ROUNDS): Promise<number[][]> {
  const clients = await Promise.all(ways.map((way) => way.connect()));
  const samples = ways.map(() => [] as number[]);
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < CALLS; i++) {
      for (const [w, client] of clients.entries()) {
        const from = performance.now();
        await client.call(i, tool);
        if (round > 0 || rounds === 0) samples[w]?.push(performance.now() - from);
      }
    }
  }
  for (const client of clients) client.close();
  return samples;
}

async function benchRate(transport: string, ways: readonly Way[]): Promise<Figure[]> {
  const samples = ways.map(() => [] as number[]);
  for (let round = 0; round < Math.max(1, ROUNDS - 2); round++) {
    for (const [w, way] of ways.entries()) {
      const client = await way.connect();
      for (let i = 0; i < 50; i++) await client.call(i);
      samples[w]?.push(...(await atRate(client)));
      client.close();
    }
  }
  return compared(`${transport}, ${RATE} calls a second`, ways, samples);
}

/** How long each call took from when it was due. */
async function atRate(client: McpClient): Promise<number[]> {
  const taken: number[] = [];
  const calls: Promise<void>[] = [];
  const began = performance.now();
  for (let i = 0; i < (RATE * RATE_MS) / 1000; i++) {
    const due = began + (i * 1000) / RATE;
    const wait = due - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    calls.push(client.call(i).then(() => void taken.push(performance.now() - Math.max(due, began))));
  }
  await Promise.all(calls);
  return taken;
}

async function benchLoad(transport: string, ways: readonly Way[]): Promise<Figure[]> {
  const rates = await throughput(ways);
  const [direct = Number.NaN, proxy = Number.NaN] = rates;
  const what = `${transport}, ${CLIENTS} clients at once`;
  return [
    ...ways.map((way, w) => ({ name: `${what}: ${way.name}`, value: rates[w] ?? Number.NaN, unit: 'calls/s' })),
    { name: `${what}: throughput beside direct`, value: proxy / direct, unit: '×', atLeast: 0.5 },
  ];
}

async function benchPeer({ bridge }: McpStage): Promise<Figure[]> {
  const ways = [bridge.peer, bridge.proxy];
  const samples = await latencies(ways, 'rows');
  const rates = await throughput(ways);
  const what = 'HTTP to stdio';
  return ways.flatMap((way, w) => [
    { name: `${what}: ${way.name}, median`, value: median(samples[w] ?? []), unit: 'ms' },
    { name: `${what}: ${way.name}, p99`, value: quantile(samples[w] ?? [], 0.99), unit: 'ms' },
    { name: `${what}, ${CLIENTS} clients at once: ${way.name}`, value: rates[w] ?? Number.NaN, unit: 'calls/s' },
  ]);
}

/** Calls a second over several clients, by way; the median of the rounds, of which the first only warms up. */
async function throughput(ways: readonly Way[]): Promise<number[]> {
  const counted = Array.from({ length: Math.max(1, ROUNDS - 2) }, () => LOAD_MS);
  const medians: number[] = [];
  for (const way of ways) medians.push(median((await load(way, [LOAD_MS / 3, ...counted])).slice(1)));
  return medians;
}

/** @param rounds how long each lasts, in milliseconds @returns calls a second over several clients in each */
async function load(way: Way, rounds: readonly number[]): Promise<number[]> {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => way.connect()));
  const rates: number[] = [];
  for (const ms of rounds) {
    const began = performance.now();
    let calls = 0;
    await Promise.all(
      clients.map(async (client) => {
        while (performance.now() - began < ms) {
          await client.call(calls);
          calls++;
        }
      }),
    );
    rates.push((calls * 1000) / (performance.now() - began));
  }
  for (const client of clients) client.close();
  return rates;
}

function compared(what: string, ways: readonly Way[], samples: readonly (readonly number[])[]): Figure[] {
  const at = (w: number, q: number): number => quantile(samples[w] ?? [], q);
  return [
    ...ways.map((way, w) => ({ name: `${what}: ${way.name}, median`, value: at(w, 0.5), unit: 'ms' })),
    ...ways.map((way, w) => ({ name: `${what}: ${way.name}, p99`, value: at(w, 0.99), unit: 'ms' })),
    { name: `${what}: added, median`, value: at(1, 0.5) - at(0, 0.5), unit: 'ms', atMost: 1 },
    { name: `${what}: added, p99`, value: at(1, 0.99) - at(0, 0.99), unit: 'ms', atMost: 5 },
  ];
}
