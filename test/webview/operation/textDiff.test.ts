import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { MAX_COMPARED, textDiff } from '../../../webview/operation/textDiff.ts';

test('a masked text is compared word by word', () => {
  assert.deepEqual(
    textDiff('mail ada@ex.org now', 'mail ‹email·1› now')
      ?.filter((p) => p.kind === 'same')
      .map((p) => p.text.trim()),
    ['mail', 'now'],
  );
});

test('both sides can be read back from the comparison', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (before, after) => {
      const parts = textDiff(before, after) ?? [];
      const side = (kind: 'before' | 'after'): string => parts.flatMap((p) => (p.kind === 'same' || p.kind === kind ? [p.text] : [])).join('');
      assert.deepEqual([side('before'), side('after')], [before, after]);
    }),
  );
});

test('what is too large is not compared', () => {
  assert.equal(textDiff('x'.repeat(MAX_COMPARED), 'y'), undefined);
});
