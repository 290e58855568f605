/** A long session is shown by its newest lines; what was checked is told apart from what was only read. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ChainCheck } from '../../contract/gateway/chainCheck.ts';
import { SessionRecord, windowOf } from '../../contract/gateway/sessionRecord.ts';
import type { EntryBody } from '../../contract/recording.ts';
import { longChain } from '../gateway/recording/longChain.ts';

const OPERATIONS = 300;

const chain = (change?: Parameters<typeof longChain>[2]): string[] => longChain('ses_long', OPERATIONS, change);

async function newest(lines: readonly string[]): Promise<SessionRecord> {
  const record = new SessionRecord(windowOf(lines.length, 100, 40));
  record.begin(lines[0]);
  await record.add(lines.slice(record.from));
  return record;
}

async function checked(record: SessionRecord, lines: readonly string[]): Promise<void> {
  const { head, places } = record;
  const check = new ChainCheck(places);
  await check.add(lines);
  record.confirm(check, places, head);
}

describe('the newest part of a long session', () => {
  it('is shown as not checked, until all of the chain was gone through', async () => {
    const lines = chain();
    const record = await newest(lines);
    assert.equal(record.entries, lines.length);
    assert.deepEqual([record.operations().length, record.operations().at(-1)?.summary.operation], [20, `op_${OPERATIONS - 1}`]);
    assert.equal(record.operation('op_0'), undefined);
    assert.equal(record.verified, undefined);
    assert.ok(!('verified' in (record.operation(`op_${OPERATIONS - 1}`) ?? {})));
    await checked(record, lines);
    assert.deepEqual(record.verified, { ok: true, entries: lines.length, head: record.head });
    assert.equal(windowOf(100, 100, 40), 0, 'a short one is read whole');
  });

  it('is not taken for checked where the beginning does not hold, or is another one’s', async () => {
    const lines = chain();
    const cut = await newest(lines);
    await checked(cut, lines.toSpliced(7, 1));
    assert.match(cut.verified?.problem ?? '', /entry 7 is missing/);
    // All of it holds, and it is not what is shown.
    const other = chain((body, seq) => (seq === 3 ? { ...body, payload: 'DELETE FROM orders' } : body) as EntryBody);
    const shown = await newest(lines);
    await checked(shown, other);
    assert.equal(shown.verified?.ok, false);
    assert.match(shown.verified?.problem ?? '', /what is shown is not what was there/);
    // A break inside of what is shown needs no check to be seen.
    const broken = await newest(lines.toSpliced(lines.length - 9, 1));
    assert.equal(broken.verified?.ok, false);
  });
});
