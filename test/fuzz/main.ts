/**
 * A coverage-guided fuzzer: keeps whatever reaches code that nothing before it has reached, and goes on from there. V8 itself
 * counts the blocks that ran, so that the sources run as they are and nothing native is needed (the prebuilt parts of the usual
 * fuzzer for Node want a newer C library than some systems we support have).
 *   node test/fuzz/main.ts <target|all> [--minutes N]
 * `canaries` is of another kind: statements through real proxies to a real PostgreSQL (canaries/hunt.ts).
 *   node test/fuzz/main.ts canaries [--minutes N] [--seed S] [--chains N] [--calls every-Nth] [--reads | --moves]
 */
import { createHash, randomInt } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type Profiler, Session } from 'node:inspector/promises';
import { join } from 'node:path';
import { statements } from '../corpus/read.ts';
import { front, startupPacket } from '../proxy/protocols/postgres/proxied.ts';
import { huntFor } from './canaries/hunt.ts';
import { TARGETS, type TargetName, targetOf } from './targets.ts';

const ROOT = join(import.meta.dirname, '../..');
const OURS = '/proxy/';
/** Inputs between two looks at the coverage: each look costs as much as some hundred inputs. */
const BATCH = 200;
const MAX_INPUT = 4096;
/** Longest that one input may take, in milliseconds. */
const HANG_MS = 30_000;
const REPORT_MS = 30_000;
const DEFAULT_MINUTES = 60;

const pick = <T>(from: readonly T[]): T => from[randomInt(from.length)] as T;

function mutate(input: Buffer, other: Buffer): Buffer {
  let bytes = Buffer.from(input);
  for (let i = 1 + randomInt(4); i > 0; i--) {
    const at = randomInt(bytes.length + 1);
    const length = randomInt(24);
    switch (randomInt(6)) {
      case 0:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(randomInt(other.length + 1)).subarray(0, 64), bytes.subarray(at)]);
        break;
      case 2:
        bytes = Buffer.concat([bytes, bytes.subarray(at, at + length)]);
        break;
      case 3:
        if (at < bytes.length) bytes[at] = randomInt(256);
        break;
      case 4:
        if (at < bytes.length) bytes[at] = pick([0, 1, 0x7f, 0x80, 0xff, 0x27, 0x22, 0x24, 0x2f, 0x5c, 0x0a, 0x09]);
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(0, at), other]);
    }
  }
  return bytes.subarray(0, MAX_INPUT);
}

/** The blocks that ran since the last look, each with the order of magnitude of its count. */
async function reached(session: Session): Promise<Set<string>> {
  const { result } = await session.post('Profiler.takePreciseCoverage');
  const blocks = new Set<string>();
  for (const { functions, scriptId, url } of result as Profiler.ScriptCoverage[]) {
    if (!url.includes(OURS) || url.includes('/test/')) continue;
    for (const { ranges } of functions)
      for (const { count, endOffset, startOffset } of ranges) if (count > 0) blocks.add(`${scriptId}:${startOffset}-${endOffset}`);
  }
  return blocks;
}

function seeds(target: TargetName): Buffer[] {
  const kept = join(ROOT, 'test', 'fuzz', 'corpus', target);
  const found = existsSync(kept) ? readdirSync(kept).map((file) => readFileSync(join(kept, file))) : [];
  const texts = statements();
  if (target === 'startup') return [...found, startupPacket({ user: 'a', database: 'b', options: '-c x=y' }), Buffer.from('0000000804d2162f', 'hex')];
  if (target === 'lexer' || target === 'classifier' || target === 'copy' || target === 'rows') return [...found, ...texts.map((text) => Buffer.from(text))];
  // Each is cut at every byte: few to begin with.
  if (target === 'answers') return [...found, ...texts.slice(0, 30).map((text) => Buffer.from(text))];
  const pipelines = texts
    .slice(0, 60)
    .map((sql) => Buffer.concat([front.parse('a', sql), front.bind('', 'a', ['1']), front.describe('P', ''), front.execute(), front.sync(), front.query(sql)]));
  return [...found, ...pipelines, Buffer.concat([front.copyData('1\t2\n'), front.copyDone(), front.flush(), front.close('S', 'a'), front.functionCall()])];
}

