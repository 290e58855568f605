import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { createSessionMasking } from '../../../proxy/masking/masking.ts';
import { isLong, putTogether, quotedBytes } from '../../../proxy/recording/quoted.ts';

/** As whoever reads the bytes sees it: the platform quotes half a pair, and puts it together with its other half. */
function isRight(whole: string): void {
  for (let time = 0; time < 2; time++) {
    const { bytes, wellFormed } = quotedBytes(whole);
    assert.equal(bytes.toString(), JSON.stringify(whole));
    assert.equal(wellFormed, whole.isWellFormed());
  }
}

describe('a long text in quotes', () => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.constantFrom('', '"', '\\', '\\ud', '\n', '\0', '\ud83d', '\ude00', '‹email·1·ab›', '••••1111', '\u2028', 'é'),
  );

  it('is what JSON makes of it, whatever it was put together from and wherever its pieces end', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(piece, fc.constantFrom(1, 1, 200)), { minLength: 1, maxLength: 12 }), fc.boolean(), (parts, filled) => {
        const pieces = [...parts.map(([text, times]) => text.repeat(times)), filled ? 'x · y\n'.repeat(400) : ''];
        const whole = pieces.join('');
        if (!isLong(whole)) return;
        putTogether(whole, pieces);
        isRight(whole);
        isRight(`${whole}.`);
        isRight(whole);
      }),
      { numRuns: 500 },
    );
  });

  it('is what JSON makes of it where its values were masked, in a text of any kind', () => {
    const plan = { columns: new Map(), detectors: new Map([['email', 'token' as const]]), otherwise: 'partial' as const };
    const masking = createSessionMasking({ plan, hashKey: new Uint8Array(32) });
    const filling = fc.constantFrom('order 7 · "two" kettles\n', 'plain \\ words\t', 'Größe – “so” 😀 ', '\ud83d ', '漢字 ');
    const value = fc.constantFrom('ann@mail.example', '4111 1111 1111 1111', '😀b@mail.example', 'x@mail.example', 'password: hunter2-and-more');
    fc.assert(
      fc.property(fc.array(fc.tuple(filling, fc.integer({ min: 1, max: 60 }), value), { minLength: 1, maxLength: 8 }), (parts) => {
        const text = parts.map(([fill, times, found]) => `${fill.repeat(times)} ${found} `).join('');
        const scrubbed = masking.scrub(text);
        if (isLong(scrubbed.text)) isRight(scrubbed.text);
      }),
      { numRuns: 200 },
    );
  });
});
