import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { Problem } from '../../../contract/problem.ts';
import type { EntryBody } from '../../../contract/recording.ts';
import { canonical } from '../../../proxy/recording/canonical.ts';
import { entryText } from '../../../proxy/recording/entryText.ts';
import { textOf } from '../../../proxy/recording/utf8.ts';

type Intent = Extract<EntryBody, { type: 'operation.intent' }>;
type Outcome = Extract<EntryBody, { type: 'operation.outcome' }>;

const words = fc.string({ unit: 'grapheme' });
const facts = fc.record({
  effect: fc.constantFrom('read' as const, 'write' as const),
  verb: words,
  targets: fc.array(fc.record({ kind: words, name: words }), { maxLength: 3 }),
  bulk: fc.boolean(),
  sensitive: fc.array(words, { maxLength: 2 }),
  headline: words,
  notes: fc.array(words, { maxLength: 2 }),
});
const verdict = fc.record(
  {
    decision: fc.constantFrom('allow' as const, 'ask' as const),
    rule: fc.record({ id: words, layer: fc.constant('user' as const) }),
    because: words,
    policyVersion: words,
    approvers: fc.array(words, { maxLength: 2 }),
    quorum: fc.nat(),
    expiresMs: fc.nat(),
    preview: fc.constant('none' as const),
    say: words,
  },
  { requiredKeys: ['decision', 'rule', 'because', 'policyVersion', 'approvers', 'quorum', 'expiresMs', 'preview'] },
);
const intents: fc.Arbitrary<Intent> = fc.record(
  {
    verdict,
    type: fc.constant('operation.intent' as const),
    params: fc.array(fc.option(words), { maxLength: 4 }),
    payload: words,
    operation: words,
    facts,
    digest: words,
  },
  { requiredKeys: ['verdict', 'type', 'payload', 'operation', 'facts', 'digest'] },
);
const findings = fc.array(fc.record({ label: words, by: words, mask: fc.constant('redact' as const), at: fc.tuple(fc.nat(), fc.nat()), shape: words }), {
  maxLength: 3,
});
const answers = fc.oneof(
  fc.record({
    kind: fc.constant('rows' as const),
    columns: fc.array(words, { maxLength: 3 }),
    rows: fc.array(fc.array(fc.option(words), { maxLength: 3 }), { maxLength: 3 }),
    truncated: fc.boolean(),
    findings: fc.array(fc.record({ label: words, by: words, mask: fc.constant('redact' as const), at: fc.tuple(fc.nat(), fc.nat()), shape: words }), {
      maxLength: 2,
    }),
  }),
  fc.record({
    kind: fc.constant('text' as const),
    text: fc.oneof(
      words,
      words.map((text) => text.repeat(300)),
    ),
    truncated: fc.boolean(),
    findings,
  }),
);
const outcomes: fc.Arbitrary<Outcome> = fc.record(
  {
    type: fc.constant('operation.outcome' as const),
    tookMs: fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }),
    rows: fc.nat(),
    outcome: fc.constantFrom('done' as const, 'failed' as const),
    operation: words,
    masked: fc.nat(),
    error: fc.record({ code: words, message: words }),
    answer: answers,
  },
  { requiredKeys: ['type', 'tookMs', 'outcome', 'operation', 'masked'] },
);

describe('the text of an entry', () => {
  it('is the canonical text, whatever is in it', () => {
    fc.assert(
      fc.property(fc.oneof(intents, outcomes), (body) => assert.equal(textOf(entryText(body)), canonical(structuredClone(body)))),
      { numRuns: 300 },
    );
  });

  it('is the canonical text of what is undefined or unknown, too', () => {
    const outcome: Outcome = { type: 'operation.outcome', operation: 'op_1', outcome: 'done', masked: 0, tookMs: 1 };
    const odd = { ...outcome, aside: 1 } as Outcome;
    assert.equal(textOf(entryText(odd)), canonical(odd));
    const empty = { ...outcome, rows: undefined, error: undefined, answer: undefined };
    assert.equal(textOf(entryText(empty)), canonical(outcome));
  });

  it('holds nothing that canonical JSON cannot hold', () => {
    const intent = fc.sample(intents, 1)[0];
    assert.ok(intent);
    const refused = (e: unknown) => e instanceof Problem && e.code === 'not-canonical';
    for (const bad of [{ payload: '\ud800' }, { params: ['\udc00'] }, { operation: '\ud800' }]) assert.throws(() => entryText({ ...intent, ...bad }), refused);
    const text = `${'a'.repeat(2_000)}\udc00`;
    const answer = { kind: 'text' as const, text, truncated: false, findings: [] };
    assert.throws(() => entryText({ type: 'operation.outcome', operation: 'op_1', outcome: 'done', masked: 0, tookMs: 1, answer }), refused);
  });
});
