import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { DETECTORS } from '../../../proxy/masking/detectors/index.ts';
import { createSessionMasking, maskIn, UNREAD, UNREAD_TEXT } from '../../../proxy/masking/masking.ts';
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

  it('is left out whole, and said to be, where there is too much of it to look through at once', () => {
    const masking = createSessionMasking({
      plan: { columns: new Map(), detectors: new Map([['email', 'partial']]), otherwise: 'redact' },
      hashKey: new Uint8Array(32),
    });
    const { findings, text } = masking.scrub('ann@ex.org '.repeat(50_000));
    assert.equal(text, UNREAD_TEXT);
    assert.deepEqual(findings, [{ label: UNREAD, by: UNREAD, mask: 'redact', at: [0, text.length], shape: '' }]);
    assert.equal(masking.scrub(text).findings.length, 0);
    assert.equal(maskIn(text), 'withheld');
    // What an export of an ordinary size takes is far from it.
    const rows = masking.scrub(textOf(ORDINARY.find(({ name }) => name === 'rows with addresses') ?? assert.fail(), 1_000_000));
    assert.ok(rows.findings.length > 9_000);
  });

  it('has the same found in it, piece by piece, as at once', () => {
    const masking = createSessionMasking({
      plan: { columns: new Map(), detectors: new Map([['email', 'partial']]), otherwise: 'redact' },
      hashKey: new Uint8Array(32),
    });
    for (const shape of [...ORDINARY, ...HOSTILE.filter((_, n) => n % 3 === 0)]) {
      const text = `${textOf(shape, 32_760)} ann@ex.org ${textOf(shape, 1_000)}`;
      let pieces = '';
      let found = 0;
      for (const piece of masking.pieces(text)) {
        pieces += piece.text;
        found += piece.findings.length;
      }
      const whole = masking.scrub(text);
      assert.deepEqual([pieces === whole.text, found], [true, whole.findings.length], shape.name);
    }
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
