import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Secret } from '../../../contract/secret.ts';
import { Archiver } from '../../../gateway/recording/archive/archiver.ts';
import { RecordLines } from '../../../gateway/recording/archive/recordLines.ts';
import { verifyRecords } from '../../../gateway/recording/exportRecord.ts';
import { folderObjects } from '../../../gateway/recording/objects/folder.ts';
import type { ObjectStore } from '../../../gateway/recording/objects/objectStore.ts';
import { s3Objects } from '../../../gateway/recording/objects/s3.ts';
import { verifyStore } from '../../../gateway/recording/verifyStore.ts';
import { Sessions } from '../../../gateway/sessions.ts';
import type { Database } from '../../../gateway/store/database.ts';
import { openEmbedded } from '../../../gateway/store/embedded.ts';
import { migrate } from '../../../gateway/store/migrate.ts';
import { openPostgres } from '../../../gateway/store/postgres.ts';
import { BUCKET, REGION, type S3Server, s3Server } from '../s3/s3Server.ts';
import { layEmbedded, postgresUrl, quiet, temporaryFolder } from '../stores.ts';
import { header, key, operate, type Recording, recording } from './recordings.ts';

/** Several objects a session. */
const SMALL_SEGMENT = 4_000;

interface Stage {
  readonly db: Database;
  readonly store: ObjectStore;
  readonly lines: RecordLines;
  readonly archiver: Archiver;
  readonly recording: Recording;
  /** A session with so many operations, closed. */
  ended(operations: number): Promise<string>;
  /** As nobody has read anything yet. */
  afresh(): RecordLines;
  stop(): Promise<void>;
}

async function stage(db: Database, store: ObjectStore): Promise<Stage> {
  await migrate(db, quiet);
  // Nothing here is about leases, and a busy machine must not lose one.
  const r = await recording(db, { leaseMs: 600_000 });
  const afresh = (): RecordLines => new RecordLines(new Map([[store.id, store]]));
  return {
    db,
    store,
    afresh,
    lines: afresh(),
    archiver: archiverOn(db, store),
    recording: r,
    ended: async (operations) => {
      const h = header();
      const session = await r.recorder.open(h);
      await operate(
        session,
        Array.from({ length: operations }, (_, i) => `op_${h.session}_${i}`),
      );
      await session.close('the client left');
      return h.session;
    },
    stop: async () => {
      await r.recorder.stop('done', 1_000);
      await r.replica.stop();
      await db.close();
    },
  };
}

function archiverOn(db: Database, store: ObjectStore): Archiver {
  return new Archiver({ db, store, log: quiet, afterMs: 0, archived: () => {}, segmentChars: SMALL_SEGMENT });
}

function bucket(s3: S3Server, more: object = {}, timeoutMs = 60_000): ObjectStore {
  return s3Objects({
    place: { bucket: BUCKET, prefix: 'team/', endpoint: s3.endpoint, ...more },
    region: REGION,
    credentials: async () => ({ accessKeyId: s3.accessKeyId, secretAccessKey: new Secret(s3.secretAccessKey) }),
    timeoutMs,
  });
}

async function problems({ db, lines }: Pick<Stage, 'db' | 'lines'>): Promise<string> {
  const report = await verifyStore(db);
  const records = await verifyRecords(db, key, lines);
  return [...report.problems, ...records.problems].join('\n');
}

async function segmentsOf(db: Database, session: string): Promise<{ object: string; first: number; last: number }[]> {
  return await db.query('SELECT object, first, last FROM segments WHERE session = $1 ORDER BY first', [session]);
}

async function left(db: Database, session: string): Promise<number> {
  const [row] = await db.query<{ n: number }>('SELECT count(*) AS n FROM entries WHERE session = $1', [session]);
  return row?.n ?? -1;
}

