import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { appendAudit } from '../../../gateway/recording/auditStore.ts';
import { Acts } from '../../../gateway/recording/chains.ts';
import { verifyActChains, verifyRecords } from '../../../gateway/recording/exportRecord.ts';
import type { Database, Queryable } from '../../../gateway/store/database.ts';
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
    const acts = new Acts(key);
    let unsigned: Awaited<ReturnType<typeof verifyRecords>>;
    let mixed: Awaited<ReturnType<typeof verifyRecords>>;
    before(async () => {
      db = await store.open();
      await migrate(db, quiet);
      // One of before signing runs: nobody signs, and nobody says that anything has begun.
      await db.query("INSERT INTO replicas (id, version, schema, lease_until) VALUES ('rep_older', '0', 7, ms() + 600000)");
      // As gateways of before signing left it.
      for (const [chain, type] of [
        ['per_old', 'signed-in'],
        ['per_old', 'signed-out'],
        ['gateway', 'policy.put'],
      ] as const)
        await db.transaction((tx) => acts.append(tx, chain, { type }));
      for (const chain of ['record:per_old', 'record:per_cut']) {
        const { entries, head } = await db.transaction((tx) => appendAudit(tx, key, chain, 1, [{ type: 'recorder.started', key: key.fingerprint }]));
        const place = { entries, head: chain === 'record:per_old' ? head : 'f'.repeat(64) };
        await db.query('INSERT INTO checkpoints (kid, statement, signature) VALUES ($1, $2, $3)', [
          key.fingerprint,
          JSON.stringify({ chain, ...place }),
          key.checkpoint('2026-01-01T00:00:00.000Z', place),
        ]);
      }
      unsigned = await verifyRecords(db, key);
      r = await recording(db);
      const beside = await r.recorder.open(header());
      await operate(beside, ['op_beside']);
      await beside.close('the client left');
      await db.transaction(async (tx) => await addedBefore(tx, 'per_old', 'signed-in'));
      await db.transaction((tx) => acts.append(tx, 'per_old', { type: 'signed-out' }));
      await signed(db);
      mixed = await verifyRecords(db, key);
      assert.equal(await acts.begin(db), false);
      await db.query("UPDATE replicas SET ended_at = ms() WHERE id = 'rep_older'");
      assert.equal(await acts.begin(db), true);
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
      assert.equal(report.sessions, 1 + 3);
      assert.equal(report.entries, 4 + 3 * 6);
      const rows = await db.query<{ close_reason: string; entries: number }>('SELECT close_reason, entries FROM sessions ORDER BY entries');
      assert.deepEqual(
        [...rows],
        [4, 6, 6, 6].map((entries) => ({ close_reason: 'the client left', entries })),
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
        [`UPDATE chains SET signed = NULL WHERE chain LIKE 'record:%'`, /checkpoint is missing/],
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

    it('shows when somebody who holds the store writes someone’s sessions anew, and the gateway has gone on', async () => {
      const change = (line: string): string => line.replace('"recovered":false', '"recovered":true');
      const attacks: readonly (readonly [string, (tx: Queryable) => Promise<unknown>, RegExp])[] = [
        ['rewritten', async (tx) => await rewrite(tx, 'record:per_ada', change), /it had \d+ lines, and what was signed/],
        [
          'rewritten, and no signature left',
          async (tx) => {
            await rewrite(tx, 'record:per_ada', change);
            await tx.query("UPDATE chains SET signed = NULL WHERE chain = 'record:per_ada'");
            await tx.query('DELETE FROM checkpoints');
          },
          /the signature over its first \d+ lines was gone/,
        ],
        [
          'cut',
          async (tx) => {
            await tx.query("DELETE FROM audit WHERE chain = 'record:per_ada' AND seq > 3");
            await tx.query(
              "UPDATE chains SET entries = 4, head = (SELECT hash FROM audit WHERE chain = 'record:per_ada' AND seq = 3) WHERE chain = 'record:per_ada'",
            );
          },
          /it had 4 lines, and what was signed are \d+/,
        ],
      ];
      for (const [what, attack, found] of attacks) {
        await assert.rejects(
          db.transaction(async (tx) => {
            await attack(tx);
            await appendAudit(tx, key, 'record:per_ada', Date.now(), [{ type: 'session.opened', session: 'ses_next', file: '2026-01-01/ses_next.jsonl' }]);
            assert.match((await verifyRecords(tx, key)).problems.join('\n'), found, what);
            throw new Error('taken back');
          }),
          /taken back/,
          what,
        );
      }
      assert.deepEqual((await verifyRecords(db, key)).problems, []);
    });

    it('says of what people did before anything of it was signed that this proves less, and holds it to what it was then', async () => {
      assert.match(unsigned.problems.join('\n'), /\(per_old\): it is not signed/);
      const { notes, problems } = await verifyRecords(db, key);
      assert.deepEqual(problems, []);
      assert.match(notes.join('\n'), /\(gateway\): its first 1 lines are from before the gateway signed[^]*\(per_old\): its first 4 lines are from before/);
      const begun = async (chain: string): Promise<string> =>
        (await db.query<{ line: string }>('SELECT line FROM audit WHERE chain = $1 ORDER BY seq DESC LIMIT 1', [chain]))[0]?.line ?? '';
      assert.match(await begun('record:per_old'), /"type":"recorder.started"/);
      assert.ok(!(await begun('record:per_old')).includes('"problem"'));
      assert.match(await begun('record:per_cut'), /"problem":"the audit does not contain what was signed last"/);
      await attacked(
        'rewriting what was not signed then',
        async (tx) => await rewrite(tx, 'per_old', (line) => line.replace('signed-in', 'signed-on')),
        /per_old.*rewritten/,
      );
    });

    it('holds after gateways that sign and one that does not have run beside each other, and lets that one add nothing once signing has begun', async () => {
      assert.match(mixed.problems.join('\n'), /\(per_old\): it is not signed/);
      assert.doesNotMatch(mixed.problems.join('\n'), /record:per_ada/);
      const { problems } = await verifyRecords(db, key);
      assert.deepEqual(problems, []);
      for (const chain of ['per_old', 'per_new', 'record:per_ada'])
        await assert.rejects(
          db.transaction(async (tx) => await addedBefore(tx, chain, 'signed-in')),
          /The audit is signed, and this gateway is of a version that does not sign/,
          chain,
        );
      // Nor is it started again: it looks at this, as every gateway does.
      const [needed] = await db.query<{ needed: number }>('SELECT max(compatible_from) AS needed FROM schema_migrations');
      assert.ok((needed?.needed ?? 0) > 9, `a gateway of schema 9 would start: ${needed?.needed}`);
      assert.deepEqual((await verifyRecords(db, key)).problems, []);
    });

    it('shows when somebody who holds the store changes what people did: a line, the order, the end, all of it', async () => {
      for (const type of ['signed-in', 'approval.answered', 'grant.ended', 'signed-out']) await db.transaction((tx) => acts.append(tx, 'per_dana', { type }));
      await db.transaction((tx) => acts.append(tx, 'per_drew', { type: 'signed-in' }));
      await db.transaction((tx) => acts.append(tx, 'gateway', { type: 'policy.put' }));
      const cut = "DELETE FROM audit WHERE chain = 'per_dana' AND seq = 3";
      const moved = "UPDATE chains SET entries = 3, head = (SELECT hash FROM audit WHERE chain = 'per_dana' AND seq = 2) WHERE chain = 'per_dana'";
      const gone = "DELETE FROM audit WHERE chain = 'per_dana'; DELETE FROM chains WHERE chain = 'per_dana'";
      const act = async (tx: Queryable): Promise<void> => await acts.append(tx, 'per_dana', { type: 'signed-in' });
      const forged = async (tx: Queryable): Promise<void> => await rewrite(tx, 'per_dana', (line) => line.replace('approval.answered', 'approval.withdrawn'));
      const attacks: readonly (readonly [string, readonly (string | ((tx: Queryable) => Promise<void>))[], RegExp])[] = [
        ['a line changed', ["UPDATE audit SET line = replace(line, 'approval.answered', 'nothing') WHERE chain = 'per_dana'"], /per_dana.*was changed/],
        ['the last line changed', ["UPDATE audit SET line = replace(line, 'signed-out', 'signed-up') WHERE chain = 'per_dana'"], /per_dana.*rewritten/],
        ['a line removed', ["DELETE FROM audit WHERE chain = 'per_dana' AND seq = 1"], /per_dana.*lines were removed/],
        [
          'two lines swapped',
          [
            [2, -1],
            [1, 2],
            [-1, 1],
          ].map(([from, to]) => `UPDATE audit SET seq = ${to} WHERE chain = 'per_dana' AND seq = ${from}`),
          /per_dana.*removed, added or moved/,
        ],
        ['the end cut off', [cut], /per_dana.*its end was removed/],
        ['the end cut off and its place moved', [cut, moved], /per_dana.*its end was removed/],
        ['the same without the signature', [cut, moved, "UPDATE chains SET signed = NULL WHERE chain = 'per_dana'"], /per_dana.*not signed/],
        ['the same, and the gateway goes on', [cut, moved, act], /per_dana.*found what it had not signed: it had 3 lines, and what was signed are 4/],
        ['all of it rewritten', [forged], /per_dana.*was rewritten/],
        ['all of it rewritten, and the gateway goes on', [forged, act], /per_dana.*found what it had not signed/],
        [
          'the same without the signature',
          [forged, "UPDATE chains SET signed = NULL WHERE chain = 'per_dana'", act],
          /per_dana.*signature over its first 4 lines was gone/,
        ],
        [
          'another’s signature under it',
          ["UPDATE chains SET signed = (SELECT signed FROM chains WHERE chain = 'per_drew') WHERE chain = 'per_dana'"],
          /per_dana.*rewritten/,
        ],
        [
          'another’s lines in its place',
          [gone, "UPDATE chains SET chain = 'per_dana' WHERE chain = 'per_drew'; UPDATE audit SET chain = 'per_dana' WHERE chain = 'per_drew'"],
          /per_dana.*those of per_drew/,
        ],
        ['a line added', [async (tx) => await forge(tx, 'per_dana')], /per_dana.*last 1 lines are not signed/],
        ['a line added, and the gateway goes on', [async (tx) => await forge(tx, 'per_dana'), act], /per_dana.*found what it had not signed: it had 5 lines/],
        ['all of it removed', [gone], /per_dana: everything of it was removed/],
        ['all of it removed, and begun again', [gone, act], /gateway.*begins per_dana, which had begun before/],
        ['the gateway’s own removed', ["DELETE FROM audit WHERE chain = 'gateway'; DELETE FROM chains WHERE chain = 'gateway'"], /own chain is not there/],
        [
          'somebody’s sessions removed',
          ["DELETE FROM entries; DELETE FROM sessions; DELETE FROM audit WHERE chain LIKE 'record:%'; DELETE FROM chains WHERE chain LIKE 'record:%'"],
          /record:per_ada: everything of it was removed/,
        ],
      ];
      for (const [what, steps, found] of attacks) {
        await attacked(
          what,
          async (tx) => {
            for (const step of steps) {
              if (typeof step === 'string') for (const sql of step.split('; ')) await tx.query(sql);
              else await step(tx);
            }
          },
          found,
        );
      }
      await attacked(
        'a policy that nobody put',
        async (tx) => void (await tx.query(`INSERT INTO policies (text, digest, author, comment, source) VALUES ('version: 1', 'd', '{}', '', 'api')`)),
        /Version \d+ of the policy was put by nobody/,
      );
      assert.deepEqual((await verifyRecords(db, key)).problems, []);
    });

    /** The attack, what is found of it, and all as it was before. */
    async function attacked(what: string, attack: (tx: Queryable) => Promise<void>, found: RegExp): Promise<void> {
      await assert.rejects(
        db.transaction(async (tx) => {
          await attack(tx);
          assert.match((await verifyActChains(tx, key)).problems.join('\n'), found, what);
          throw new Error('taken back');
        }),
        /taken back/,
        what,
      );
    }
  });
}

