import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Client } from 'pg';
import { Secret } from '../../../contract/secret.ts';
import { freePort } from '../../../demo/freePort.ts';
import { openSecrets } from '../../../gateway/secrets.ts';
import type { Uplink } from '../../../proxy/uplink/uplink.ts';
import { CANARY, PASSWORD, SENSITIVE, SHOP, SUPERUSER, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { soon } from '../../support/soon.ts';
import { type Client as Person, type Stage, stage } from '../stage.ts';
import { temporaryFolder } from '../stores.ts';
import { type Balancer, balancer } from './balancer.ts';
import { type EdgeProcess, edgeFile, forkEdge, INSIDE, laptop, through } from './edges.ts';

/** A gateway of two replicas behind one address, and a database that only an edge knows how to reach. */
describe('a connection behind an edge', () => {
  let on: Stage;
  let front: Balancer;
  let database: TestDatabase;
  let root: Person;
  let ada: Person;
  const ports: number[] = [];
  const children: EdgeProcess[] = [];
  const uplinks: Uplink[] = [];
  const clients: Client[] = [];
  const data = temporaryFolder();

  before(async () => {
    database = await testDatabase(SHOP);
    front = await balancer(await freePort());
    on = await stage({ replicas: 2, publicPort: front.port, resumeMs: 5_000 });
    ports.push(...on.addresses.map((address) => Number(new URL(address).port)));
    front.lead(...ports);
    root = await on.signIn('root');
    ada = await on.signIn('ada');
    const secrets = await openSecrets(join(on.folder, `gateway-${ports[0]}.yaml`), on.env);
    await secrets.put('shop', new Secret(PASSWORD), { issuer: 'os', subject: 'root', groups: [] });
    await secrets.close();
    const text = `version: 1
defaults: { write: allow, execute: allow }
connections:
  shop:
    protocol: postgres
    via: gateway
    edge: plant
    upstream: postgres://${SUPERUSER}@${INSIDE}:${database.port}/${database.database}
    tls: disable
    password: secret:shop
    sensitive: { ${Object.entries(SENSITIVE)
      .map(([column, mask]) => `${column}: ${mask}`)
      .join(', ')} }
`;
    assert.equal((await root.call('PUT', '/v1/policy', { text, comment: 'behind an edge', over: 0 })).status, 200);
  });

  after(async () => {
    for (const client of clients) await client.end().catch(() => undefined);
    for (const uplink of uplinks) await uplink.stop('the test is over');
    for (const { child } of children) child.kill('SIGKILL');
    await on.stop();
    await front.stop();
  });

  const edge = async (replica = 0): Promise<{ state: string; sentence: string; processes: { replicas: number; draining: boolean }[] }> => {
    const { body } = await root.call('GET', '/v1/edges', undefined, replica);
    return (body.edges as { name: string; state: string; sentence: string; processes: { replicas: number; draining: boolean }[] }[]).find(
      ({ name }) => name === 'plant',
    )!;
  };
  /** A laptop whose link is at this very replica. */
  const at = async (replica: number): Promise<Uplink> => {
    front.lead(ports[replica]!);
    const uplink = laptop(on.url, ada.token);
    uplinks.push(uplink);
    await soon(() => assert.equal(uplink.state.state, 'ready'));
    front.lead(...ports);
    return uplink;
  };
  const open = async (uplink: Uplink): Promise<Client> => {
    const client = await through(uplink, 'shop', database.database);
    clients.push(client);
    return client;
  };
  /** Statements that sleep at the server, as it says itself. */
  const sleeping = async (seconds = 60): Promise<number> => {
    const direct = new Client({ host: '127.0.0.1', port: database.port, database: database.database, user: SUPERUSER, password: PASSWORD });
    await direct.connect();
    const { rows } = await direct.query<{ n: number }>(
      "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE $1",
      [`SELECT pg_sleep(${seconds})%`],
    );
    await direct.end();
    return rows[0]?.n ?? 0;
  };
  const offered = (uplink: Uplink): { state: string; problem?: string | undefined } | undefined => uplink.offered.find(({ name }) => name === 'shop');

  it('does not work without its edge, and says so', async () => {
    assert.equal((await edge()).state, 'never-joined');
    const uplink = await at(0);
    await soon(() => assert.match(offered(uplink)?.problem ?? '', /shop is behind the edge plant, and no edge of that name is connected/));
    await assert.rejects(open(uplink), /no edge of that name is connected/);
  });

  it('is read, masked and recorded by the gateway through the edge, whichever replica the session arrives at', async () => {
    const added = await root.call('POST', '/v1/edges', { name: 'plant' });
    assert.equal(added.status, 200);
    const file = edgeFile({ gateway: on.url, token: added.body.token as string, data, allow: [`${INSIDE}:${database.port}`, `127.0.0.1:${database.port}`] });
    const process = forkEdge(file);
    children.push(process);
    await process.connected(2);
    await soon(async () => assert.equal((await edge()).state, 'connected'));
    for (const replica of [0, 1]) {
      const uplink = await at(replica);
      await soon(() => assert.equal(offered(uplink)?.state, 'ready'));
      const client = await open(uplink);
      const { rows } = await client.query('SELECT email, ssn FROM customers ORDER BY id LIMIT 3');
      assert.equal(rows.length, 3);
      assert.doesNotMatch(JSON.stringify(rows), CANARY);
      const big = await client.query("SELECT repeat('x', 3000000) AS x");
      assert.equal((big.rows[0] as { x: string }).x.length, 3_000_000);
      await client.end();
    }
    const olga = await on.signIn('olga');
    const verified = await olga.call('POST', '/v1/audit/verify', {});
    assert.deepEqual(verified.body.problems, []);
  });

  it('ends with a sentence when its edge is killed in the middle of a query, and works again when that is back', async () => {
    const uplink = await at(1);
    const client = await open(uplink);
    const running = client.query('SELECT pg_sleep(60)').then(
      () => assert.fail('it cannot have ended'),
      (cause: Error) => cause.message,
    );
    await soon(async () => assert.equal(await sleeping(), 1));
    children[0]!.child.kill('SIGKILL');
    assert.match(await running, /edge plant, through which this connection was reached, was lost/);
    await soon(async () => assert.equal((await edge()).state, 'away'));
    // The same folder: it has joined already, and its token is used up.
    const back = forkEdge(edgeFile({ gateway: on.url, data, allow: [`${INSIDE}:${database.port}`, `127.0.0.1:${database.port}`] }));
    children.push(back);
    await back.connected(2);
    const again = await open(uplink);
    assert.equal((await again.query('SELECT 1 AS one')).rows[0].one, 1);
    await again.end();
  });

  it('goes on through a network that breaks for a moment', async () => {
    const uplink = await at(0);
    const client = await open(uplink);
    const slow = client.query("SELECT pg_sleep(0.4), 'whole' AS said");
    // What is resumed is resumed at the replica that has it.
    front.lead(ports[0]!);
    front.cut();
    assert.equal((await slow).rows[0].said, 'whole');
    await client.end();
    front.lead(...ports);
    await soon(async () => assert.equal((await edge()).state, 'connected'));
  });

  it('cancels what runs, on a way of its own', async () => {
    const uplink = await at(0);
    const client = await open(uplink);
    const running = client.query('SELECT pg_sleep(61)').catch(() => undefined);
    await soon(async () => assert.equal(await sleeping(61), 1));
    // A client that goes has its statement cancelled at the server, not only forgotten.
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    await soon(async () => assert.equal(await sleeping(61), 0));
    await running;
  });

  it('is served by another process of the edge when one shuts down; what is open there ends by itself', async () => {
    const added = await root.call('POST', '/v1/edges', { name: 'plant' });
    const second = forkEdge(
      edgeFile({ gateway: on.url, token: added.body.token as string, drainSeconds: 20, allow: [`${INSIDE}:${database.port}`, `127.0.0.1:${database.port}`] }),
    );
    children.push(second);
    await second.connected(2);
    await soon(async () => assert.equal((await edge()).processes.length, 2));
    // The first has nothing to carry, the second neither: whichever is asked, the other stands in.
    const uplink = await at(0);
    const open1 = await open(uplink);
    const open2 = await open(uplink);
    const slow = Promise.all([open1.query("SELECT pg_sleep(1), 'whole' AS said"), open2.query("SELECT pg_sleep(1), 'whole' AS said")]);
    const left = new Promise((resolve) => second.child.once('exit', resolve));
    second.child.kill('SIGTERM');
    await soon(async () => assert.deepEqual((await edge()).processes.map(({ draining }) => draining).toSorted(), [false, true]));
    const fresh = await open(uplink);
    assert.equal((await fresh.query('SELECT 1 AS one')).rows[0].one, 1);
    for (const { rows } of await slow) assert.equal(rows[0].said, 'whole');
    for (const client of [open1, open2, fresh]) await client.end();
    assert.equal(await left, 0);
    await soon(async () => assert.equal((await edge()).processes.length, 1));
  });

  it('outlives a replica of the gateway, and finds the next', async () => {
    const uplink = await at(1);
    const client = await open(uplink);
    await on.gateways[0]!.stop('the test stops it');
    front.lead(ports[1]!);
    assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
    await client.end();
    await soon(async () => assert.equal((await edge(1)).state, 'connected'));
  });
});
