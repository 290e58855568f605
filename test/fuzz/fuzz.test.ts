/** Every parser of PostgreSQL's protocol and language before any bytes, a few of each; `npm run fuzz` goes on for an hour. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { statements } from '../corpus/read.ts';
import { front, startupPacket } from '../proxy/protocols/postgres/proxied.ts';
import { TARGETS, type TargetName, targetOf } from './targets.ts';

const CORPUS = join(import.meta.dirname, 'corpus');
/** Inputs of each target: work and not time, so that a slow machine neither fails nor looks at less. Those that are dear get fewer. */
const RUNS = 1500;
const FEWER: Partial<Readonly<Record<TargetName, number>>> = { answers: 300, session: 300 };
/** The same inputs every time: to find others is for `npm run fuzz`, and what it finds becomes a file of the corpus. */
const SEED = 1;

const texts = statements();
const sql = fc.constantFrom(...texts);
const name = fc.constantFrom('', 'a', 'b');

/** A statement with something cut out, doubled or put in. */
const mutated = fc.tuple(sql, sql, fc.nat(400), fc.nat(40), fc.string({ unit: 'binary', maxLength: 6 })).map(([one, other, at, length, more]) => {
  const from = at % (one.length + 1);
  return one.slice(0, from) + (length % 3 === 0 ? other.slice(0, length) : more) + one.slice(from + (length % 2 === 0 ? length : 0));
});

/** Messages of a client in any order, most of them well-formed. */
const frame = fc.oneof(
  { weight: 4, arbitrary: mutated.map((text) => front.query(text.replaceAll('\0', ''))) },
  { weight: 4, arbitrary: fc.tuple(name, mutated).map(([as, text]) => front.parse(as, text.replaceAll('\0', ''))) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(name, name, fc.array(fc.option(fc.string({ maxLength: 8 }), { nil: null }), { maxLength: 3 }))
      .map(([a, b, params]) => front.bind(a, b, params)),
  },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom('S' as const, 'P' as const), name).map(([kind, as]) => front.describe(kind, as)) },
  { weight: 4, arbitrary: name.map((as) => front.execute(as)) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom('S' as const, 'P' as const), name).map(([kind, as]) => front.close(kind, as)) },
  { weight: 5, arbitrary: fc.constantFrom(front.sync(), front.flush(), front.functionCall(), front.copyDone(), front.copyData('1\n')) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)) },
);
const pipeline = fc.array(frame, { maxLength: 14 }).map((frames) => Buffer.concat(frames));
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const text = fc.oneof(mutated, fc.string({ unit: 'binary', maxLength: 200 })).map((value) => Buffer.from(value));
const greeting = fc.oneof(
  bytes,
  fc.dictionary(fc.string({ maxLength: 20 }), fc.string({ maxLength: 30 }), { maxKeys: 5 }).map((parameters) => startupPacket(parameters)),
);

const INPUTS: Readonly<Record<TargetName, fc.Arbitrary<Buffer>>> = {
  frames: fc.oneof(pipeline, bytes),
  messages: fc.oneof(bytes, pipeline),
  startup: greeting,
  lexer: text,
  classifier: text,
  rows: fc.oneof(bytes, text),
  copy: fc.oneof(bytes, text),
  answers: fc.oneof(bytes, text, pipeline),
  session: fc.oneof({ weight: 9, arbitrary: pipeline }, { weight: 1, arbitrary: bytes }),
};

describe('whatever bytes come', { timeout: 300_000 }, () => {
  for (const target of TARGETS) {
    it(`${target}: nothing breaks, hangs, or comes through that may not`, async () => {
      const run = await targetOf(target);
      const kept = join(CORPUS, target);
      for (const file of existsSync(kept) ? readdirSync(kept) : []) await run(readFileSync(join(kept, file)));
      await fc.assert(
        fc.asyncProperty(INPUTS[target], async (data) => run(data)),
        { numRuns: FEWER[target] ?? RUNS, seed: SEED },
      );
    });
  }
});
