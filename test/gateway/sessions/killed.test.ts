import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client as DatabaseClient } from 'pg';
import { METHODS, SurfaceAccess } from '../../../contract/control.ts';
import { verifyRecords } from '../../../gateway/recording/exportRecord.ts';
import { recordKey } from '../../../gateway/recording/recordKey.ts';
import { openPostgres } from '../../../gateway/store/postgres.ts';
import { Home } from '../../proxy/daemon/daemonProcess.ts';
import { PASSWORD, SHOP, SUPERUSER, testDatabase } from '../../support/postgres.ts';
import { soon } from '../../support/soon.ts';
import { signed } from '../recording/recordings.ts';
import { postgresUrl, quiet } from '../stores.ts';
import { network } from '../tunnel/network.ts';

interface ReplicaProcess {
  readonly child: ChildProcess;
  readonly port: number;
  readonly replica: string;
}

const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
});

describe('replicas of the gateway', () => {
  it('are killed at any moment, and leave no session half-owned, no acknowledged line lost, and no record that does not hold', async () => {
    const database = await testDatabase(SHOP);
    const store = await postgresUrl();
    const token = randomBytes(16).toString('hex');
    const env = {
      TEST_STORE: store,
      TEST_PASSWORD: PASSWORD,
      TEST_TOKEN: token,
      TEST_POLICY: `version: 1
defaults: { write: allow }
connections: { shop: { protocol: postgres, via: gateway, upstream: 'postgres://${SUPERUSER}@127.0.0.1:${database.port}/${database.database}', password: secret:shop } }
`,
    };
    const start = (): Promise<ReplicaProcess> => {
      const child = fork(fileURLToPath(import.meta.resolve('./replicaChild.ts')), {
        env: { ...process.env, ...env },
        execArgv: ['--disable-warning=ExperimentalWarning'],
      });
      children.push(child);
      return new Promise((resolve, reject) => {
        child.once('message', (said) => resolve({ child, ...(said as { port: number; replica: string }) }));
        child.once('exit', (code) => reject(new Error(`a replica did not start (${code})`)));
      });
    };
    let serving = await start();
    let other = await start();
    const balancer = await network(serving.port);
    const home = new Home();
    const { at } = await home.start();
    const window = await home.attach(at);
    await window.request(METHODS.putGateway, { url: `http://127.0.0.1:${balancer.port}`, token: { value: token, expiresAt: Date.now() + 3_600_000 } });
    await window.until(({ connections }) => connections.some(({ state }) => state === 'ready'));
    const db = openPostgres({ url: store, log: quiet });

    for (let round = 0; round < 3; round++) {
      const { environment: pg } = SurfaceAccess.parse(await window.request(METHODS.access));
      const client = new DatabaseClient({ host: pg.PGHOST, port: Number(pg.PGPORT), database: pg.PGDATABASE, user: pg.PGUSER, password: pg.PGPASSWORD });
      const died = new Promise<Error>((resolve) => client.on('error', resolve));
      await client.connect();
      const written = { acknowledged: 0 };
      const writing = (async () => {
        for (let i = 0; ; i++) {
          await client.query(`UPDATE orders SET total = ${i} WHERE id = ${1 + round}`);
          written.acknowledged = i + 1;
        }
      })().catch(() => undefined);
      await soon(() => assert.ok(written.acknowledged >= 5), 30_000);
      await sleep(Math.random() * 50);
      balancer.lead(other.port);
      serving.child.kill('SIGKILL');
      assert.match((await died).message, /gateway|Connection terminated/i);
      await writing;
      // Every write that the client was told of is in the record with its intent; the one that was out may be, too.
      await soon(async () => {
        // Its lease is long, for a machine that is busy, and runs out here.
        await db.query('UPDATE replicas SET lease_until = 0 WHERE id = $1', [serving.replica]);
        assert.deepEqual(await db.query('SELECT 1 FROM sessions WHERE owner = $1 AND closed_at IS NULL', [serving.replica]), []);
      }, 30_000);
      const [session] = await db.query<{ id: string; recovered: boolean }>('SELECT id, recovered FROM sessions WHERE owner = $1', [serving.replica]);
      assert.equal(session?.recovered, true);
      const lines = await db.query<{ line: string }>('SELECT line FROM entries WHERE session = $1 ORDER BY seq', [session?.id]);
      const bodies = lines.map(({ line }) => (JSON.parse(line) as { body: { type: string; payload?: string; outcome?: string; operation?: string } }).body);
      const intents = bodies.filter(({ type, payload }) => type === 'operation.intent' && payload?.startsWith('UPDATE'));
      const { acknowledged } = written;
      assert.ok(intents.length >= acknowledged && intents.length <= acknowledged + 1, `${intents.length} intents, ${acknowledged} acknowledged`);
      const outcomes = new Set(bodies.filter(({ type }) => type === 'operation.outcome').map(({ operation }) => operation));
      assert.ok(
        bodies.filter(({ type }) => type === 'operation.intent').every(({ operation }) => outcomes.has(operation)),
        'an operation without an outcome',
      );
      assert.equal(bodies.at(-1)?.type, 'session.close');
      serving = other;
      other = await start();
      await window.until(({ connections }) => connections.some(({ state }) => state === 'ready'));
    }
    await signed(db);
    const key = recordKey(createHash('sha256').update('seed').update('record signing').digest());
    const { problems } = await verifyRecords(db, key);
    assert.deepEqual(problems, []);
    window.close();
    await home.remove();
    await db.close();
    await balancer.stop();
  });
});
