/**
 * What a server sends, cut in two at every byte: the client must get the same whatever the chunks were, and never the value
 * of a masked column. A stream that the proxy refuses is refused however it is cut; before that, no more comes through of
 * one than of another but for where it ends.
 */
import assert from 'node:assert/strict';
import { Problem } from '../../contract/problem.ts';
import type { SessionMasking } from '../../proxy/masking/masking.ts';
import type { MaskPlan } from '../../proxy/policy/policy.ts';
import { Answers } from '../../proxy/protocols/postgres/answers.ts';
import { Flight } from '../../proxy/protocols/postgres/flight.ts';
import { FrameWriter, IDLE } from '../../proxy/protocols/postgres/frames.ts';
import { Outbox } from '../../proxy/protocols/postgres/outbox.ts';
import type { Catalog } from '../../proxy/protocols/postgres/sql/catalog.ts';
import type { StatementInfo } from '../../proxy/protocols/postgres/sql/classifier.ts';

/** Most places at which one input is cut. */
const MAX_CUTS = 400;
const SECRET = Buffer.from('s3cret-of-the-masked-column');
const TEXT_OID = 25;

/** A result of two columns of which the first is sensitive, as the classifier would have it. */
const STATEMENT = {
  outputs: [{ kind: 'mask', mask: 'redact', label: 'customers.email' }, { kind: 'clean' }],
  facts: { effect: 'read' },
  touchesSensitive: true,
  flows: [],
} as unknown as StatementInfo;

function frame(type: string, fill: (writer: FrameWriter) => void): Buffer {
  const writer = new FrameWriter().begin(type.charCodeAt(0));
  fill(writer);
  return writer.end().take();
}

const DESCRIPTION = frame('T', (writer) => {
  writer.int16(2);
  for (const name of ['email', 'note'])
    writer
      .bytes(Buffer.from(`${name}\0`))
      .int32(0)
      .int16(0)
      .int32(TEXT_OID)
      .int16(-1)
      .int32(-1)
      .int16(0);
});
const row = (note: Buffer): Buffer =>
  frame('D', (writer) => {
    writer.int16(2);
    for (const value of [SECRET, note]) writer.int32(value.length).bytes(value);
  });
const COMPLETE = frame('C', (writer) => writer.bytes(Buffer.from('SELECT 2\0')));
const READY = frame('Z', (writer) => writer.bytes(Buffer.from([IDLE])));

/** Any bytes, as a value and between well-formed messages. The last bit decides which. */
function streamOf(data: Buffer): { readonly bytes: Buffer; readonly wellFormed: boolean } {
  const good = [DESCRIPTION, row(data), row(Buffer.alloc(0)), COMPLETE, READY];
  if ((data.at(-1) ?? 0) % 2 === 0) return { bytes: Buffer.concat(good), wellFormed: true };
  return { bytes: Buffer.concat([DESCRIPTION, row(data.subarray(0, 8)), data, row(data), COMPLETE, READY]), wellFormed: false };
}

interface Got {
  readonly bytes: Buffer;
  readonly refused: boolean;
  readonly outstanding: number;
}

async function through(chunks: readonly Buffer[], masking: SessionMasking, catalog: Catalog, plan: MaskPlan): Promise<Got> {
  const out = new Outbox();
  const state: { failure?: unknown } = {};
  const nothing = (): void => {};
  const answers: Answers = new Answers(
    {
      progress: nothing,
      segmentFailed: nothing,
      completed: nothing,
      ready: nothing,
      parameter: nothing,
      newerCatalog: () => Promise.resolve(catalog),
      failed: (cause) => {
        state.failure = cause;
      },
      reach: () => 'sensitive',
    },
    masking,
    out,
  );
  answers.expect({
    kind: 'query',
    flight: new Flight(
      () => {},
      [STATEMENT],
      { catalog, plan, searchPath: ['public'] },
      'sensitive',
      () => '',
    ),
  });
  try {
    for (const chunk of chunks) {
      // The socket's buffer is used again: what must be kept has to be copied.
      const lent = Buffer.from(chunk);
      answers.push(lent);
      while (answers.waiting && state.failure === undefined) await new Promise((resolve) => setImmediate(resolve));
    }
  } catch (cause) {
    state.failure = cause;
  }
  if (state.failure !== undefined && !(state.failure instanceof Problem)) throw state.failure;
  const { outstanding } = answers;
  answers.abandon('lost', '08006', 'over');
  return { bytes: out.take(), refused: state.failure !== undefined, outstanding };
}

export function answersTarget(masking: SessionMasking, catalog: Catalog, plan: MaskPlan): (data: Buffer) => Promise<void> {
  return async (data) => {
    const { bytes, wellFormed } = streamOf(data);
    const whole = await through([bytes], masking, catalog, plan);
    assert.ok(!whole.bytes.includes(SECRET), 'a masked value came through');
    if (wellFormed) {
      assert.ok(!whole.refused && whole.outstanding === 0, 'a good answer was not read to its end');
      // What a detector finds in a column that nobody named is masked, too.
      assert.ok(data.length === 0 || masking.suspicious(data) || whole.bytes.includes(data), 'what is not masked was changed');
    }
    const step = Math.max(1, Math.ceil(bytes.length / MAX_CUTS));
    for (let at = 1; at < bytes.length; at += step) {
      const cut = await through([bytes.subarray(0, at), bytes.subarray(at)], masking, catalog, plan);
      assert.ok(!cut.bytes.includes(SECRET), `a masked value came through, cut at ${at}`);
      assert.equal(cut.refused, whole.refused, `cut at ${at}`);
      if (!whole.refused) {
        assert.equal(cut.outstanding, whole.outstanding, `cut at ${at}`);
        assert.ok(cut.bytes.equals(whole.bytes), `the client got other bytes, cut at ${at}`);
      } else {
        const shorter = Math.min(cut.bytes.length, whole.bytes.length);
        assert.ok(cut.bytes.subarray(0, shorter).equals(whole.bytes.subarray(0, shorter)), `the client got other bytes before the end, cut at ${at}`);
      }
    }
  };
}
