import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Client } from 'pg';
import { Secret } from '../../../contract/secret.ts';
import { sessionName } from '../../../gateway/aws/sts.ts';
import { RdsLogins } from '../../../gateway/credential/rdsLogins.ts';
import type { PostgresConnection } from '../../../proxy/policy/policy.ts';
import { postgres } from '../../../proxy/protocols/postgres/serve.ts';
import type { Served } from '../../../proxy/protocols/protocol.ts';
import { type TestEngine, testEngine } from '../../support/engine.ts';
import { CANARY, SENSITIVE, SHOP, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { soon } from '../../support/soon.ts';
import { quiet } from '../stores.ts';
import { type FakeAws, fakeAws, REGION, ROLE } from './fakeAwsBySpec.ts';

const USER = `rds_agent_${process.pid}`;

/** The token as the documentation of query signing says it, by none of the code that makes it in the gateway. */
function expectedToken(host: string, port: number, keys: { id: string; secret: string; session: string }, at: number): string {
  const encode = (text: string): string => encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  const hmac = (key: Buffer | string, data: string): Buffer => createHmac('sha256', key).update(data).digest();
  const sha256 = (data: string): string => createHash('sha256').update(data).digest('hex');
  const time = new Date(at).toISOString().replaceAll(/[:-]|\.\d{3}/g, '');
  const scope = `${time.slice(0, 8)}/${REGION}/rds-db/aws4_request`;
  const query = [
    ['Action', 'connect'],
    ['DBUser', USER],
    ['X-Amz-Algorithm', 'AWS4-HMAC-SHA256'],
    ['X-Amz-Credential', `${keys.id}/${scope}`],
    ['X-Amz-Date', time],
    ['X-Amz-Expires', '900'],
    ['X-Amz-Security-Token', keys.session],
    ['X-Amz-SignedHeaders', 'host'],
  ]
    .map(([name = '', value = '']) => `${encode(name)}=${encode(value)}`)
    .join('&');
  const canonical = ['GET', '/', query, `host:${host}:${port}`, '', 'host', sha256('')].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n');
  const key = hmac(hmac(hmac(hmac(`AWS4${keys.secret}`, time.slice(0, 8)), REGION), 'rds-db'), 'aws4_request');
  return hmac(key, toSign).toString('hex');
}

/** STS is a server by its documentation; the database is a real PostgreSQL that takes as a password what RDS would take. */
describe('a database that is logged in to by a role of AWS', () => {
  let db: TestDatabase;
  let admin: Client;
  let aws: FakeAws;
  let logins: RdsLogins;
  let t: TestEngine;
  let served: Served;
  const handed: string[] = [];

  before(async () => {
    db = await testDatabase(SHOP);
    admin = await db.direct();
    await admin.query(`CREATE ROLE ${USER} LOGIN`);
    await admin.query(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${USER}`);
    aws = await fakeAws();
    logins = new RdsLogins({
      sts: { region: REGION, endpoint: aws.endpoint },
      credentials: async () => ({ accessKeyId: aws.accessKeyId, secretAccessKey: new Secret(aws.secretAccessKey) }),
      clock: { now: () => Date.now() },
      log: quiet,
    });
    t = await testEngine(`version: 1
connections:
  orders:
    protocol: postgres
    via: gateway
    upstream: postgres://127.0.0.1:${db.port}/${db.database}
    tls: require
    user: ${USER}
    credential: { aws: { role: '${ROLE}', region: ${REGION}, external-id: team-42, tags: true } }
    sensitive: { ${Object.entries(SENSITIVE)
      .map(([column, mask]) => `${column}: ${mask}`)
      .join(', ')} }
`);
    const connection = t.policy().connections.get('orders') as PostgresConnection;
    served = await postgres.serve(
      // The test's server has no certificate; policy insists on encryption, see below.
      { ...connection, tls: { mode: 'disable' } },
      {
        ...t.host,
        loopback: false,
        lease: async (credential, _signal, actor) => {
          assert.ok(credential.lease === 'aws-rds');
          const login = await logins.issue(credential, actor);
          const text = login.password.reveal();
          const [, id = ''] = /X-Amz-Credential=(\w+)/.exec(text) ?? [];
          const time = /X-Amz-Date=(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/.exec(text)?.slice(1) ?? [];
          const at = Date.parse(`${time[0]}-${time[1]}-${time[2]}T${time[3]}:${time[4]}:${time[5]}Z`);
          const lent = aws.lent.get(id);
          // RDS would compute the same, and let in whoever brings it.
          const signature = expectedToken('127.0.0.1', db.port, { id, secret: lent?.secretAccessKey ?? '', session: lent?.sessionToken ?? '' }, at);
          assert.ok(Math.abs(at - Date.now()) < 60_000);
          const good = text.replace(/X-Amz-Signature=[0-9a-f]+/, `X-Amz-Signature=${signature}`);
          await admin.query(`ALTER ROLE ${USER} PASSWORD '${good}'`);
          handed.push(text);
          return login;
        },
      },
    );
  });
  after(async () => {
    await served?.stop('done');
    await t?.stop();
    await logins?.stop();
    await aws.stop();
    await admin.end();
  });

  const client = (): Client => new Client({ stream: (() => served.connect?.(t.identity())) as never, user: 'x', database: db.database });

  it('lets each session in by a token signed with keys for that person and that login alone, and masks as everywhere', async () => {
    const c = client();
    await c.connect();
    const { rows } = await c.query('SELECT current_user AS me, (SELECT email FROM customers WHERE id = 1) AS email');
    assert.equal(rows[0].me, USER);
    assert.doesNotMatch(JSON.stringify(rows), CANARY);
    const asked = aws.assumed.at(-1);
    const { person, agent } = t.identity().actor;
    assert.equal(asked?.get('RoleSessionName'), sessionName(person.subject));
    assert.equal(asked?.get('ExternalId'), 'team-42');
    assert.deepEqual(JSON.parse(asked?.get('Policy') ?? '').Statement, [
      { Effect: 'Allow', Action: 'rds-db:connect', Resource: `arn:aws:rds-db:${REGION}:*:dbuser:*/${USER}` },
    ]);
    const tags = [1, 2, 3].map((i) => [asked?.get(`Tags.member.${i}.Key`), asked?.get(`Tags.member.${i}.Value`)]);
    assert.deepEqual(tags, [
      ['countersign:person', person.subject],
      ['countersign:agent', agent.name],
      ['countersign:connection', 'orders'],
    ]);
    await c.end();
    const written = await t.written();
    for (const text of handed) for (const part of text.match(/[^=&]{20,}/g) ?? []) if (!/^127|^rds/.test(part)) assert.ok(!written.includes(part), part);
    assert.ok(!written.includes('canary-'));
  });

  it('ends a session whose role was taken away, when its keys are asked for anew', async () => {
    aws.seconds = 8;
    const c = client();
    const died = new Promise<Error>((resolve) => c.on('error', resolve));
    await c.connect();
    const before = aws.assumed.length;
    await soon(() => assert.ok(aws.assumed.length > before, 'the keys were not renewed'));
    aws.refuse = { status: 403, code: 'AccessDenied' };
    assert.match((await died).message, /the login that it was lent has ended/);
    const next = client();
    next.on('error', () => {});
    await assert.rejects(
      next.connect(),
      (cause: Error) => /AWS STS refused the role .* \(AccessDenied\).*trust policy/.test(cause.message) && !cause.message.includes('canary'),
    );
    aws.refuse = undefined;
    aws.seconds = 900;
  });

  it('goes on over a moment in which STS is away', async () => {
    aws.seconds = 8;
    const c = client();
    c.on('error', () => {});
    await c.connect();
    const [refused, assumed] = [aws.refused, aws.assumed.length];
    aws.refuse = { status: 503, code: 'ServiceUnavailable' };
    await soon(() => assert.ok(aws.refused > refused));
    aws.refuse = undefined;
    await soon(() => assert.ok(aws.assumed.length > assumed));
    assert.deepEqual((await c.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
    await c.end();
    aws.seconds = 900;
  });
});

describe('names of sessions at AWS', () => {
  it('are what STS takes, whoever it is for', () => {
    assert.equal(sessionName('dana@example.test'), 'dana@example.test');
    assert.equal(sessionName('auth0|Zoë "x"'), 'auth0-Zo---x-');
    assert.equal(sessionName('a'), 'a-');
    assert.equal(sessionName('x'.repeat(200)).length, 64);
  });
});
