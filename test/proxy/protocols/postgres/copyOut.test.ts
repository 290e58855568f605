import assert from 'node:assert/strict';
import { it } from 'node:test';
import * as fc from 'fast-check';
import { csvFields, textFields } from '../../../../proxy/protocols/postgres/copyOut.ts';

const text = { format: 'text', delimiter: '\t', quote: '"', escape: '"', nullText: '\\N', header: false } as const;
const csv = { format: 'csv', delimiter: ',', quote: '"', escape: '"', nullText: '', header: false } as const;
const value = fc.string({ unit: fc.constantFrom('a', '\\', '\t', '\n', ',', '"', 'N', 'é', '.', '\r', '|') });

it('reads COPY text rows as PostgreSQL writes them', () => {
  const write = (v: string | null): string =>
    v === null ? '\\N' : v.replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n').replaceAll('\r', '\\r');
  fc.assert(
    fc.property(fc.array(fc.option(value), { minLength: 1 }), (row) => {
      assert.deepEqual(
        textFields(row.map(write).join('\t'), text)?.map((f) => f.value),
        row,
      );
    }),
  );
});

it('reads CSV rows as PostgreSQL writes them', () => {
  const write = (v: string | null): string => (v === null ? '' : v === '' || /[",\n\r\\.]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v);
  fc.assert(
    fc.property(fc.array(fc.option(value), { minLength: 1 }), (row) => {
      assert.deepEqual(
        csvFields(row.map(write).join(','), csv)?.map((f) => f.value),
        row,
      );
    }),
  );
});

it('knows nothing of a row whose quote is not closed', () => {
  assert.equal(csvFields('1,"open', csv), undefined);
});
