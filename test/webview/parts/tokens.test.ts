import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { type Token, tokens } from '../../../webview/parts/tokens.ts';

const told = (text: string, language: string): string[] =>
  tokens(text, language).flatMap((t) => (t.kind === 'text' ? [] : [`${t.kind}:${text.slice(t.start, t.end)}`]));

test('SQL keywords, strings, numbers, parameters and names are told apart', () => {
  assert.deepEqual(told(`UPDATE "Or""ders" SET a = 'it''s', n=1.5e3 WHERE id > $1 AND x IS NULL`, 'sql'), [
    'keyword:UPDATE',
    'name:"Or""ders"',
    'keyword:SET',
    'operator:=',
    "string:'it''s'",
    'operator:=',
    'number:1.5e3',
    'keyword:WHERE',
    'operator:>',
    'parameter:$1',
    'keyword:AND',
    'keyword:IS',
    'literal:NULL',
  ]);
});

test('a comment ends where the server ends it: at either line end, and with its own nesting', () => {
  assert.deepEqual(told('-- a\rDROP', 'sql'), ['comment:-- a', 'keyword:DROP']);
  assert.deepEqual(told('-- a\nDROP', 'sql'), ['comment:-- a', 'keyword:DROP']);
  assert.deepEqual(told('/* a /* b */ still */ DROP', 'sql'), ['comment:/* a /* b */ still */', 'keyword:DROP']);
  assert.deepEqual(told('1 --x\n+/*y*/2', 'sql'), ['number:1', 'comment:--x', 'operator:+', 'comment:/*y*/', 'number:2']);
});

test('a backslash ends no string, except in an escape string', () => {
  assert.deepEqual(told(String.raw`'a\' DROP`, 'sql'), [String.raw`string:'a\'`, 'keyword:DROP']);
  assert.deepEqual(told(String.raw`E'a\' DROP' x`, 'sql'), [String.raw`string:E'a\' DROP'`]);
});

test('a dollar-quoted string ends at its own tag alone', () => {
  assert.deepEqual(told('$f$ a $$ b $g$ c $f$ DROP', 'sql'), ['string:$f$ a $$ b $g$ c $f$', 'keyword:DROP']);
});

test('JSON keys differ from strings', () => {
  assert.deepEqual(told('{"a": "b", "c": [1, true, null]}', 'json'), ['name:"a"', 'string:"b"', 'name:"c"', 'number:1', 'literal:true', 'literal:null']);
});

test('shell variables, strings and comments', () => {
  assert.deepEqual(told('if rm -rf "$HOME/x"; then echo $HOME # gone', 'shell'), [
    'keyword:if',
    'string:"$HOME/x"',
    'operator:;',
    'keyword:then',
    'parameter:$HOME',
    'comment:# gone',
  ]);
});

test('any text is covered without a gap, in any language', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom("'", '"', '$', 'a', '1', '-', '/', '*', '\\', '\n', ' ', 'E', '{', ':', '#') }),
  );
  fc.assert(
    fc.property(text, fc.constantFrom('sql', 'json', 'shell', 'text', 'cobol'), (t, language) => {
      let at = 0;
      for (const { start, end } of tokens(t, language) satisfies Token[]) {
        assert.equal(start, at);
        assert.ok(end > start);
        at = end;
      }
      assert.equal(at, t.length);
    }),
    { numRuns: 1500 },
  );
});

test('a hostile text is read in a time that grows with its length', () => {
  for (const unit of ['+', "'", '$a$', '/*', '"\\', "E'\\", '--', '#', '$', '\n ', '"a" ']) {
    for (const language of ['sql', 'json', 'shell']) {
      // Of the processor: what else the machine does is not what is measured.
      const started = process.cpuUsage();
      tokens(unit.repeat(50_000 / unit.length), language);
      assert.ok(process.cpuUsage(started).user < 3_000_000, `${JSON.stringify(unit)} in ${language}`);
    }
  }
});
