import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { DETECTORS } from '../../../proxy/masking/detectors/index.ts';
import { createSessionMasking } from '../../../proxy/masking/masking.ts';
import { Scanner } from '../../../proxy/masking/scanner.ts';
import { HOSTILE, ORDINARY, textOf } from '../../support/hostileText.ts';

/** What hostile text may cost beside prose of the same length. It was thousands of times as much once. */
const MOST = 150;
const LENGTH = 20_000;

/** Processor time of looking through a text for the first time, in microseconds for each character. */
function cost(text: string): number {
  const masking = createSessionMasking({ plan: { columns: new Map(), detectors: new Map(), otherwise: 'redact' }, hashKey: new Uint8Array(32) });
  const before = process.cpuUsage();
  masking.scrub(text);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / text.length;
}

describe('text that is made to be dear', () => {
  it('costs no more than what is found in it', () => {
    const prose = cost(textOf(ORDINARY[0] ?? HOSTILE[0] ?? assert.fail(), 2_000_000));
    // Once more where it was too much: something else may have run in between.
    const isDear = (text: string): boolean => cost(text) > MOST * prose && cost(text) > MOST * prose && cost(text) > MOST * prose;
    const dear = HOSTILE.filter((shape) => isDear(textOf(shape, LENGTH)));
    assert.deepEqual(dear, []);
  });

  /** Written before the detectors were made to look at nothing twice. */
  it('has the same found in it as when each detector looked again at every place', () => {
    const scanner = new Scanner(DETECTORS);
    const lines = readFileSync(new URL('../../corpus/hostileText.jsonl', import.meta.url), 'utf8')
      .trim()
      .split('\n');
    assert.ok(lines.length > 300);
    for (const line of lines) {
      const { text, found } = JSON.parse(line) as { text: string; found: readonly string[] };
      const { hits } = scanner.scan(text, 0, true);
      assert.deepEqual(
        hits.map(({ start, end, detector, remainder }) => `${start}-${end} ${detector.id}${remainder ? ' rest' : ''}`),
        found,
        JSON.stringify(text),
      );
    }
  });
});
