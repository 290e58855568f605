import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chipParts, maskedColumns, type RowsAnswer, tableRows, textParts } from '../../../webview/operation/answer.ts';
import { customers } from '../../support/fixtures.ts';

const { answer, raw } = customers() as { answer: RowsAnswer; raw: RowsAnswer };

test('a masked cell shows what stood there where it may be seen, and its outline where not', () => {
  assert.deepEqual(tableRows(answer, raw, 0, 1)[0]?.[2]?.before, { text: 'ada.lovelace@example.org', exact: true });
  assert.deepEqual(tableRows(answer, undefined, 0, 1)[0]?.[2]?.before, { text: '•••@•••••••.•••', exact: false });
  assert.equal(tableRows(answer, raw, 0, 1)[0]?.[1]?.before, undefined);
});

test('a page of rows finds its own masks', () => {
  const rows = tableRows(answer, undefined, 1, 1);
  assert.equal(rows.length, 1);
  assert.equal(rows[0]?.[4]?.findings[0]?.label, 'phone');
});

test('what was masked is summed up by column and kind', () => {
  assert.deepEqual(
    maskedColumns(answer).map((m) => [m.name, m.count, m.by]),
    [
      ['email', 3, 'column'],
      ['ssn', 3, 'column'],
      ['note', 1, 'phone'],
    ],
  );
});

test('a cell is cut at its chips; a mask without one is a chip as a whole', () => {
  const [finding] = answer.findings;
  assert.ok(finding);
  assert.deepEqual(
    chipParts('call ‹phone·1› now', [finding]).map((p) => [p.text, p.finding !== undefined]),
    [
      ['call ', false],
      ['‹phone·1›', true],
      [' now', false],
    ],
  );
  assert.deepEqual(
    chipParts('a••@x.org', [finding]).map((p) => [p.text, p.finding !== undefined]),
    [['a••@x.org', true]],
  );
  assert.deepEqual(chipParts('‹not a mask›', []), [{ text: '‹not a mask›' }]);
});

test('a masked text is cut at its findings, and offsets that make no sense are left out', () => {
  const at = (a: number, b: number): { label: string; by: string; mask: 'token'; at: [number, number]; shape: string } => ({
    label: 'email',
    by: 'email',
    mask: 'token',
    at: [a, b],
    shape: '',
  });
  const parts = textParts({ kind: 'text', text: 'to ‹email·1›!', truncated: false, findings: [at(3, 12), at(5, 7), at(90, 99), at(12, 12)] });
  assert.deepEqual(
    parts.map((p) => p.text),
    ['to ', '‹email·1›', '!'],
  );
});
