import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { array, asyncProperty, assert as check, constantFrom, oneof, string } from 'fast-check';
import type { Client } from 'pg';
import { maskSql } from '../../../../proxy/credential/postgresRole/maskSql.ts';
import { MaskForms } from '../../../../proxy/masking/forms.ts';
import { TokenVault } from '../../../../proxy/masking/vault.ts';
import { testDatabase } from '../../../support/postgres.ts';

const GROUND = { utf8: true, keys: undefined };

describe('masks that the server computes', { timeout: 300_000 }, () => {
  let client: Client;
  const forms = new MaskForms(Buffer.alloc(32), new TokenVault(), '');
  const column = { value: '$1::text', type: 'text', sqlType: 'text', name: 'v' } as const;
  before(async () => {
    const db = await testDatabase();
    client = await db.direct();
  });
  after(() => client.end());
  const masked = async (value: string | null, kind: 'partial' | 'redact' | 'token' = 'partial'): Promise<unknown> =>
    (await client.query({ text: `select ${maskSql(column, kind, GROUND)} as m`, values: [value] })).rows[0]?.m;

  it('shows of a value the same part as the proxy does', async () => {
    const values = [
      'ada@example.com',
      'a@b',
      '@b',
      'x@y@z',
      '4111 1111 1111 1111',
      '+1 (555) 010-9999',
      '123456',
      '12345',
      '078-05-1120',
      'abcdefghijkl',
      'DE89370400440532013000',
      'short',
      'ab.cdefghij',
      'ends with !',
      '•••@x',
      '2026-01-31',
      'multi\nline@x.y',
    ];
    for (const value of values) assert.equal(await masked(value), forms.make(value, 'partial', 'v'), value);
  });

  it('shows of any ASCII value the same part as the proxy does', async () => {
    const piece = oneof(string({ maxLength: 12 }), constantFrom('@', '.com', ' ', '-', '1234', 'abc', '(', ')'));
    await check(
      asyncProperty(array(piece, { minLength: 1, maxLength: 5 }), async (pieces) => {
        const value = pieces.join('').replaceAll('\0', '') || 'x';
        assert.equal(await masked(value), forms.make(value, 'partial', 'v'));
      }),
      { numRuns: 300 },
    );
  });

  it('keeps NULL, and replaces the whole where it must', async () => {
    assert.equal(await masked(null), null);
    assert.equal(await masked('x', 'redact'), '‹redacted›');
    assert.equal(await masked('x', 'token'), '‹redacted›');
  });

  it('gives a value of the column’s type where no text fits, and JSON where JSON stood', async () => {
    const of = async (value: string, type: 'json' | 'jsonb' | 'other', sqlType: string): Promise<unknown> =>
      (
        await client.query(
          `select ${maskSql({ value, type, sqlType, name: 'v' }, 'redact', GROUND)} as m, pg_typeof(${maskSql({ value, type, sqlType, name: 'v' }, 'redact', GROUND)})::text as t`,
        )
      ).rows[0];
    assert.deepEqual(await of("'{}'::jsonb", 'jsonb', 'jsonb'), { m: '‹redacted›', t: 'jsonb' });
    assert.deepEqual(await of("'{}'::json", 'json', 'json'), { m: '‹redacted›', t: 'json' });
    assert.deepEqual(await of('5::bigint', 'other', 'bigint'), { m: null, t: 'bigint' });
  });
});