interface Line {
  readonly seq: number;
  readonly line: string;
}

/** Writes a chain anew with good hashes, as who holds the store and not the key can. */
async function rewrite(tx: Queryable, chain: string, change: (line: string) => string): Promise<void> {
  let head = '0'.repeat(64);
  const lines = await tx.query<Line>('SELECT seq, line FROM audit WHERE chain = $1 ORDER BY seq', [chain]);
  for (const { seq, line } of lines) {
    const next = change(line).replace(/"prev":"[0-9a-f]{64}"/, `"prev":"${head}"`);
    head = hash('sha256', next, 'hex');
    await tx.query('UPDATE audit SET line = $3, hash = $4 WHERE chain = $1 AND seq = $2', [chain, seq, next, head]);
  }
  await tx.query('UPDATE chains SET entries = $2, head = $3 WHERE chain = $1', [chain, lines.length, head]);
}

/** What a gateway of before signing does to add a line, statement by statement. */
async function addedBefore(tx: Queryable, chain: string, type: string): Promise<void> {
  await tx.query('INSERT INTO chains (chain, entries, head) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING', [chain, '0'.repeat(64)]);
  const [at] = await tx.query<{ entries: number; head: string }>('SELECT entries, head, ms() AS now FROM chains WHERE chain = $1 FOR UPDATE', [chain]);
  assert.ok(at);
  const line = `{"at":"2026-01-01T00:00:00.000Z","body":{"type":"${type}"},"chain":"${chain}","prev":"${at.head}","seq":${at.entries},"v":1}`;
  const head = hash('sha256', line, 'hex');
  await tx.query('INSERT INTO audit (chain, seq, at, hash, line) VALUES ($1, $2, 0, $3, $4)', [chain, at.entries, head, line]);
  await tx.query('UPDATE chains SET entries = entries + 1, head = $2 WHERE chain = $1', [chain, head]);
}

/** Adds a line in a chain's own form, past what keeps older gateways from it. */
async function forge(tx: Queryable, chain: string): Promise<void> {
  await tx.query('ALTER TABLE chains DISABLE TRIGGER chain_is_signed');
  await addedBefore(tx, chain, 'approval.answered');
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
