import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { NARROWEST } from '../../../contract/approval.ts';
import { METHODS, SurfaceAccess } from '../../../contract/control.ts';
import type { ControlClient } from '../../../proxy/control/client.ts';
import { Home } from '../../proxy/daemon/daemonProcess.ts';
import { CANARY, PASSWORD, SENSITIVE, SHOP, SUPERUSER, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { type Stage, stage } from '../stage.ts';

function countersign(args: readonly string[], env: Readonly<Record<string, string>>, input = ''): Promise<{ out: string; code: number }> {
  const main = join(import.meta.dirname, '../../../cli/main.ts');
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', main, ...args],
      { env: { ...process.env, ...env } },
      (error, stdout, stderr) => resolve({ out: stdout + stderr, code: typeof error?.code === 'number' ? error.code : 0 }),
    );
    child.stdin?.end(input);
  });
}

/** The whole way: a real identity provider, a real gateway on a real store, a proxy in its own process, a real database. */
describe('a team with a gateway', () => {
  let on: Stage;
  let database: TestDatabase;
  const home = new Home();
  let window: ControlClient;

  before(async () => {
    database = await testDatabase(SHOP);
    on = await stage();
    // As whoever runs it does, beside the gateway: it is told, and takes the secret up.
    const file = `${on.folder}/gateway-${new URL(on.url).port}.yaml`;
    const set = await countersign(['gateway', 'secret', 'set', 'shop', '--config', file], on.env, PASSWORD);
    assert.equal(set.code, 0, set.out);
    const listed = await countersign(['gateway', 'secret', 'list', '--config', file], on.env);
    assert.match(listed.out, /^shop {2}version 1 /);
    assert.ok(!listed.out.includes(PASSWORD));
    const root = await on.signIn('root');
    const text = `version: 1
connections:
  shop:
    protocol: postgres
    via: gateway
    upstream: postgres://${SUPERUSER}@127.0.0.1:${database.port}/${database.database}
    password: secret:shop
    sensitive: { ${Object.entries(SENSITIVE)
      .map(([column, mask]) => `${column}: ${mask}`)
      .join(', ')} }
rules:
  - { id: writes-by-dba, match: { effect: write }, verdict: ask, approvers: ['group:dba'] }
`;
    const put = await root.call('PUT', '/v1/policy', { text, comment: 'the team', over: 0 });
    assert.equal(put.status, 200, JSON.stringify(put.body));
  });

  after(async () => {
    await home.remove();
    await on.stop();
  });

  it('signs in, reads masked, has a write approved by someone else, and is cut when the sign-in ends', async () => {
    const ada = await on.signIn('ada');
    const { at } = await home.start();
    window = await home.attach(at);
    await window.request(METHODS.putGateway, { url: on.url, token: { value: ada.token, expiresAt: Date.now() + 600_000 } });
    await window.until(({ connections }) => connections.some(({ name, state }) => name === 'shop' && state === 'ready'));
    const { environment: pg } = SurfaceAccess.parse(await window.request(METHODS.access));
    const client = new Client({ host: pg.PGHOST, port: Number(pg.PGPORT), database: pg.PGDATABASE, user: pg.PGUSER, password: pg.PGPASSWORD });
    const died = new Promise<Error>((resolve) => client.on('error', resolve));
    await client.connect();
    const { rows } = await client.query('SELECT email, ssn FROM customers WHERE id = 1');
    assert.equal(rows.length, 1);
    assert.doesNotMatch(JSON.stringify(rows), CANARY);

    const updated = client.query("UPDATE orders SET status = 'refunded' WHERE id = 7");
    const dana = await on.signIn('dana');
    let waiting: { id: string; digest: string } | undefined;
    for (let i = 0; !waiting; i++) {
      assert.ok(i < 2000, 'nothing was asked');
      await sleep(25);
      const { body } = await dana.call('GET', '/v1/approvals');
      waiting = (body.pending as { id: string; digest: string }[] | undefined)?.[0];
    }
    const answer = { answer: 'approve', digest: waiting.digest, id: waiting.id, scope: NARROWEST };
    const own = await ada.call('POST', `/v1/approvals/${waiting.id}/answer`, answer);
    assert.notEqual(own.body.result, 'accepted', 'who asked may not answer');
    const answered = await dana.call('POST', `/v1/approvals/${waiting.id}/answer`, answer);
    assert.equal(answered.body.result, 'accepted', JSON.stringify(answered.body));
    assert.equal((await updated).rowCount, 1);

    const olga = await on.signIn('olga');
    const verified = await olga.call('POST', '/v1/audit/verify', {});
    assert.deepEqual(verified.body.problems, [], JSON.stringify(verified.body));

    assert.ok((await ada.call('POST', '/v1/me/sign-out', {})).status < 300);
    assert.match((await died).message, /sign-in/i);
    await window.until(({ gateway }) => gateway?.state === 'signed-out');
  });
});
