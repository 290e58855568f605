import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { DETECTORS } from '../../../proxy/masking/detectors/index.ts';
import { Scanner } from '../../../proxy/masking/scanner.ts';

/** A processor may not have what the program that marks places is made of: nothing but time may depend on it. */
it('finds the same where there is no WebAssembly', () => {
  assert.ok(Reflect.deleteProperty(globalThis, 'WebAssembly'));
  const scanner = new Scanner(DETECTORS);
  let long = 0;
  for (const line of readFileSync(new URL('../../corpus/hostileText.jsonl', import.meta.url), 'utf8')
    .trim()
    .split('\n')) {
    const { text, found } = JSON.parse(line) as { text: string; found: readonly string[] };
    const { hits } = scanner.scan(text, 0, true);
    assert.deepEqual(
      hits.map(({ start, end, detector, remainder }) => `${start}-${end} ${detector.id}${remainder ? ' rest' : ''}`),
      found,
      JSON.stringify(text),
    );
    if (text.length > 100) long++;
  }
  assert.ok(long > 50, `${long} texts were long`);
});
