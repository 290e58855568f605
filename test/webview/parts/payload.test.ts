import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { FOLD_LINES, MAX_SHOWN, payloadOf } from '../../../webview/parts/payload.ts';

const text = (p: ReturnType<typeof payloadOf>): string => p.spans.map((s) => s.text).join('');

test('a request of ordinary length is shown whole', () => {
  const sql = 'UPDATE orders\r\nSET a = 1\r\nWHERE b';
  const shown = payloadOf(sql, 'sql', true);
  assert.equal(text(shown), sql.replaceAll('\r\n', '\n'));
  assert.equal(shown.linesLeft, 0);
  assert.equal(shown.charactersLeft, 0);
});

test('a long one is folded, says by how much, and unfolds to every line', () => {
  const sql = Array.from({ length: 200 }, (_, i) => `SELECT ${i};`).join('\n');
  const folded = payloadOf(sql, 'sql', true);
  assert.equal(folded.linesLeft, 200 - FOLD_LINES);
  assert.ok(text(folded).includes('SELECT 0;') && !text(folded).includes('SELECT 199;'));
  assert.equal(text(payloadOf(sql, 'sql', false)), sql);
});

test('one endless line is folded too', () => {
  const folded = payloadOf(`SELECT '${'x'.repeat(50_000)}'; DROP TABLE orders`, 'sql', true);
  assert.ok(folded.linesLeft > 100);
  assert.ok(text(folded).length < 5000);
});

test('what hides in the folded part is counted all the same', () => {
  assert.equal(payloadOf(`${'SELECT 1;\n'.repeat(200)}\u202e`, 'sql', true).hidden.get('direction'), 1);
});

test('what is larger than a panel can hold is cut, and says so', () => {
  assert.equal(payloadOf('x'.repeat(MAX_SHOWN + 7), 'text', false).charactersLeft, 7);
});

test('marks stand inside highlighted text, in their place', () => {
  const { spans } = payloadOf("SELECT 'a\u200bb'", 'sql', true);
  assert.deepEqual(
    spans.map((s) => [s.text, s.token, s.kind]),
    [
      ['SELECT', 'keyword', 'plain'],
      [' ', 'text', 'plain'],
      ["'a", 'string', 'plain'],
      ['ZWSP', 'string', 'invisible'],
      ["b'", 'string', 'plain'],
    ],
  );
});

test('no character that is plain is lost or doubled', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', "'", '-', '\n', ' ', '1', '\u200b', '$', '"', 'ש') }), (sql) => {
      const shown = payloadOf(sql, 'sql', false);
      const plain = shown.spans.filter((s) => s.kind === 'plain' || s.kind === 'rtl').map((s) => s.text);
      const folded = shown.spans.filter((s) => s.kind === 'run');
      if (folded.length === 0) assert.equal(plain.join(''), sql.replaceAll('\u200b', ''));
    }),
    { numRuns: 1000 },
  );
});
