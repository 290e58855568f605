/** Our lexer against PostgreSQL's own, which libpg-query brings, and the cache key made from it. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import * as fc from 'fast-check';
import { loadModule, parseSync, scanSync } from 'libpg-query';
import { literalsIn, MAX_SHAPE_LENGTH, normalise } from '../../../../../proxy/protocols/postgres/sql/lexer.ts';
import { statements } from '../../../../corpus/read.ts';

const texts = statements();

/** FCONST, SCONST, USCONST, BCONST, XCONST by the grammar's numbers, some of which this build of the scanner leaves without a name. */
const LITERALS = new Set([260, 261, 262, 263, 264]);

/** Places of literals as PostgreSQL's scanner sees them; undefined where it refuses the text. */
function scanned(sql: string): readonly string[] | undefined {
  try {
    const bytes = Buffer.from(sql);
    return scanSync(sql)
      .tokens.filter((t) => LITERALS.has(t.tokenType) || t.tokenName === 'ICONST')
      .map((t) => {
        const start = bytes.subarray(0, t.start).toString().length;
        return `${start}-${start + bytes.subarray(t.start, t.end).toString().length}`;
      });
  } catch {
    return undefined;
  }
}

/** Pieces whose meaning hangs on what stands next to them. */
const PIECES = [
  "'",
  "''",
  '"',
  '$$',
  '$a$',
  '$',
  '$1',
  'E',
  "e'",
  "U&'",
  "B'",
  "x'",
  "n'",
  '\\',
  '--',
  '/*',
  '*/',
  '/',
  '*',
  '-',
  '+',
  '\n',
  '\r',
  ' ',
  '\t',
  '1',
  '0x',
  '1.',
  '.5',
  '1e',
  '_',
  'a',
  'é',
  '::',
  '.',
  ';',
  'select',
  '\u00a0',
  '🐘',
  '12_3',
];

describe('the lexer', () => {
  before(async () => {
    await loadModule();
  });

  const agrees = (sql: string): void => {
    const ours = literalsIn(sql)?.map((l) => `${l.start}-${l.end}`);
    const theirs = scanned(sql);
    // Where we know no answer, nobody relies on one; where the server's lexer refuses, neither does the server.
    if (ours && theirs) assert.deepEqual(ours, theirs, JSON.stringify(sql));
  };

  it('finds the literals that PostgreSQL finds, in every statement of the corpus', () => {
    let found = 0;
    for (const sql of texts) {
      agrees(sql);
      found += literalsIn(sql)?.length ?? 0;
    }
    assert.ok(found > 300);
  });

  it('finds the literals that PostgreSQL finds, in texts made of pieces that change each other', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...PIECES), { maxLength: 14 }), (pieces) => agrees(pieces.join(''))),
      { numRuns: 5000 },
    );
  });

  it('takes texts for one shape only if they have one tree but for literals', () => {
    const bare = (sql: string): string =>
      JSON.stringify(parseSync(sql), (key, value: unknown) =>
        key === 'A_Const' || key === 'location' || key.startsWith('stmt_') || key.endsWith('_start') || key.endsWith('_end') ? undefined : value,
      );
    const shapes = new Map<string, string>();
    const see = (sql: string): void => {
      const shape = normalise(sql);
      if (shape === undefined) return;
      let tree: string;
      try {
        tree = bare(sql);
      } catch {
        return;
      }
      const before = shapes.get(shape);
      if (before !== undefined && /^select/i.test(sql)) assert.equal(tree, before, sql);
      shapes.set(shape, tree);
    };
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("'a'", "'b'", '1', '2', '-', '--', '\n', ' ', '/**/', '+', 'x', 'X', '"x"', ',', '(', ')', '$1', '$2', "E'a'"), {
          maxLength: 10,
        }),
        (pieces) => see(`select ${pieces.join('')}`),
      ),
      { numRuns: 5000 },
    );
  });

  it('replaces literals, and white space and comments by one space', () => {
    assert.equal(normalise("SELECT  id\n FROM t /* c */ WHERE a = 'x''y' AND b = -5 -- end"), "SELECT id FROM t WHERE a = '?' AND b = -0");
    assert.equal(normalise("select $$a$$, E'\\'', $1, a1, \"1\""), "select '?', '?', $1, a1, \"1\"");
    assert.equal(normalise("select 'a'\n'b'"), "select '?'");
    assert.equal(normalise('select 1_000.5e-3'), 'select 0');
  });

  it('gives no shape where a literal changes what a name is, or servers read differently, or nothing is certain', () => {
    for (const sql of [
      'select U&"d!0061t" uescape \'!\'',
      "select U&'a'",
      'select 1a',
      'select $1a',
      "select 'a",
      'select "a',
      'select $$a',
      'select /* a',
      '1..2',
      'x'.repeat(MAX_SHAPE_LENGTH + 1),
    ]) {
      assert.equal(normalise(sql), undefined, sql.slice(0, 40));
    }
  });
});
