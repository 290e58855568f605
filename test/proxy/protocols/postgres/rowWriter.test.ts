import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { createSessionMasking, TokenVault } from '../../../../proxy/masking/masking.ts';
import { type Action, replace } from '../../../../proxy/protocols/postgres/columnMask.ts';
import { FrameWriter } from '../../../../proxy/protocols/postgres/frames.ts';
import { RowWriter } from '../../../../proxy/protocols/postgres/rowWriter.ts';

const masking = () =>
  createSessionMasking({
    plan: { columns: new Map(), detectors: new Map(), otherwise: 'redact' },
    hashKey: Buffer.alloc(32, 7),
    vault: new TokenVault(Buffer.alloc(32, 8)),
  });

type Row = readonly (string | null)[];

function frame(row: Row): Buffer {
  const writer = new FrameWriter().begin(0x44).int16(row.length);
  for (const value of row) writer.field(value);
  return writer.end().take();
}

const label = 'people.email';
const masked = (mask: 'partial' | 'redact' | 'token', form: Action['form'], format: number, typeOid: number): Action => ({
  kind: 'mask',
  mask,
  label,
  by: 'column',
  form,
  format,
  typeOid,
});
const action = fc.constantFrom<Action | undefined>(
  undefined,
  masked('partial', 'text', 0, 25),
  masked('redact', 'text', 1, 25),
  masked('token', 'other', 0, 23),
  masked('partial', 'json', 0, 114),
  masked('redact', 'other', 1, 23),
  { kind: 'scan', form: 'text', format: 0 },
  { kind: 'scan', form: 'json', format: 0 },
);
const value = fc.option(
  fc.oneof(fc.string({ maxLength: 12 }), fc.emailAddress(), fc.string({ minLength: 300, maxLength: 700 }), fc.constant('4111111111111111')),
);

/** Field by field, as the plain way has it. */
function expected(rows: readonly Row[], actions: readonly (Action | undefined)[]): { readonly frames: Buffer; readonly masked: number } {
  const session = masking();
  let count = 0;
  const frames = rows.map((row) =>
    frame(
      row.map((text, i) => {
        const chosen = actions[i];
        if (text === null || text === '' || !chosen) return text;
        const bytes = Buffer.from(text);
        const replaced = replace(chosen, bytes, 0, bytes.length, session, false);
        count += replaced?.findings.length ?? 0;
        return replaced ? replaced.value : text;
      }),
    ),
  );
  return { frames: Buffer.concat(frames), masked: count };
}

describe('rows written anew', () => {
  it('hold what each value alone would be replaced with, chunk after chunk', () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 5 })
          .chain((columns) =>
            fc.tuple(
              fc.array(action, { minLength: columns, maxLength: columns }),
              fc.array(fc.array(fc.array(value, { minLength: columns, maxLength: columns }), { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 4 }),
              fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
            ),
          ),
        ([actions, chunks, free]) => {
          const writer = new RowWriter(actions, masking());
          const sent = chunks.map((rows, i) => {
            const source = Buffer.concat([Buffer.from('x'), ...rows.map(frame)]);
            if (!writer.rewrite(source, 1, source.length, free[i])) return source.subarray(1);
            const written = writer.target.subarray(writer.from, writer.to);
            // Once its place is free, what lay there has been sent.
            return free.includes(true, i + 1) ? Buffer.from(written) : written;
          });
          const wanted = expected(chunks.flat(), actions);
          // Compared at the end: a later chunk must not have written over an earlier one.
          assert.deepEqual(Buffer.concat(sent), wanted.frames);
          assert.equal(writer.masked, wanted.masked);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('refuses a row whose lengths do not fit', () => {
    const whole = frame(['abc', 'def']);
    const writer = () => new RowWriter([masked('redact', 'text', 0, 25), masked('redact', 'text', 0, 25)], masking());
    for (const length of [4, 100, -2, 0x7fffffff]) {
      const broken = Buffer.from(whole);
      broken.writeInt32BE(length, 14);
      assert.throws(() => writer().rewrite(broken, 0, broken.length), { code: 'protocol-violation' });
    }
  });
});
