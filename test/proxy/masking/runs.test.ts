import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { type Chars, chars, isOf } from '../../../proxy/masking/detectors/chars.ts';
import { NextMatch } from '../../../proxy/masking/detectors/nextMatch.ts';
import { Runs } from '../../../proxy/masking/detectors/run.ts';
import { createSessionMasking } from '../../../proxy/masking/masking.ts';

describe('a run of characters', () => {
  it('ends where it does by itself, whatever was measured before', () => {
    const kinds = [chars(/[a.]/), chars(/[ab]/), chars(/[^c]/, 'wide')];
    const text = fc.array(fc.oneof(fc.constantFrom('a'.repeat(300), 'a.'.repeat(200), 'b', 'c', 'é'), fc.stringMatching(/^[abc.]{0,5}$/)), { maxLength: 8 });
    fc.assert(
      fc.property(
        fc.array(text, { minLength: 1, maxLength: 2 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.integer({ min: 1, max: 700 }))),
        (texts, asked) => {
          const runs = new Runs();
          const whole = texts.map((one) => one.join(''));
          for (const [which, at, what, most] of asked) {
            const t = whole[which % whole.length] ?? '';
            const kind = kinds[what % kinds.length] as Chars;
            const from = at % (t.length + 1);
            let end = from;
            while (end < Math.min(t.length, from + most) && isOf(kind, t.charCodeAt(end))) end++;
            assert.equal(runs.end(t, from, kind, most), end);
          }
        },
      ),
    );
  });

  it('holds the next match that it holds by itself, whatever was asked before', () => {
    const piece = fc.oneof(fc.constantFrom('-'.repeat(300), '-'.repeat(200), '•••', '‹a›', '‹a·b›'), fc.stringMatching(/^[-‹›•a·]{0,5}$/));
    fc.assert(
      fc.property(
        fc.array(fc.array(piece, { maxLength: 8 }), { minLength: 1, maxLength: 2 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat())),
        (texts, asked) => {
          const next = new NextMatch(/‹[\w.-]+(?:·\w+){0,2}›|•{3}/gu);
          const whole = texts.map((one) => one.join(''));
          for (const [which, at, length] of asked) {
            const t = whole[which % whole.length] ?? '';
            const from = at % (t.length + 1);
            const end = from + (length % (t.length - from + 1));
            assert.equal(next.within(t, from, end), /‹[\w.-]+(?:·\w+){0,2}›|•{3}/u.test(t.slice(from, end)));
          }
        },
      ),
    );
  });

  it('is gone over once where a thousand begin within it', () => {
    const masking = createSessionMasking({ plan: { columns: new Map(), detectors: new Map(), otherwise: 'redact' }, hashKey: new Uint8Array(32) });
    const started = performance.now();
    for (const begins of ['SG.', 'sk-', 'password=']) masking.scrub(begins.repeat(1_000_000 / begins.length));
    assert.ok(performance.now() - started < 30_000, 'it took minutes');
  });
});
