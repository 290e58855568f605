import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { verifyRecords } from '../../../gateway/recording/exportRecord.ts';
import type { Database } from '../../../gateway/store/database.ts';
import { migrate } from '../../../gateway/store/migrate.ts';
import { openPostgres } from '../../../gateway/store/postgres.ts';
import { soon } from '../../support/soon.ts';
import { postgresUrl, quiet, STORES } from '../stores.ts';
import { network } from '../tunnel/network.ts';
import { header, intent, key, operate, outcome, type Recording, recording, signed } from './recordings.ts';

for (const store of STORES) {
  describe(`a record in ${store.name}`, () => {
    let db: Database;
    let r: Recording;
    before(async () => {
      db = await store.open();
      await migrate(db, quiet);
      r = await recording(db);
    });
    after(async () => {
      await r.recorder.stop('done', 1_000);
      await r.replica.stop();
      await db.close();
    });

    it('holds, by the code that verifies a laptop’s', async () => {
      const sessions = await Promise.all([1, 2, 3].map(() => r.recorder.open(header())));
      await Promise.all(sessions.map((session, i) => operate(session, [`op_${i}_1`, `op_${i}_2`])));
      await Promise.all(sessions.map((session) => session.close('the client left')));
      await signed(db);
      const report = await verifyRecords(db, key);
      assert.deepEqual(report.problems, []);
      assert.equal(report.sessions, 3);
      assert.equal(report.entries, 3 * 6);
      const rows = await db.query<{ close_reason: string; entries: number }>('SELECT close_reason, entries FROM sessions');
      assert.deepEqual(
        [...rows],
        [1, 2, 3].map(() => ({ close_reason: 'the client left', entries: 6 })),
      );
    });

    it('has what was acknowledged, before the session ends', async () => {
      const h = header();
      const session = await r.recorder.open(h);
      session.append(intent('op_ack'));
      await session.sync();
      const rows = await db.query<{ line: string }>('SELECT line FROM entries WHERE session = $1 ORDER BY seq', [h.session]);
      assert.equal(rows.length, 2);
      assert.match(rows[1]?.line ?? '', /op_ack/);
      await session.close('done');
    });

    it('shows when a line, a session or the end of the audit was changed or removed', async () => {
      const h = header();
      const session = await r.recorder.open(h);
      await operate(session, ['op_x', 'op_y']);
      await session.close('done');
      await signed(db);
      assert.equal((await verifyRecords(db, key)).ok, true);
      const attacks: readonly (readonly [string, RegExp])[] = [
        [`UPDATE entries SET line = replace(line, 'op_x', 'op_z') WHERE session = '${h.session}'`, /Session/],
        [`DELETE FROM entries WHERE session = '${h.session}' AND seq = 5`, /end was removed/],
        [`DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)`, /end of the audit was removed/],
        [`UPDATE audit SET line = replace(line, 'session.opened', 'session.0pened') WHERE seq = 1`, /audit/],
        [`DELETE FROM checkpoints`, /checkpoint is missing/],
      ];
      for (const [attack, found] of attacks) {
        await assert.rejects(
          db.transaction(async (tx) => {
            await tx.query(attack);
            const { problems } = await verifyRecords(tx, key);
            assert.match(problems.join('\n'), found, attack);
            throw new Error('taken back');
          }),
          /taken back/,
        );
      }
      assert.equal((await verifyRecords(db, key)).ok, true);
    });
  });
}

describe('replicas that record', () => {
  it('close what a dead one left as lost, once, and it can add nothing when it comes back', async () => {
    const url = await postgresUrl();
    const [db1, db2] = [openPostgres({ url, log: quiet }), openPostgres({ url, log: quiet })];
    await migrate(db1, quiet);
    // Nothing but the test ends its lease.
    const dying = await recording(db1, { leaseMs: 600_000 });
    const h = header();
    const session = await dying.recorder.open(h);
    session.append(intent('op_out'));
    await session.sync();
    // It stands still, as a machine that is paused does: its lease runs out, and another takes over.
    await db2.query('UPDATE replicas SET lease_until = 0 WHERE id = $1', [dying.replica.id]);
    const survivor = await recording(db2, { leaseMs: 600_000 });
    const closed = await db2.query<{ recovered: boolean; close_reason: string }>(
      'SELECT recovered, close_reason FROM sessions WHERE id = $1 AND closed_at IS NOT NULL',
      [h.session],
    );
    assert.equal(closed.length, 1);
    assert.match(closed[0]?.close_reason ?? '', /went away before it ended/);
    session.append(outcome('op_out'));
    session.append(intent('op_late'));
    await session.sync();
    assert.deepEqual(dying.fenced, [h.session]);
    const lines = await db2.query<{ line: string }>('SELECT line FROM entries WHERE session = $1 ORDER BY seq', [h.session]);
    assert.deepEqual(
      lines.map(({ line }) => (JSON.parse(line) as { body: { type: string; outcome?: string } }).body).map(({ type, outcome: o }) => o ?? type),
      ['session.open', 'operation.intent', 'lost', 'session.close'],
    );
    await session.close('too late');
    await signed(db2);
    const { problems } = await verifyRecords(db2, key);
    assert.deepEqual(problems, []);
    await survivor.recorder.stop('done', 500);
    await dying.recorder.stop('done', 500);
    await survivor.replica.stop();
    await dying.replica.stop();
    await Promise.all([db1.close(), db2.close()]);
  });

  it('lose nothing over a store that is away for a moment, and stop everything when it stays away', async () => {
    const url = new URL(await postgresUrl());
    const net = await network(Number(url.port));
    url.port = String(net.port);
    const db = openPostgres({ url: url.href, log: quiet });
    await migrate(db, quiet);
    // How long a moment is, is for the one to be far beyond what mending takes here, and for the other to be short.
    const patient = await recording(db, { leaseMs: 600_000, patienceMs: 60_000 });
    const kept = await patient.recorder.open(header());
    net.cut(true);
    kept.append(intent('op_1'));
    const synced = kept.sync();
    await soon(() => assert.ok(net.refused > 0, 'it has not been missed yet'));
    net.mend();
    await synced;
    assert.deepEqual(patient.halts, []);
    await kept.close('done');

    const r = await recording(db, { leaseMs: 600_000, patienceMs: 600 });
    const session = await r.recorder.open(header());
    net.cut(true);
    session.append(intent('op_2'));
    await assert.rejects(session.sync(), /store is out of reach/);
    assert.match(r.recorder.halted ?? '', /store is out of reach/);
    assert.throws(() => session.append(intent('op_3')), /store is out of reach/);
    await assert.rejects(r.recorder.open(header()), /store is out of reach/);
    await session.close('the store is away');
    net.mend();
    await soon(() => assert.equal(r.recorder.halted, undefined, 'it does not come back'));
    assert.equal(r.halts.length, 2);
    const again = await r.recorder.open(header());
    await again.close('done');
    await soon(async () => assert.deepEqual(await db.query('SELECT id FROM sessions WHERE closed_at IS NULL'), []));
    await signed(db);
    const report = await verifyRecords(db, key);
    assert.deepEqual(report.problems, []);
    assert.equal(report.sessions, 3);
    for (const one of [patient, r]) {
      await one.recorder.stop('done', 500);
      await one.replica.stop();
    }
    await db.close();
    await net.stop();
  });
});
