import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { wrongMasks } from '../../../webview/operation/wrongMask.ts';
import { good, user } from '../../proxy/policy/examples.ts';
import { customers, detail, facts } from '../../support/fixtures.ts';

const { answer } = customers();

describe('what can be wrong with a mask', () => {
  const found = wrongMasks(answer, detail());
  const of = (text: RegExp) => found.find((one) => text.test(one.text));

  it('is that something is masked and should be seen, or is seen and should be masked', () => {
    assert.deepEqual(
      found.map(({ kind, name }) => [kind, name]),
      [
        ['should-show', 'email'],
        ['should-show', 'ssn'],
        ['should-show', 'note'],
        ['should-hide', 'id'],
        ['should-hide', 'name'],
      ],
    );
    assert.doesNotMatch(JSON.stringify(found), /Ada|example|078/, 'no value is in it');
  });

  it('comes with the line of policy that would put it right, which the policy takes', () => {
    assert.deepEqual(parse(of(/^note: masked/)?.line ?? ''), { defaults: { detectors: { phone: 'off' } } });
    good(user('version: 1\ndefaults: { detectors: { phone: off } }\n'));
    assert.deepEqual(parse(of(/^name: seen/)?.line ?? ''), { connections: { orders: { sensitive: { 'customers.name': 'redact' } } } });
    assert.match(of(/^ssn/)?.line ?? '', /customers\.ssn/);
  });

  it('says no line where none would help: a column of one of several tables, an answer that has none', () => {
    const joined = detail({
      facts: facts({
        targets: [
          { kind: 'table', name: 'a' },
          { kind: 'table', name: 'b' },
        ],
      }),
    });
    assert.equal(wrongMasks(answer, joined).find(({ name }) => name === 'name')?.line, undefined);
    assert.equal(wrongMasks({ ...answer, columns: ['a.b', 'c*', '?column?'], findings: [] } as typeof answer, detail()).filter(({ line }) => line).length, 0);
    assert.deepEqual(wrongMasks({ kind: 'text', text: 'x', truncated: false, findings: [] }, detail()), []);
  });
});
