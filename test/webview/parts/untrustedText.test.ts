import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { countHidden, pieces, plainLine } from '../../../webview/parts/untrustedText.ts';

const kinds = (text: string, options = {}): string[] =>
  pieces(text, options)
    .filter((p) => p.kind !== 'plain')
    .map((p) => `${p.kind} ${p.text}`);

test('ordinary SQL, JSON and prose have nothing to hide', () => {
  for (const text of [
    "SELECT id, name FROM customers WHERE email = 'a@b.org' -- all\n\tLIMIT 3;\r\n",
    '{\n  "title": "Größe, naïve café",\n  "n": [1, 2.5]\n}',
    'Привет, мир. 你好，世界 こんにちは',
    'It’s “fine” – really — 👍 ❤️',
  ]) {
    assert.deepEqual(kinds(text), [], text);
  }
});

test('text that would read backwards shows its direction controls', () => {
  assert.deepEqual(kinds('a\u202eb\u2066c\u2069\u200f'), ['direction RLO', 'direction LRI', 'direction PDI', 'direction RLM']);
});

test('characters without width are seen', () => {
  assert.deepEqual(kinds('DE\u200bLETE\ufeff \u00adx\u2060'), ['invisible ZWSP', 'invisible BOM', 'invisible SHY', 'invisible WJ']);
});

test('ASCII smuggled in tag characters is spelled out', () => {
  const smuggled = Array.from('drop', (c) => String.fromCodePoint(0xe0000 + c.charCodeAt(0))).join('');
  assert.deepEqual(kinds(`ok${smuggled}`), ['invisible tag d', 'invisible tag r', 'invisible tag o', 'invisible tag p']);
});

test('bytes smuggled in variation selectors are seen, the one of an emoji is not marked', () => {
  assert.deepEqual(kinds('a\ufe0f\u{e0101}'), ['invisible VS', 'invisible VS']);
  assert.deepEqual(kinds('❤️'), []);
});

test('terminal escapes are one mark each, in printable characters', () => {
  assert.deepEqual(kinds('a\u001b[31mb\u001b]0;ti\u202etle\u0007c'), ['control ESC[31m', 'control ESC]0;ti·tle·']);
});

test('control characters and a lone carriage return are marks, line breaks and tabs are not', () => {
  assert.deepEqual(kinds('a\u0000b\rc\r\nd\te\u007f\u0085'), ['control NUL', 'control CR', 'control DEL', 'space NEL']);
});

test('a word that mixes scripts to look like another is flagged, an honest foreign word is not', () => {
  assert.deepEqual(kinds('pаypal'), ['lookalike а']);
  assert.deepEqual(kinds('оrders'), ['lookalike о']);
  assert.deepEqual(kinds('сосо'), ['lookalike с', 'lookalike о', 'lookalike с', 'lookalike о']);
  assert.deepEqual(kinds('дорога'), []);
  assert.match(pieces('pаypal').find((p) => p.kind === 'lookalike')?.title ?? '', /U\+0430.*“a”/);
});

test('styled ASCII (full width, mathematical) is flagged', () => {
  assert.deepEqual(kinds('ＤＲＯＰ'), ['lookalike Ｄ', 'lookalike Ｒ', 'lookalike Ｏ', 'lookalike Ｐ']);
  assert.deepEqual(kinds('𝐱'), ['lookalike 𝐱']);
});

test('typographic quotes deceive in code and not in prose', () => {
  assert.deepEqual(kinds('x = ‘a’', { code: true }), ['lookalike ‘', 'lookalike ’']);
  assert.deepEqual(kinds('x = ‘a’'), []);
});

test('a long run of blanks that would push text out of sight is folded', () => {
  assert.deepEqual(kinds(`SELECT 1;${' '.repeat(300)}DROP TABLE t`), ['run 300 blanks']);
  assert.deepEqual(kinds(`${' '.repeat(12)}indented   a    b`), []);
});

test('many empty lines are folded, and what follows still starts a line', () => {
  const found = pieces(`SELECT 1;${'\n'.repeat(50)}DROP TABLE t`);
  assert.deepEqual(
    found.map((p) => p.text),
    ['SELECT 1;\n', '49 empty lines', '\nDROP TABLE t'],
  );
  assert.deepEqual(kinds('a\n\n\nb'), []);
  assert.deepEqual(kinds('\r\n'.repeat(6)), ['run 6 empty lines']);
});

test('right-to-left words stand alone, so that they cannot reorder what is around them', () => {
  assert.deepEqual(kinds("x = 'שלום' AND y"), ['rtl שלום']);
});

test('accents stacked on one letter are folded', () => {
  assert.deepEqual(kinds(`e${'\u0301'.repeat(30)}`), ['invisible 30 accents']);
  assert.deepEqual(kinds('e\u0301'), []);
});

test('half a character is a mark', () => {
  assert.deepEqual(kinds('a\ud800b'), ['broken D800']);
});

test('a name keeps to its line', () => {
  assert.deepEqual(kinds('a\nb', { oneLine: true }), ['control ⏎']);
  assert.equal(plainLine('a\nb\u202e'), 'a⟨⏎⟩b⟨RLO⟩');
});

test('marks are counted by kind', () => {
  assert.deepEqual(
    [...countHidden(pieces('\u202e\u202e\u200b'))],
    [
      ['direction', 2],
      ['invisible', 1],
    ],
  );
});

const nasty = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.constantFrom('a', 'а', ' ', '\n', '\r', '\t', '\u202e', '\u200b', '\u001b', '[', 'm', '\u0301', 'ש', '\ud800', '\ufe0f', '❤', "'") }),
);

test('the pieces cover any text without a gap, and nothing plain is hidden', () => {
  fc.assert(
    fc.property(nasty, fc.boolean(), fc.boolean(), (text, code, oneLine) => {
      const found = pieces(text, { code, oneLine });
      let at = 0;
      for (const piece of found) {
        assert.equal(piece.start, at);
        assert.ok(piece.end > piece.start);
        at = piece.end;
        if (piece.kind !== 'plain') continue;
        // oxlint-disable-next-line no-control-regex -- that none of these is left is what the test says
        assert.doesNotMatch(piece.text, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/);
        if (!oneLine) assert.equal(piece.text, text.slice(piece.start, piece.end).replaceAll('\r\n', '\n'));
      }
      assert.equal(at, text.length);
    }),
    { numRuns: 2000 },
  );
});
