/** The table of attacks names tests that exist: who renames one, or takes it out, has the table to think of. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';

const ROOT = resolve(import.meta.dirname, '..');
const ATTACKS = 47;

interface Row {
  readonly number: number;
  readonly held: readonly string[];
}

const rows: readonly Row[] = readFileSync(resolve(ROOT, 'docs/attacks.md'), 'utf8')
  .split('\n')
  .flatMap((line) => {
    const [, number, held] = /^\| (\d+) \| .* \| (.*) \|$/.exec(line) ?? [];
    return number === undefined || held === undefined ? [] : [{ number: Number(number), held: held.split('<br>') }];
  });

/** The names of a file's tests, as they are written there. */
function namesIn(file: string): Set<string> {
  const text = readFileSync(resolve(ROOT, file), 'utf8');
  return new Set([...text.matchAll(/\b(?:it|test|step)\(\s*(['"`])((?:\\.|(?!\1).)*)\1/g)].map(([, , name = '']) => name));
}

describe('docs/attacks.md', () => {
  it('has every attack once, in order', () => {
    assert.deepEqual(
      rows.map(({ number }) => number),
      Array.from({ length: ATTACKS }, (_, i) => i + 1),
    );
  });

  it('names tests that exist, or says why there is none', () => {
    const known = new Map<string, Set<string>>();
    for (const { held, number } of rows) {
      let reasons = 0;
      for (const item of held) {
        const [, file, name] = /^`(test\/[^`]+\.test\.ts)`: (.+)$/.exec(item) ?? [];
        if (file === undefined || name === undefined) {
          assert.match(item, /^(Not applicable: .+|.*see the threat model)\.$/, `attack ${number}: ${item}`);
          reasons++;
          continue;
        }
        const names = known.get(file) ?? namesIn(file);
        known.set(file, names);
        assert.ok(names.has(name), `attack ${number}: ${file} has no test "${name}"`);
      }
      assert.ok(reasons <= 1);
    }
  });
});
