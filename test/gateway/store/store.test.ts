import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Bus, tell } from '../../../gateway/store/bus.ts';
import { type Database, json, one, retried } from '../../../gateway/store/database.ts';
import { openEmbedded } from '../../../gateway/store/embedded.ts';
import { check, migrate, SCHEMA_VERSION } from '../../../gateway/store/migrate.ts';
import { openPostgres } from '../../../gateway/store/postgres.ts';
import { Replica } from '../../../gateway/store/replica.ts';
import { soon } from '../../support/soon.ts';
import { postgresUrl, quiet, STORES, temporaryFolder } from '../stores.ts';

for (const { name, open } of STORES) {
  describe(`the store on ${name}`, () => {
    let db: Database;
    before(async () => {
      db = await open();
      await migrate(db, quiet);
    });
    after(() => db.close());

    it('has the schema that the gateway was written for, and migrates once', async () => {
      assert.deepEqual(await migrate(db, quiet), []);
      assert.equal((await one<{ v: number }>(db, 'SELECT max(version) AS v FROM schema_migrations'))?.v, SCHEMA_VERSION);
    });

    it('gives back numbers, lists and nothing as they went in', async () => {
      const row = await one<{ n: number; l: unknown; z: null }>(db, 'SELECT $1::bigint AS n, $2::jsonb AS l, NULL AS z', [2 ** 50, json([1, { a: 'x' }])]);
      assert.deepEqual(row, { n: 2 ** 50, l: [1, { a: 'x' }], z: null });
    });

    it('does all of a transaction or nothing', async () => {
      await assert.rejects(
        retried(db, async (tx) => {
          await tx.query("INSERT INTO rate_limits (key, level, at) VALUES ('half', 1, 1)");
          throw new Error('no');
        }),
        /no/,
      );
      assert.equal(await one(db, "SELECT 1 FROM rate_limits WHERE key = 'half'"), undefined);
    });

    it('tells what changed once the transaction has ended, and not when it was rolled back', async () => {
      const bus = new Bus(db, quiet);
      await bus.start();
      const heard: string[] = [];
      bus.on('policy', ({ subject }) => heard.push(subject));
      await db
        .transaction(async (tx) => {
          await tell(tx, 'policy', 'rolled back');
          throw new Error('no');
        })
        .catch(() => undefined);
      await db.transaction((tx) => tell(tx, 'policy', 'version 7'));
      await soon(() => assert.deepEqual(heard, ['version 7']));
      bus.stop();
    });

    it('finds what was not announced by looking', async () => {
      const bus = new Bus(db, quiet);
      await bus.start();
      const heard: string[] = [];
      bus.on('grant', ({ subject }) => heard.push(subject));
      await db.query("INSERT INTO events (topic, subject) VALUES ('grant', 'unannounced')");
      await soon(() => assert.deepEqual(heard, ['unannounced']));
      bus.stop();
    });

    it('gives up what a replica owned whose lease has run out, once', async () => {
      const died: string[] = [];
      const make = (): Replica =>
        new Replica(db, { version: '1', log: quiet, leaseMs: 60_000, onFenced: () => undefined, onDead: async (_tx, id) => void died.push(id) });
      const dead = make();
      await dead.start();
      await db.query('UPDATE replicas SET lease_until = ms() - 1 WHERE id = $1', [dead.id]);
      const [a, b] = [make(), make()];
      await Promise.all([a.start(), b.start()]);
      assert.deepEqual(died, [dead.id]);
      for (const replica of [a, b]) await replica.stop();
    });

    it('takes itself for dead before others do when it cannot renew, and comes back under another name', async () => {
      let fenced = 0;
      const replica = new Replica(db, { version: '1', log: quiet, leaseMs: 60_000, renewMs: 60, onFenced: () => fenced++, onDead: async () => undefined });
      await replica.start();
      const before = replica.id;
      await db.query('UPDATE replicas SET ended_at = ms() WHERE id = $1', [before]);
      await soon(() => assert.equal(fenced, 1));
      await soon(() => assert.ok(replica.alive && replica.id !== before));
      await replica.stop();
      assert.equal(replica.alive, false);
    });
  });
}

describe('replicas that start at the same time', () => {
  it('migrate one after the other', async () => {
    const url = await postgresUrl();
    const stores: Database[] = [1, 2, 3].map(() => openPostgres({ url, log: quiet }));
    const applied = await Promise.all(stores.map((db) => migrate(db, quiet)));
    assert.equal(applied.filter((versions) => versions.length > 0).length, 1);
    await Promise.all(stores.map((db) => db.close()));
  });
});

describe('a store that a newer gateway has changed', () => {
  it('is refused where this one would not understand it, and used where it would', async () => {
    const db = openPostgres({ url: await postgresUrl(), log: quiet });
    await migrate(db, quiet);
    await db.query('INSERT INTO schema_migrations (version, name, compatible_from) VALUES ($1, $2, $3)', [SCHEMA_VERSION + 1, 'only adds', 1]);
    await check(db);
    await db.query('INSERT INTO schema_migrations (version, name, compatible_from) VALUES ($1, $2, $3)', [SCHEMA_VERSION + 2, 'breaks', SCHEMA_VERSION + 1]);
    await assert.rejects(migrate(db, quiet), { code: 'store-newer' });
    await db.close();
  });
});

describe('the embedded store', () => {
  it('is for one process', async () => {
    const folder = temporaryFolder();
    const db = await openEmbedded(folder);
    await assert.rejects(openEmbedded(folder), { code: 'store-locked' });
    await db.close();
  });
});
