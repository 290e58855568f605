import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DETECTORS } from '../../../proxy/masking/detectors/index.ts';
import { createSessionMasking } from '../../../proxy/masking/masking.ts';
import { parseSample, SAMPLES } from './samples.ts';

const only = (id: string) =>
  createSessionMasking({
    plan: { columns: new Map(), detectors: new Map(DETECTORS.map((d) => [d.id, d.id === id ? 'redact' : 'off'])), otherwise: 'redact' },
    hashKey: new Uint8Array(32),
  });

describe('detectors', () => {
  for (const { id, title } of DETECTORS) {
    it(`${title} (${id}): finds what is marked and nothing else`, (t) => {
      const masking = only(id);
      let right = 0;
      let missed = 0;
      let extra = 0;
      const wrong: string[] = [];
      const samples = SAMPLES.filter((s) => s.detector === id);
      for (const { text } of samples) {
        const { plain, spans } = parseSample(text);
        const { text: masked, findings } = masking.scrub(plain);
        const expected = text.replace(/«[^»]*»/g, '‹redacted›');
        right += Math.min(spans.length, findings.length);
        missed += Math.max(0, spans.length - findings.length);
        extra += Math.max(0, findings.length - spans.length);
        if (masked !== expected) wrong.push(`${expected}\n      was ${masked}`);
        if (spans.length > 0) assert.ok(masking.suspicious(Buffer.from(plain)), `not suspicious: ${plain}`);
      }
      t.diagnostic(`${id}: ${samples.length} texts, precision ${(right / (right + extra)).toFixed(2)}, recall ${(right / (right + missed)).toFixed(2)}`);
      assert.ok(right > 0);
      assert.deepEqual(wrong, []);
    });
  }

  it('each have an id of their own and a bounded reach', () => {
    assert.equal(new Set(DETECTORS.map((d) => d.id)).size, DETECTORS.length);
    for (const detector of DETECTORS) assert.ok(detector.longest > 0 && detector.longest <= 64 * 1024, detector.id);
  });

  it('together leave ordinary text alone', () => {
    const masking = createSessionMasking({ plan: { columns: new Map(), detectors: new Map(), otherwise: 'redact' }, hashKey: new Uint8Array(32) });
    for (const { text } of SAMPLES.filter((s) => !s.text.includes('«') && s.detector !== 'us-ssn')) {
      assert.equal(masking.scrub(text).text, text);
    }
  });
});
