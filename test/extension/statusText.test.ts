import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { statusOf } from '../../extension/statusText.ts';
import { english as t } from '../../extension/translate.ts';
import { connection, proxySnapshot } from '../support/fixtures.ts';

const ON = { kind: 'on', pid: 1, version: '0.1.0' } as const;

describe('the status bar item', () => {
  it('says that it is on, and leads to the approvals', () => {
    const status = statusOf(ON, proxySnapshot(), 0, t);
    assert.equal(status.text, '$(shield) Countersign');
    assert.equal(status.level, 'normal');
    assert.equal(status.click, 'showApprovals');
    assert.match(status.lines.join('\n'), /1 of 1 connections ready, 3 rules/);
  });

  it('counts what waits for the person, in words a screen reader can say', () => {
    assert.equal(statusOf(ON, proxySnapshot(), 1, t).text, '$(shield) 1 ask');
    const two = statusOf(ON, proxySnapshot(), 2, t);
    assert.equal(two.text, '$(shield) 2 asks');
    assert.equal(two.level, 'warning');
    assert.doesNotMatch(two.label, /\$\(/);
  });

  it('is loud when protection is off, whatever the reason', () => {
    const failed = { kind: 'failed', code: 'x', sentence: 'It broke. Mend it.', takeOver: false } as const;
    for (const status of [
      statusOf({ kind: 'off' }, undefined, 0, t),
      statusOf(failed, undefined, 0, t),
      statusOf(ON, proxySnapshot({ halted: 'The disk is full.' }), 3, t),
    ]) {
      assert.equal(status.text, '$(shield) off');
      assert.equal(status.level, 'error');
    }
    assert.equal(statusOf({ kind: 'off' }, undefined, 0, t).click, 'start');
    assert.deepEqual(statusOf(failed, undefined, 0, t).lines, ['It broke. Mend it.']);
    assert.equal(statusOf({ ...failed, takeOver: true }, undefined, 0, t).click, 'takeOver');
  });

  it('does not cry wolf while it starts', () => {
    assert.equal(statusOf({ kind: 'starting' }, undefined, 0, t).level, 'normal');
  });

  it('says of a broken policy that the last good one is in force, and leads to it', () => {
    const problems = [{ file: '/p/countersign.yaml', line: 7, column: 2, message: 'Unknown key.' }];
    const status = statusOf(ON, proxySnapshot({ policy: { version: 'v1', files: [], problems, rules: 3 } }), 0, t);
    assert.equal(status.click, 'openPolicy');
    assert.match(status.lines.join('\n'), /last good one is in force.*line 7/);
  });

  it('names the organisation’s policy, and says that everything is denied where it is missing', () => {
    const organisation = { gateway: 'https://gateway.example/', state: 'in-force', version: 7, since: 1, expiresAt: 2, file: 'f' } as const;
    const policy = { version: 'v1', files: [], problems: [], rules: 3 };
    assert.match(
      statusOf(ON, proxySnapshot({ policy: { ...policy, organisation } }), 0, t).lines.join('\n'),
      /Organisation policy version 7, from gateway\.example\./,
    );
    const expired = statusOf(
      ON,
      proxySnapshot({ policy: { ...policy, organisation: { ...organisation, state: 'expired', problem: 'It is out of date.' } } }),
      0,
      t,
    );
    assert.deepEqual([expired.level, expired.click], ['warning', 'doctor']);
    assert.match(expired.label, /denies everything/);
    assert.ok(expired.lines.includes('It is out of date.'));
  });

  it('names connections that do not work', () => {
    const broken = connection({ name: 'crm', state: 'failed', problem: 'The upstream refuses the login.' });
    assert.match(
      statusOf(ON, proxySnapshot({ connections: [connection(), broken] }), 0, t).lines.join('\n'),
      /1 of 2 connections ready[\s\S]*crm: The upstream refuses the login\./,
    );
  });
});
