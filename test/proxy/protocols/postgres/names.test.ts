import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Names } from '../../../../proxy/protocols/postgres/names.ts';

it('believes a definition of an earlier segment only when the server has confirmed it', () => {
  const names = new Names<string>();
  const first = names.propose('s', 'read', 0);
  assert.equal(names.lookup('s', 0), 'read', 'in its own segment the server would skip the use if it refused the definition');
  assert.equal(names.lookup('s', 1), 'wait');
  first.confirm();
  assert.equal(names.lookup('s', 1), 'read');
});

it('keeps the old meaning when a redefinition is refused', () => {
  const names = new Names<string>();
  names.propose('s', 'write', 0).confirm();
  const second = names.propose('s', 'read', 1);
  assert.equal(names.lookup('s', 1), 'read');
  second.drop();
  assert.equal(names.lookup('s', 2), 'write');
});

it('forgets a name that was closed, once the server has closed it', () => {
  const names = new Names<string>();
  names.propose('s', 'read', 0).confirm();
  const close = names.propose('s', undefined, 1);
  assert.equal(names.lookup('s', 1), undefined);
  assert.equal(names.lookup('s', 2), 'wait');
  close.confirm();
  assert.equal(names.lookup('s', 2), undefined);
});