async function fuzz(target: TargetName, minutes: number): Promise<boolean> {
  const run = await targetOf(target);
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const known = new Set<string>();
  const corpus: Buffer[] = [];
  let runs = 0;
  let failed: Buffer | undefined;
  const attempt = async (data: Buffer): Promise<boolean> => {
    runs++;
    // A hang is a finding: the input is on disk before the process is ended.
    const watch = setTimeout(() => {
      keep(target, data, new Error(`took more than ${HANG_MS / 1000} s`));
      process.exit(1);
    }, HANG_MS);
    try {
      await run(data);
      return true;
    } catch (cause) {
      failed = data;
      keep(target, data, cause);
      return false;
    } finally {
      clearTimeout(watch);
    }
  };
  const learn = async (data: Buffer): Promise<void> => {
    const fresh = [...(await reached(session))].filter((block) => !known.has(block));
    if (fresh.length > 0) corpus.push(data);
    for (const block of fresh) known.add(block);
  };
  for (const seed of seeds(target)) {
    if (!(await attempt(seed))) return false;
    await learn(seed);
  }
  const until = Date.now() + minutes * 60_000;
  let told = Date.now();
  while (Date.now() < until) {
    const batch = Array.from({ length: BATCH }, () => mutate(pick(corpus), pick(corpus)));
    const started = Date.now();
    const tried: Buffer[] = [];
    for (const data of batch) {
      if (!(await attempt(data))) break;
      tried.push(data);
      if (Date.now() > until || Date.now() - started > REPORT_MS) break;
    }
    if (failed) return false;
    const fresh = [...(await reached(session))].filter((block) => !known.has(block));
    // Something in the batch reached new code: which, is found by running each again.
    if (fresh.length > 0) {
      for (const data of tried) {
        await attempt(data);
        await learn(data);
      }
      for (const block of fresh) known.add(block);
    }
    if (Date.now() - told > REPORT_MS) {
      told = Date.now();
      console.log(`${target}: ${runs} inputs, ${known.size} blocks, ${corpus.length} kept`);
    }
  }
  session.disconnect();
  console.log(`${target}: ${runs} inputs in ${minutes} min, ${known.size} blocks reached, ${corpus.length} inputs kept, nothing broke`);
  return true;
}

/** A crasher becomes a regression test by lying there. */
function keep(target: TargetName, data: Buffer, cause: unknown): void {
  const folder = join(ROOT, 'test', 'fuzz', 'corpus', target);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, createHash('sha256').update(data).digest('hex').slice(0, 16));
  writeFileSync(file, data);
  console.error(`${target} broke on ${file}:`, cause);
}

const [wanted = '', ...rest] = process.argv.slice(2);
/** The number behind an option. */
const option = (name: string): number | undefined => (rest.includes(name) ? Number(rest[rest.indexOf(name) + 1]) : undefined);
const chosen = wanted === 'all' ? TARGETS : TARGETS.filter((name) => name === wanted);
const minutes = option('--minutes') ?? DEFAULT_MINUTES;
if (wanted === 'canaries' && minutes > 0) {
  const chains = option('--chains');
  const good = await huntFor(minutes, {
    seed: option('--seed') ?? randomInt(1_000_000_000),
    stride: option('--calls') ?? 1,
    ...(chains !== undefined && { chains }),
    ...(rest.includes('--reads') && { only: 'reads' as const }),
    ...(rest.includes('--moves') && { only: 'moves' as const }),
  });
  process.exit(good ? 0 : 1);
}
if (chosen.length === 0 || !(minutes > 0)) {
  console.error(`usage: npm run fuzz -- <${TARGETS.join('|')}|canaries|all> [--minutes N]   (all: the time is shared out)`);
  process.exit(2);
}
let good = true;
for (const target of chosen) good = (await fuzz(target, minutes / chosen.length)) && good;
process.exit(good ? 0 : 1);
