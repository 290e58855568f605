import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dryRunRows } from '../../../webview/parts/dryRunRows.ts';

test('a changed row is told by its first unchanged column and what changes', () => {
  assert.deepEqual(dryRunRows({ rows: 1, columns: ['id', 'status', 'city'], samples: [{ before: ['7', 'paid', null], after: ['7', 'refunded', null] }] }), [
    { kind: 'changed', key: [{ column: 'id', value: '7' }], changes: [{ column: 'status', before: 'paid', after: 'refunded' }] },
  ]);
});

test('new and removed rows show all their columns', () => {
  const [added, removed] = dryRunRows({
    rows: 2,
    columns: ['id'],
    samples: [
      { before: null, after: ['1'] },
      { before: ['2'], after: null },
    ],
  });
  assert.deepEqual(added, { kind: 'added', key: [], changes: [{ column: 'id', before: undefined, after: '1' }] });
  assert.deepEqual(removed, { kind: 'removed', key: [], changes: [{ column: 'id', before: '2', after: undefined }] });
});

test('a change to and from null is a change', () => {
  const [row] = dryRunRows({ rows: 1, columns: ['id', 'note'], samples: [{ before: ['1', null], after: ['1', ''] }] });
  assert.deepEqual(row?.changes, [{ column: 'note', before: null, after: '' }]);
});
