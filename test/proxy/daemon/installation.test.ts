import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import * as fc from 'fast-check';
import { Secret } from '../../../contract/secret.ts';
import { digestWith, installationKey, newId } from '../../../proxy/daemon/installation.ts';

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-key-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

describe('the installation’s key', () => {
  it('is made once, kept private, and the same from then on', () => {
    const file = join(folder, 'key');
    const key = installationKey(file).reveal();
    assert.match(key, /^[0-9a-f]{64}$/);
    assert.equal(installationKey(file).reveal(), key);
    assert.notEqual(installationKey(join(folder, 'other')).reveal(), key);
    if (process.platform !== 'win32') assert.equal(statSync(file).mode & 0o777, 0o600);
  });

  it('is not replaced where its file is damaged: older digests would lose their meaning unnoticed', () => {
    for (const text of ['', 'x', '0'.repeat(63), '0'.repeat(300)]) {
      const file = join(folder, 'damaged');
      writeFileSync(file, text);
      assert.throws(() => installationKey(file));
    }
  });
});

describe('a digest', () => {
  const digest = digestWith(new Secret('0'.repeat(64)));

  it('is the same for the same parts, as text or bytes, and another under another key', () => {
    assert.equal(digest(['ä', null]), digest([Buffer.from('ä'), null]));
    assert.notEqual(digest(['a']), digestWith(new Secret('1'.repeat(64)))(['a']));
    assert.match(digest([]), /^[0-9a-f]{64}$/);
  });

  it('differs for lists of parts that differ anywhere, also only in where one part ends', () => {
    assert.equal(new Set([digest([]), digest(['']), digest([null]), digest(['', '']), digest(['ab']), digest(['a', 'b']), digest(['', 'ab'])]).size, 7);
    const parts = fc.array(fc.option(fc.string({ maxLength: 8 })), { maxLength: 4 });
    fc.assert(fc.property(parts, parts, (a, b) => JSON.stringify(a) === JSON.stringify(b) || digest(a) !== digest(b)));
  });
});

describe('an id', () => {
  it('carries its kind and 128 random bits', () => {
    const ids = new Set(Array.from({ length: 1_000 }, () => newId('op')));
    assert.equal(ids.size, 1_000);
    for (const id of ids) assert.match(id, /^op_[A-Za-z0-9_-]{22}$/);
  });
});
