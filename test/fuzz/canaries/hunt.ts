/**
 * Looks for a statement by which a masked value gets out: calls of everything that the server has, and chains of statements
 * that nobody thought of. What it finds is told with the seed that makes it again.
 */
import { chainOf } from './chains.ts';
import { chanceOf } from './chance.ts';
import { examine, type Finding, shrink } from './examine.ts';
import { overmasked } from './overmasked.ts';
import { shownByServer, sweep } from './sweep.ts';
import { openWorlds, type Protocol, type Step, type Worlds } from './worlds.ts';

export interface Hunt {
  readonly seed: number;
  readonly until: () => boolean;
  /** Of the calls, every so manieth. */
  readonly stride?: number;
  readonly chains?: number;
  /** Of the chains, those that are one query: nothing is moved, so that what is hidden for nothing can be counted. */
  readonly only?: 'reads' | 'moves';
  readonly say: (line: string) => void;
}

export interface Hunted {
  statements: number;
  answered: number;
  failed: number;
  readonly findings: Finding[];
  /** How often what was hidden for nothing, with one example. */
  readonly hidden: Map<string, { count: number; readonly example: string }>;
}

/** Chains that are made before any of them runs. */
const ROUND = 60;
const PROTOCOLS: readonly Protocol[] = ['simple', 'text', 'binary'];

export async function hunt(worlds: Worlds, options: Hunt): Promise<Hunted> {
  const result: Hunted = { statements: 0, answered: 0, failed: 0, findings: [], hidden: new Map() };
  if (options.stride !== undefined) await calls(worlds, options, options.stride, result);
  await chains(worlds, options, result);
  return result;
}

function report({ say }: Hunt, result: Hunted, finding: Finding, where: string): void {
  result.findings.push(finding);
  say(
    `${finding.kind}, ${where}\n  ${JSON.stringify({ steps: finding.steps.map(({ protocol, sql }) => (protocol === 'simple' ? sql : [protocol, sql])) })}\n  ${finding.seen.replaceAll(/[^\P{Cc}\n]/gu, '.')}`,
  );
}

/** `npm run fuzz -- canaries [--minutes N] [--seed S] [--chains N] [--calls every-Nth] [--reads | --moves]` */
export async function huntFor(minutes: number, options: Pick<Hunt, 'seed' | 'chains' | 'stride' | 'only'>): Promise<boolean> {
  const worlds = await openWorlds();
  const end = Date.now() + minutes * 60_000;
  console.log(`canaries: seed ${options.seed}`);
  const result = await hunt(worlds, { ...options, until: () => Date.now() > end, say: (line) => console.log(line) });
  const hidden = [...result.hidden].toSorted(([, a], [, b]) => b.count - a.count).map(([what, { count, example }]) => `  ${count} × ${what}\n      ${example}`);
  if (hidden.length > 0) console.log(`hidden though it gives nothing away:\n${hidden.join('\n')}`);
  const faults = await worlds.log();
  if (faults.length > 0) console.log('faults of ours:', faults.slice(0, 5));
  console.log(
    `canaries: ${result.statements} statements, of which ${result.answered} gave rows and ${result.failed} failed; ${result.findings.length} findings`,
  );
  await worlds.stop();
  await worlds.stopServer();
  return result.findings.length === 0 && faults.length === 0;
}

/** One query that changes nothing: it may run beside others. */
function reads(steps: readonly Step[]): boolean {
  return steps.length === 1 && !/\b(insert|update|delete|merge|set_config)\b/.test(steps[0]?.sql ?? '');
}

/** In all lanes at once, as long as there is something to do. */
async function inLanes(worlds: Worlds, work: (lane: Worlds) => Promise<boolean>): Promise<void> {
  await Promise.all(
    worlds.lanes.map(async (lane) => {
      while (await work(lane));
    }),
  );
}

async function calls(worlds: Worlds, options: Hunt, stride: number, result: Hunted): Promise<void> {
  const chance = chanceOf(options.seed);
  const [client] = worlds.direct;
  if (!client) return;
  const all = await sweep(client, chance.pick);
  const known = new Set<string>();
  let next = options.seed % stride;
  await inLanes(worlds, async (lane) => {
    const at = next;
    const call = all[at];
    if (!call || options.until()) return false;
    next += stride;
    result.statements++;
    const finding = await examine(lane, [{ sql: call.sql, protocol: PROTOCOLS[at % PROTOCOLS.length] ?? 'simple' }], call.asks, result);
    if (finding && !known.has(call.of)) report(options, result, finding, `call ${at} of seed ${options.seed}`);
    if (finding) known.add(call.of);
    return true;
  });
  for (const sql of stride > 100 ? [] : await shownByServer(client)) {
    result.statements++;
    const finding = options.until() ? undefined : await examine(worlds, [{ sql, protocol: 'simple' }], true);
    if (finding) report(options, result, finding, 'what the server shows of itself');
  }
}

/** Each has the seed of its own: those that only read go side by side. */
async function chains(worlds: Worlds, options: Hunt, result: Hunted): Promise<void> {
  const end = options.seed + (options.chains ?? Number.MAX_SAFE_INTEGER / 2);
  for (let from = options.seed; from < end && !options.until(); from += ROUND) {
    const round = Array.from({ length: Math.min(ROUND, end - from) }, (_, i) => ({ seed: from + i, steps: chainOf(chanceOf(from + i), from + i) }));
    const queue = options.only === 'moves' ? [] : round.filter(({ steps }) => reads(steps));
    await inLanes(worlds, async (lane) => {
      const one = queue.pop();
      if (!one || options.until()) return false;
      await chain(lane, options, one.seed, one.steps, result);
      return true;
    });
    for (const { seed, steps } of round) {
      if (reads(steps) || options.only === 'reads') continue;
      if (options.until()) return;
      await chain(worlds, options, seed, steps, result);
      await worlds.tidy();
    }
  }
}

async function chain(worlds: Worlds, options: Hunt, seed: number, steps: readonly Step[], result: Hunted): Promise<void> {
  result.statements += steps.length;
  const finding = await examine(worlds, steps, false, result);
  if (finding) report(options, result, await shrink(worlds, finding, false), `chain ${seed}`);
  const [only] = steps;
  if (!reads(steps) || !only || options.only !== 'reads') return;
  const why = await overmasked(worlds, only);
  if (why === undefined) return;
  const key = why.replaceAll(/"[^"]*"|\d+/g, '…').slice(0, 120);
  const before = result.hidden.get(key);
  if (before) before.count++;
  else result.hidden.set(key, { count: 1, example: only.sql });
}
