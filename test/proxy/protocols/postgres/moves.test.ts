/**
 * Every line of `test/corpus/moves.jsonl`, statement by statement, in a transaction, in one text and in one pipeline: values
 * that are found nowhere else are moved, and may not come out where they went. To add one, write a line.
 */
import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import { corpusLines } from '../../../corpus/read.ts';
import { Canaries } from '../../../faults/canaries.ts';
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts';
import { ALLOW_ALL, front, type Proxied, proxied, type RawClient } from './proxied.ts';

interface Line {
  readonly before?: string;
  readonly steps?: readonly string[];
  /** Looked at once the transaction is over, by a session of its own. */
  readonly after?: string;
}

const MODES = ['one by one', 'in a transaction', 'in one text', 'in one pipeline'] as const;
const lines = corpusLines<Line>('moves.jsonl').filter((line) => line.steps !== undefined);

const PEOPLE = `create table customers (id int primary key, name text, ssn text, city text);
insert into customers values (1, 'Ann', 'xylograph-vermilion-1', 'Rome'), (2, 'Bob', 'xylograph-vermilion-2', 'Oslo');`;
const canaries = new Canaries([], ['xylograph-vermilion-1', 'xylograph-vermilion-2']);

const numbered = (text: string, line: number, mode: number): string => text.replaceAll('@', String(1000 + line * 10 + mode));

suite('the corpus of moves', { timeout: 600_000 }, () => {
  let p: Proxied;
  let database: TestDatabase;
  let answered = 0;
  before(async () => {
    const all = MODES.flatMap((_, mode) => lines.flatMap((line, i) => (line.before === undefined ? [] : [numbered(line.before, i, mode)])));
    database = await testDatabase([PEOPLE, ...all].join(';\n'));
    p = await proxied(ALLOW_ALL, { database, sensitive: { 'customers.ssn': 'redact' } });
  });
  after(() => p.stop());

  async function run(raw: RawClient, steps: readonly string[], mode: (typeof MODES)[number]): Promise<void> {
    const send = async (...parts: readonly Buffer[]): Promise<void> => {
      raw.send(...parts);
      await raw.until('Z');
    };
    if (mode === 'in one text') return send(front.query(steps.join('; ')));
    // A name that means something else by now ends the session: as good as a refusal.
    if (mode === 'in one pipeline')
      return send(...steps.flatMap((sql) => [front.parse('', sql), front.bind('', ''), front.execute()]), front.sync()).catch(() => {});
    for (const sql of mode === 'one by one' ? steps : ['begin', ...steps, 'commit']) await send(front.query(sql));
  }

  for (const [at, mode] of MODES.entries()) {
    it(`stays masked where it went: ${mode}`, async () => {
      for (const [i, line] of lines.entries()) {
        const steps = (line.steps ?? []).map((sql) => numbered(sql, i, at));
        const sessions = [{ raw: await p.raw(), steps, mode }];
        if (line.after !== undefined) sessions.push({ raw: await p.raw(), steps: [numbered(line.after, i, at)], mode: 'one by one' });
        for (const one of sessions) {
          const from = one.raw.received.length;
          await run(one.raw, one.steps, one.mode);
          const got = one.raw.received.slice(from);
          if (got.some(({ type }) => type === 'D')) answered++;
          assert.deepEqual(canaries.in(Buffer.concat(got.map(({ body }) => body))), [], `${mode}: ${one.steps.join('; ')}`);
        }
        for (const { raw } of sessions) raw.stream.destroy();
      }
    });
  }

  it('gave rows often enough for this to mean anything, and left no value in a record', async () => {
    assert.ok(answered > lines.length, `${answered} of ${lines.length * MODES.length}`);
    assert.deepEqual(canaries.in(await p.t.written()), []);
  });
});