describe('an archive of records', () => {
  let s3: S3Server;
  let url = '';
  const root = temporaryFolder();
  const stages: Stage[] = [];
  before(async () => {
    s3 = await s3Server();
    url = await postgresUrl();
    stages.push(await stage(openPostgres({ url, log: quiet }), bucket(s3)));
    stages.push(await stage(await openEmbedded(await layEmbedded(temporaryFolder())), folderObjects(root)));
  });
  after(async () => {
    for (const s of stages) await s.stop();
    await s3.stop();
  });

  for (const [i, name] of ['in a bucket, of records in PostgreSQL', 'in a folder, of records in the embedded store'].entries()) {
    describe(name, () => {
      it('takes what has ended and leaves what runs, and everything can be read and verified as before', async () => {
        const s = stages[i] as Stage;
        const ended = await s.ended(8);
        const open = header();
        const running = await s.recording.recorder.open(open);
        await operate(running, ['op_runs']);
        const whole = (await s.db.query<{ line: string }>('SELECT line FROM entries WHERE session = $1 ORDER BY seq', [ended])).map(({ line }) => line);
        await s.archiver.run();
        assert.deepEqual(s.archiver.state, { waiting: 0, broken: 0, problem: undefined });
        assert.equal(await left(s.db, ended), 0);
        assert.equal(await left(s.db, open.session), 3);
        const segments = await segmentsOf(s.db, ended);
        assert.ok(segments.length > 1, 'one object');
        // The objects, one after the other, are the session's file.
        const parts = await Promise.all(segments.map(({ object }) => s.store.get(object, undefined, 1e6)));
        assert.equal(Buffer.concat(parts as Buffer[]).toString('utf8'), `${whole.join('\n')}\n`);

        const sessions = new Sessions(s.db, s.lines);
        for (const [from, limit] of [
          [0, 200],
          [0, 2],
          [3, 4],
          [17, 5],
        ] as const) {
          const page = await sessions.entries(ended, undefined, from, limit);
          assert.deepEqual(page.lines, whole.slice(from, from + limit));
          assert.equal(page.more, whole.length > from + limit);
        }
        assert.equal(await problems(s), '');
        await running.close('done');
        await s.archiver.run();
        assert.equal(await left(s.db, open.session), 0);
        assert.equal(await problems({ db: s.db, lines: s.afresh() }), '');
      });

      it('is two replicas’ at once, and has each part once', async () => {
        const s = stages[i] as Stage;
        const ids = await Promise.all([4, 5, 6].map((n) => s.ended(n)));
        // As if the claim of one had run out while it was at it: both are at the same sessions.
        const both = [archiverOn(s.db, s.store), archiverOn(s.db, s.store)];
        const done = new AbortController();
        const nobodys = (async () => {
          for (; !done.signal.aborted; await sleep(1)) await s.db.query('UPDATE sessions SET archiving_until = NULL WHERE archiving_until IS NOT NULL');
        })();
        await Promise.all(both.map((archiver) => archiver.run()));
        done.abort();
        await nobodys;
        await s.db.query('UPDATE sessions SET archiving_until = NULL');
        await s.archiver.run();
        for (const id of ids) assert.equal(await left(s.db, id), 0);
        assert.equal(await problems({ db: s.db, lines: s.afresh() }), '');
      });

      it('does not take a record that does not hold, says so, and keeps it to be looked into', async () => {
        const s = stages[i] as Stage;
        const id = await s.ended(3);
        const [{ line } = { line: '' }] = await s.db.query<{ line: string }>('SELECT line FROM entries WHERE session = $1 AND seq = 2', [id]);
        await s.db.query('UPDATE entries SET line = replace(line, \'"done"\', \'"lost"\') WHERE session = $1 AND seq = 2', [id]);
        await s.archiver.run();
        assert.equal(s.archiver.state.broken, 1);
        assert.equal(await left(s.db, id), 8);
        assert.match(await problems(s), new RegExp(`Session ${id}`));
        await s.db.query('UPDATE entries SET line = $2 WHERE session = $1 AND seq = 2', [id, line]);
        await s.db.query('UPDATE sessions SET archive_problem = NULL WHERE id = $1', [id]);
        await s.archiver.run();
        assert.equal(s.archiver.state.broken, 0);
        assert.equal(await left(s.db, id), 0);
      });
    });
  }

  it('shows an object that was removed, cut, changed, exchanged for another or for an older one', async () => {
    const s = stages[0] as Stage;
    const [one, two] = [await s.ended(14), await s.ended(6)];
    await s.archiver.run();
    const [first, second, third] = await segmentsOf(s.db, one);
    const [other] = await segmentsOf(s.db, two);
    const at = (segment: { object: string } | undefined): string => `team/${segment?.object}`;
    const read = async (segment: { object: string } | undefined): Promise<string> =>
      (await s.store.get(segment?.object ?? '', undefined, 1e6))?.toString() ?? '';
    const [text, text2, text3, otherText] = [await read(first), await read(second), await read(third), await read(other)];
    const attacks: readonly (readonly [string, () => Promise<void>, RegExp])[] = [
      ['removed', () => s3.remove(at(second)), /was removed/],
      ['cut', () => s3.put(at(second), text2.slice(0, text2.indexOf('\n') + 1)), /another length/],
      ['changed', () => s3.put(at(second), text2.replace('"done"', '"lost"')), /changed or exchanged/],
      ['exchanged for another part', () => s3.put(at(second), text3), /another length|changed or exchanged/],
      ['exchanged for another session’s', () => s3.put(at(first), otherText), /another length|changed or exchanged/],
      ['put back as it was, longer', () => s3.put(at(second), text2 + text3), /another length/],
    ];
    for (const [what, attack, found] of attacks) {
      await attack();
      const said = (await verifyRecords(s.db, key, s.afresh())).problems.join('\n');
      assert.match(said, found, what);
      assert.match(said, new RegExp(one), what);
      await assert.rejects(new Sessions(s.db, s.afresh()).entries(one, undefined, 0, 1_000), { code: 'archive-broken' }, what);
      await s3.put(at(first), text);
      await s3.put(at(second), text2);
    }
    assert.equal(await problems({ db: s.db, lines: s.afresh() }), '');
    // With the database changed to match: the chain of the session, and the audit over it, say what belongs there.
    const forged = text2.replace('"done"', '"lost"');
    await s3.put(at(second), forged);
    await assert.rejects(
      s.db.transaction(async (tx) => {
        await tx.query(
          "UPDATE segments SET sha256 = encode(sha256(convert_to($2, 'UTF8')), 'hex'), bytes = octet_length($2) WHERE session = $1 AND first = $3",
          [one, forged, second?.first],
        );
        assert.match((await verifyRecords(tx, key, s.afresh())).problems.join('\n'), /is not what the record speaks of/);
        await tx.query('DELETE FROM segments WHERE session = $1 AND first = $2', [one, second?.first]);
        assert.match((await verifyStore(tx)).problems.join('\n'), /has a gap in the archive/);
        await tx.query('DELETE FROM segments WHERE session = $1', [one]);
        assert.match((await verifyStore(tx)).problems.join('\n'), /is not what it was when it was closed/);
        throw new Error('taken back');
      }),
      /taken back/,
    );
    await s3.put(at(second), text2);
    assert.equal(await problems({ db: s.db, lines: s.afresh() }), '');
  });

  it('that is away, full, slow or closed to us loses nothing: records stay in the database with a sentence, and go there later', async () => {
    const s = stages[0] as Stage;
    const id = await s.ended(4);
    const faults: readonly (readonly [S3Server['fault'], RegExp])[] = [
      [() => ({ kind: 'cut', when: 'before' }), /out of reach: the connection broke/],
      [({ method }) => (method === 'PUT' ? { kind: 'cut', when: 'after' } : undefined), /out of reach: the connection broke/],
      [({ method }) => (method === 'GET' ? { kind: 'cut', when: 'before' } : undefined), /out of reach/],
      [() => ({ kind: 'answer', status: 403, code: 'AccessDenied' }), /refused \(AccessDenied\): its keys may not do that/],
      [() => ({ kind: 'answer', status: 404, code: 'NoSuchBucket' }), /there is no such bucket/],
      [() => ({ kind: 'answer', status: 503, code: 'SlowDown' }), /it is too busy/],
      [() => ({ kind: 'answer', status: 507, code: 'XMinioStorageFull' }), /it is full/],
    ];
    for (const [fault, said] of faults) {
      s3.fault = fault;
      await s.archiver.run();
      assert.match(s.archiver.state.problem ?? '', said);
      assert.match(s.archiver.state.problem ?? '', /Records stay in the database/);
      assert.ok(!s.archiver.state.problem?.includes(s3.secretAccessKey));
      assert.equal(s.archiver.state.waiting, 1);
      assert.equal(await left(s.db, id), 10);
    }
    s3.fault = () => ({ kind: 'stall', ms: 1_000 });
    const hasty = archiverOn(s.db, bucket(s3, {}, 200));
    await hasty.run();
    assert.match(hasty.state.problem ?? '', /did not answer in time.*Records stay in the database/);
    assert.equal(await left(s.db, id), 10);
    s3.fault = () => undefined;
    await s.archiver.run();
    assert.deepEqual(s.archiver.state, { waiting: 0, broken: 0, problem: undefined });
    assert.equal(await left(s.db, id), 0);
    assert.equal(await problems({ db: s.db, lines: s.afresh() }), '');
  });

  it('loses nothing and has nothing twice when its gateway is killed at any step of a move', async () => {
    const s = stages[0] as Stage;
    const steps: readonly (readonly [string, 'PUT' | 'GET', number, 'before' | 'after'])[] = [
      ['before the object was written', 'PUT', 1, 'before'],
      ['after it was written', 'PUT', 1, 'after'],
      ['after it was read back, before the database knew', 'GET', 1, 'after'],
      ['after the first part was moved', 'PUT', 2, 'before'],
      ['after the second part was read back', 'GET', 2, 'after'],
    ];
    for (const [what, method, nth, when] of steps) {
      const id = await s.ended(14);
      let seen = 0;
      const ended = new Promise<void>((resolve) => {
        const child = fork(join(import.meta.dirname, 'archiverChild.ts'), {
          stdio: 'ignore',
          // Not this process's own flags: with them the child would write over what the tests report.
          execArgv: ['--disable-warning=ExperimentalWarning'],
          env: {
            ...process.env,
            DATABASE_URL: url,
            ENDPOINT: s3.endpoint,
            ACCESS_KEY_ID: s3.accessKeyId,
            SECRET_ACCESS_KEY: s3.secretAccessKey,
            SEGMENT_CHARS: String(SMALL_SEGMENT),
          },
        });
        s3.fault = (request) => {
          if (request.method !== method || ++seen !== nth) return undefined;
          // Dead before the answer, and before anything that the answer would have led to.
          if (when === 'before') child.kill('SIGKILL');
          else request.answering = () => child.kill('SIGKILL');
          return { kind: 'cut', when };
        };
        child.once('exit', () => resolve());
      });
      await ended;
      s3.fault = () => undefined;
      assert.equal(seen, nth, what);
      assert.ok((await left(s.db, id)) > 0, what);
      assert.equal(await problems({ db: s.db, lines: s.afresh() }), '', what);
      // What the dead one had claimed is free again after a while.
      await s.db.query('UPDATE sessions SET archiving_until = 0 WHERE id = $1', [id]);
      await s.archiver.run();
      assert.equal(await left(s.db, id), 0, what);
      assert.equal(await problems({ db: s.db, lines: s.afresh() }), '', what);
      const written = new Set(s3.asked.filter((asked) => asked.method === 'PUT' && asked.target.includes(id)).map(({ target }) => target));
      assert.deepEqual(
        [...written].map((target) => target.slice(`/${BUCKET}/team/`.length)).toSorted(),
        (await segmentsOf(s.db, id)).map(({ object }) => object).toSorted(),
        what,
      );
    }
  });

  it('that reads back something else than was put there takes nothing out of the database', async () => {
    const s = stages[0] as Stage;
    const id = await s.ended(2);
    s3.fault = (request) => {
      if (request.method === 'GET') writeFileSync(s3.file(decodeURIComponent(request.target.slice(`/${BUCKET}/`.length))), 'rotten');
      return undefined;
    };
    await s.archiver.run();
    assert.match(s.archiver.state.problem ?? '', /does not hold/);
    assert.equal(await left(s.db, id), 6);
    s3.fault = () => undefined;
    // Under another name: what is rotten stays for whoever looks into it.
    await s.archiver.run();
    assert.equal(s.archiver.state.problem, undefined);
    assert.equal(await left(s.db, id), 0);
    assert.equal(await problems({ db: s.db, lines: s.afresh() }), '');
  });

  it('locks what it writes for as long as it is told, and its check says where that cannot be', async () => {
    const s = stages[0] as Stage;
    const locking = bucket(s3, { lock: { mode: 'compliance', days: 30 } });
    assert.match(
      (await locking.check()).map(({ good, sentence }) => `${good} ${sentence}`).join('\n'),
      /^false `lock` is set, and the bucket records .* has no Object Lock/,
    );
    assert.deepEqual(
      (await bucket(s3).check()).map(({ good, sentence }) => [good, /Nothing locks what lies in/.test(sentence)]),
      [[true, true]],
    );
    s3.objectLock = true;
    assert.deepEqual(await locking.check(), []);
    const id = await s.ended(1);
    await archiverOn(s.db, locking).run();
    const [segment] = await segmentsOf(s.db, id);
    const put = s3.asked.findLast(({ method, target }) => method === 'PUT' && target.includes(id));
    assert.equal(put?.headers['x-amz-object-lock-mode'], 'COMPLIANCE');
    const until = Date.parse(put?.headers['x-amz-object-lock-retain-until-date'] ?? '');
    assert.ok(Math.abs(until - Date.now() - 30 * 86_400_000) < 60_000);
    await assert.rejects(locking.remove(segment?.object ?? '', undefined), /refused \(AccessDenied\)/);
    s3.objectLock = false;
  });

  it('has a check that names a wrong key, a missing bucket and a server that is not there', async () => {
    const wrong = s3Objects({
      place: { bucket: BUCKET, prefix: '', endpoint: s3.endpoint },
      region: REGION,
      credentials: async () => ({ accessKeyId: s3.accessKeyId, secretAccessKey: new Secret('wrong') }),
    });
    assert.match((await wrong.check())[0]?.sentence ?? '', /refused \(SignatureDoesNotMatch\): the secret access key is wrong/);
    assert.match((await bucket(s3, { bucket: 'nowhere' }).check())[0]?.sentence ?? '', /there is no such bucket/);
    assert.match((await bucket(s3, { endpoint: 'http://127.0.0.1:9' }).check())[0]?.sentence ?? '', /out of reach/);
  });

  it('in a folder is written whole or not at all, for its owner to read, and says what is wrong with the disk', async () => {
    const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    assert.ok(files.length > 3);
    for (const file of files) {
      assert.match(file.name, /^\d{10}-[0-9a-f]{64}\.jsonl$/);
      if (process.platform !== 'win32') assert.equal(statSync(join(file.parentPath, file.name)).mode & 0o777, 0o400);
    }
    const s = stages[1] as Stage;
    const id = await s.ended(1);
    await s.archiver.run();
    const [segment] = await segmentsOf(s.db, id);
    const path = join(root, segment?.object ?? '');
    const text = readFileSync(path, 'utf8');
    chmodSync(path, 0o600);
    writeFileSync(path, text.replace('"done"', '"lost"'));
    assert.match(await problems({ db: s.db, lines: s.afresh() }), /changed or exchanged/);
    rmSync(path);
    await assert.rejects(new Sessions(s.db, s.afresh()).entries(id, undefined, 0, 10), /was removed/);
    writeFileSync(path, text);
    assert.equal(await problems({ db: s.db, lines: s.afresh() }), '');
    const notThere = folderObjects(join(path, 'below-a-file'));
    assert.match((await notThere.check())[0]?.sentence ?? '', /cannot be used: .* Records stay in the database until it can/);
    const read = (lines: RecordLines): Promise<unknown> => new Sessions(s.db, lines).entries(id, undefined, 0, 10);
    const unplugged = new RecordLines(new Map([[s.store.id, folderObjects(join(root, 'gone'), s.store.id)]]));
    await assert.rejects(read(unplugged), /it is not there. Check that its disk is mounted/);
    await assert.rejects(read(new RecordLines(new Map())), /this gateway is not told of that place/);
  });
});
