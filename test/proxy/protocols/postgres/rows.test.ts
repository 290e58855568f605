import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { MAX_ANSWER_ROWS } from '../../../../contract/response.ts';
import { createSessionMasking, TokenVault } from '../../../../proxy/masking/masking.ts';
import { shownColumns } from '../../../../proxy/protocols/postgres/collect.ts';
import type { Action } from '../../../../proxy/protocols/postgres/columnMask.ts';
import { FrameWriter } from '../../../../proxy/protocols/postgres/frames.ts';
import type { Column } from '../../../../proxy/protocols/postgres/messages.ts';
import { Outbox } from '../../../../proxy/protocols/postgres/outbox.ts';
import type { ResultPlan } from '../../../../proxy/protocols/postgres/resultPlans.ts';
import { Rows } from '../../../../proxy/protocols/postgres/rows.ts';

type Row = readonly (string | null)[];

const NAMES = ['id', 'email', 'note'];
const ACTIONS: readonly (Action | undefined)[] = [
  undefined,
  { kind: 'mask', mask: 'token', label: 'people.email', by: 'column', form: 'text', format: 0, typeOid: 25 },
  { kind: 'scan', form: 'text', format: 0 },
];

const masking = () =>
  createSessionMasking({
    plan: { columns: new Map(), detectors: new Map(), otherwise: 'redact' },
    hashKey: Buffer.alloc(32, 7),
    vault: new TokenVault(Buffer.alloc(32, 8)),
  });

const plan: ResultPlan = {
  columns: NAMES.map((name): Column => ({ name, tableOid: 0, attnum: 0, typeOid: 25, format: 0 })),
  actions: ACTIONS,
  names: shownColumns(NAMES.map((name) => masking().scrub(name).text)),
  last: 3,
  masks: true,
};

function frame(row: Row): Buffer {
  const writer = new FrameWriter().begin(0x44).int16(row.length);
  for (const value of row) writer.field(value);
  return writer.end().take();
}

/** @param sizes how many rows come in each chunk; the rest come in one */
function through(rows: readonly Row[], sizes: readonly number[]) {
  const out = new Outbox();
  const passed = new Rows(plan, masking());
  const sent: Buffer[] = [];
  const left = [...rows];
  for (const size of [...sizes, rows.length]) {
    const chunk = Buffer.concat(left.splice(0, size).map(frame));
    if (chunk.length === 0) continue;
    passed.send(chunk, 0, chunk.length, out);
    sent.push(Buffer.from(out.take()));
    // The chunk is read over: what is still to be shown must not lie in it.
    chunk.fill(0);
  }
  const { answer } = passed;
  const { short } = answer;
  const counted = passed.masked;
  const shown = { answer: structuredClone(answer.answer()), raw: structuredClone(answer.raw()) };
  assert.equal(passed.masked, counted, 'what is shown counts nothing twice');
  return { sent: Buffer.concat(sent), masked: counted, short, ...shown };
}

const text = fc.oneof(fc.constant('card 4111111111111111'), fc.string({ maxLength: 20 }));
const row = fc
  .tuple(fc.integer(), fc.option(fc.emailAddress(), { nil: null }), fc.option(text, { nil: null }))
  .map(([id, email, note]): Row => [String(id), email, note]);

describe('the rows of a result', () => {
  it('are sent, counted and shown alike, whatever the chunks that they come in', () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 30 }), fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 8 }), (rows, sizes) => {
        assert.deepEqual(
          through(rows, sizes),
          through(
            rows,
            rows.map(() => 1),
          ),
        );
      }),
      { numRuns: 300 },
    );
  });

  it('show a person the first of them and say that there were more', () => {
    const rows = Array.from({ length: MAX_ANSWER_ROWS + 50 }, (_, i): Row => [String(i), `a${i}@mail.example`, null]);
    for (const sizes of [[], [3], [MAX_ANSWER_ROWS], [MAX_ANSWER_ROWS - 2, 1, 20], rows.map(() => 1)]) {
      const { answer, masked } = through(rows, sizes);
      assert.ok(answer.kind === 'rows' && answer.truncated);
      assert.deepEqual(
        answer.rows.map(([id]) => id),
        rows.slice(0, MAX_ANSWER_ROWS).map(([id]) => id),
      );
      assert.doesNotMatch(JSON.stringify(answer), /mail\.example/);
      assert.equal(masked, rows.length);
    }
  });

  it('show no more than what a person can be given, however long they are', () => {
    const rows = Array.from({ length: 60 }, (_, i): Row => [String(i), 'x'.repeat(100), 'y '.repeat(1500)]);
    for (const sizes of [[], [2], [30], rows.map(() => 1)]) {
      const { answer } = through(rows, sizes);
      assert.ok(answer.kind === 'rows' && answer.truncated);
      assert.ok(answer.rows.length > 5 && answer.rows.length < 15, `${answer.rows.length} rows`);
    }
  });

  it('are not shown where they cannot be read, which fails nothing', () => {
    const rows = Array.from({ length: 9 }, (_, i): Row => [String(i), `a${i}@mail.example`, 'note']);
    const frames = rows.map(frame);
    // One column more than the plan knows, and longer than its row.
    const wrong = new FrameWriter().begin(0x44).int16(4).field('9').field('b@mail.example').field('note').int32(50).end().take();
    const chunk = Buffer.concat([...frames, wrong]);
    const passed = new Rows(plan, masking());
    passed.send(chunk, 0, chunk.length, new Outbox());
    const answer = passed.answer.answer();
    assert.ok(answer.kind === 'rows' && answer.truncated);
    assert.equal(answer.rows.length, rows.length);
    assert.doesNotMatch(JSON.stringify(answer), /mail\.example/);
  });
});
