import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { DETECTORS } from '../../../proxy/masking/detectors/index.ts';
import { glob, globWithin } from '../../../proxy/policy/glob.ts';
import { linearRegex } from '../../../proxy/policy/linearRegex.ts';
import { DETECTOR_IDS, policyJsonSchema } from '../../../proxy/policy/schema.ts';
import { nearest, suggestKey, suggestValue } from '../../../proxy/policy/suggest.ts';

describe('a glob', () => {
  it('says the same as the regular expression it stands for', () => {
    const chars = fc.string({ unit: fc.constantFrom(...'aB.*?'.split('')), maxLength: 8 });
    const text = fc.string({ unit: fc.constantFrom(...'aB.'.split('')), maxLength: 10 });
    fc.assert(
      fc.property(chars, text, fc.boolean(), (pattern, name, ignoreCase) => {
        const source = (star: string, any: string): string => `^${pattern.replace(/[.]/g, '\\.').replace(/[*]+/g, star).replace(/[?]/g, any)}$`;
        assert.equal(glob(pattern, ignoreCase)(name), new RegExp(source('[^]*', '[^]'), ignoreCase ? 'i' : '').test(name));
        assert.equal(globWithin(pattern, '.')(name), new RegExp(source('[^.]*', '[^.]')).test(name));
      }),
      { numRuns: 2_000 },
    );
  });

  it('does not slow down on hostile names', () => {
    const started = performance.now();
    assert.equal(glob('*a*a*a*a*a*a*a*b', false)('a'.repeat(512)), false);
    assert.ok(performance.now() - started < 20_000, 'it would take hours');
  });
});

describe('a pattern of a regular expression', () => {
  it('cannot escape the whole-value match', () => {
    for (const pattern of ['a)|(?:.*', 'a|b', '^a$', '(?:a']) {
      const regex = linearRegex(pattern);
      if (regex.ok) assert.equal(regex.whole.test('xxay'), false, pattern);
    }
    const either = linearRegex('a|b');
    assert.ok(either.ok && either.whole.test('b') && !either.whole.test('ab') && either.found.test('xb'));
  });
});

describe('suggestions', () => {
  it('find the nearest word, or the word for it here', () => {
    assert.equal(nearest('verdcit', ['verdict', 'version']), 'verdict');
    assert.equal(nearest('banana', ['verdict', 'version']), undefined);
    assert.match(suggestValue('update', ['read', 'write']), /say `write` for effect or `verb: UPDATE`/);
    assert.match(suggestValue('banana', ['read', 'write']), /Choose one of read, write/);
    assert.match(suggestKey('action', ['verdict']), /say `verdict`/);
    assert.match(suggestKey('constructor', ['verdict']), /Known here: verdict/);
  });
});

describe('the schema for editors', () => {
  it('is the one that files are checked against', () => {
    const stored: unknown = JSON.parse(readFileSync(new URL('../../../proxy/policy/schema.json', import.meta.url), 'utf8'));
    assert.deepEqual(stored, JSON.parse(JSON.stringify(policyJsonSchema())), 'run: node cli/main.ts policy schema > proxy/policy/schema.json');
  });

  it('knows the detectors there are', () => {
    assert.deepEqual([...DETECTOR_IDS].sort(), DETECTORS.map(({ id }) => id).sort());
  });
});
