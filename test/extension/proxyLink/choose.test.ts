import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assert as check, property, string } from 'fast-check';
import { CONTROL_VERSION } from '../../../contract/control.ts';
import type { ProxyFile } from '../../../contract/daemon.ts';
import { choose, compareVersions } from '../../../extension/proxyLink/choose.ts';

const file = (change: Partial<ProxyFile> = {}): ProxyFile => ({
  pid: 1,
  version: '1.2.3',
  controlVersion: CONTROL_VERSION,
  socket: '/s',
  startedAt: 0,
  ...change,
});

describe('which proxy a window uses', () => {
  it('starts one where none is, or where the one that was has died', () => {
    assert.equal(choose(undefined, false, '1.2.3').do, 'start');
    assert.equal(choose(file(), false, '1.2.3').do, 'start');
  });

  it('attaches to the same version and to a newer one that speaks the same language', () => {
    assert.equal(choose(file(), true, '1.2.3').do, 'attach');
    assert.equal(choose(file({ version: '1.3.0' }), true, '1.2.3').do, 'attach');
  });

  it('replaces an older one', () => {
    assert.equal(choose(file({ version: '1.2.2' }), true, '1.2.3').do, 'replace');
    assert.equal(choose(file({ controlVersion: CONTROL_VERSION - 1 }), true, '1.2.3').do, 'replace');
  });

  it('never pulls a newer one down: it asks for a newer extension', () => {
    assert.equal(choose(file({ version: '9.0.0', controlVersion: CONTROL_VERSION + 1 }), true, '1.2.3').do, 'reload');
  });
});

describe('versions', () => {
  it('are ordered as semantic versioning orders them', () => {
    const ordered = [
      '0.9.9',
      '1.0.0-alpha',
      '1.0.0-alpha.1',
      '1.0.0-alpha.beta',
      '1.0.0-beta.2',
      '1.0.0-beta.11',
      '1.0.0-rc.1',
      '1.0.0',
      '1.0.1',
      '1.10.0',
      '2.0.0',
    ];
    for (let i = 0; i < ordered.length; i++) {
      for (let j = 0; j < ordered.length; j++)
        assert.equal(Math.sign(compareVersions(ordered[i]!, ordered[j]!)), Math.sign(i - j), `${ordered[i]} and ${ordered[j]}`);
    }
  });

  it('do not look at build metadata', () => {
    assert.equal(compareVersions('1.0.0+a', '1.0.0+b-c'), 0);
  });

  it('compare the same both ways round, whatever they hold', () => {
    check(property(string(), string(), (a, b) => Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a)) === 0));
  });
});
