import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { inspect } from 'node:util';
import { Secrets } from '../../../proxy/credential/secrets.ts';

const POSIX = process.platform !== 'win32';
let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-secrets-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string | Buffer, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  if (POSIX) chmodSync(path, mode);
  return path;
}

function missing(path: string): string {
  const found = new Secrets({}, () => undefined).resolve({ from: 'file', name: path });
  assert.ok('missing' in found, 'it was read');
  return found.missing;
}

describe('a secret from the editor', () => {
  it('is held until it is forgotten, and tells of each change once', () => {
    const changes: string[] = [];
    const secrets = new Secrets({}, (name) => changes.push(name));
    assert.equal(secrets.get({ from: 'secret', name: 'db' }), undefined);
    secrets.put('db', 'one');
    secrets.put('db', 'one');
    secrets.put('db', 'two');
    assert.equal(secrets.get({ from: 'secret', name: 'db' })?.reveal(), 'two');
    secrets.put('db', null);
    secrets.put('db', null);
    assert.equal(secrets.get({ from: 'secret', name: 'db' }), undefined);
    assert.deepEqual(changes, ['db', 'db', 'db']);
  });

  it('shows itself in no text, JSON or inspection', () => {
    const secrets = new Secrets({}, () => undefined);
    secrets.put('db', 'canary');
    const secret = secrets.get({ from: 'secret', name: 'db' });
    for (const text of [String(secret), JSON.stringify({ secret }), inspect(secrets, { depth: 9, showHidden: true }), inspect(secret)])
      assert.doesNotMatch(text, /canary/);
  });

  it('says by name which one is missing and what to do', () => {
    const found = new Secrets({}, () => undefined).resolve({ from: 'secret', name: 'orders-db' });
    assert.match('missing' in found ? found.missing : '', /orders-db.*Set Secret/);
  });
});

describe('a secret from the environment', () => {
  it('is the variable, and an empty one is none', () => {
    const secrets = new Secrets({ DB: 'pw', EMPTY: '' }, () => undefined);
    assert.equal(secrets.get({ from: 'env', name: 'DB' })?.reveal(), 'pw');
    assert.equal(secrets.get({ from: 'env', name: 'EMPTY' }), undefined);
    const found = secrets.resolve({ from: 'env', name: 'NONE' });
    assert.match('missing' in found ? found.missing : '', /NONE was not set/);
  });
});

describe('a secret from a file', () => {
  it('is the text of the file without its last line end', () => {
    for (const end of ['', '\n', '\r\n']) {
      const path = file('good', `pass word${end}`);
      assert.equal(new Secrets({}, () => undefined).get({ from: 'file', name: path })?.reveal(), 'pass word');
    }
  });

  it('is refused with a sentence where it is not there, empty, too large or no file', () => {
    assert.match(missing(join(folder, 'none')), /cannot be read \(ENOENT\)/);
    assert.match(missing(file('empty', '\n')), /empty/);
    assert.match(missing(file('large', Buffer.alloc(65_537, 'a'))), /larger than 65536 bytes/);
    assert.match(missing(folder), /is not a file|cannot be read/);
  });

  it('is refused where others can read it, or it is another user’s', { skip: POSIX ? false : 'Windows keeps access lists, not modes' }, () => {
    for (const mode of [0o644, 0o640, 0o604, 0o620]) assert.match(missing(file(`open-${mode}`, 'x', mode)), /chmod 600/);
    if (process.getuid?.() !== 0) return;
    const path = file('other', 'x');
    chownSync(path, 12_345, 12_345);
    assert.match(missing(path), /belongs to another user/);
  });

  it('does not wait for a named pipe that nobody writes to', { skip: POSIX ? false : 'there are none' }, () => {
    const path = join(folder, 'pipe');
    const make = 'mkfifo';
    execFileSync(make, ['-m', '600', path]);
    assert.match(missing(path), /is not a file/);
  });
});
