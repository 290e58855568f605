/** Our own MCP server over the real database protocol, policy, approvals and record: what an agent gets, and what is written. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Secret } from '../../../../contract/secret.ts';
import { freePort } from '../../../../demo/freePort.ts';
import { LoopbackServer } from '../../../../proxy/http/loopback.ts';
import { ClientLogins } from '../../../../proxy/identity/clients.ts';
import { mountOwnServer } from '../../../../proxy/protocols/mcp/ownServer.ts';
import { postgres } from '../../../../proxy/protocols/postgres/serve.ts';
import type { ProtocolHost, Served } from '../../../../proxy/protocols/protocol.ts';
import { ADA, type TestEngine, testEngine } from '../../../support/engine.ts';
import { CANARY, PASSWORD, SHOP, SUPERUSER, testDatabase } from '../../../support/postgres.ts';
import { until } from '../../../support/soon.ts';

const database = await testDatabase(SHOP);
let engine: TestEngine;
let http: LoopbackServer;
let served: Served;
let own: { stop(): Promise<void> };
let bearer: string;
const clients: Client[] = [];

before(async () => {
  engine = await testEngine(`version: 1
connections:
  shop:
    protocol: postgres
    upstream: postgres://${SUPERUSER}@127.0.0.1:${database.port}/${database.database}
    tls: { mode: disable }
    password: secret:shop
    sensitive: { customers.email: partial, customers.ssn: redact, customers.card: token }
rules:
  - id: no-mass-delete
    match: { effect: delete, bulk: true }
    verdict: deny
    say: Say which rows.
`);
  engine.secrets.set('shop', new Secret(PASSWORD));
  const logins = new ClientLogins({ secret: new Secret('s'.repeat(64)), person: ADA, clock: engine.engine.clock, newId: engine.engine.newId });
  bearer = logins.issueBearer('window').reveal();
  http = new LoopbackServer({ port: await freePort(), clients: logins, log: engine.engine.log });
  await http.start();
  const host: ProtocolHost = {
    ...engine.host,
    clients: logins,
    mount: (...mounted) => http.mount(...mounted),
    served: (name) => (name === 'shop' ? served : undefined),
  };
  const [connection] = engine.policy().connections.values();
  assert.ok(connection?.protocol === 'postgres');
  served = await postgres.serve(connection, host);
  own = mountOwnServer(host);
});

after(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await own?.stop();
  await served?.stop('the test is over');
  await http?.stop();
  await engine?.stop();
});

async function connect(modern: boolean): Promise<Client> {
  const client = new Client({ name: 'Visual Studio Code', version: '1.105.0' }, modern ? { versionNegotiation: { mode: { pin: '2026-07-28' } } } : {});
  clients.push(client);
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${http.port}/mcp`), { requestInit: { headers: { Authorization: `Bearer ${bearer}` } } }),
  );
  return client;
}

const text = (result: Awaited<ReturnType<Client['callTool']>>): string => (result.content as { text: string }[]).map((c) => c.text).join('\n');
const call = (client: Client, name: string, sql: string, more: object = {}) => client.callTool({ name, arguments: { connection: 'shop', sql, ...more } });

for (const modern of [false, true]) {
  describe(`an agent on the database, ${modern ? 'stateless era' : 'era of sessions'}`, () => {
    it('reads rows with the sensitive columns masked', async () => {
      const client = await connect(modern);
      const result = await call(client, 'query', 'select id, email, ssn, card from customers where id = $1', { params: [1] });
      const { rows } = result.structuredContent as { rows: string[][] };
      assert.deepEqual(rows[0]?.slice(0, 3), ['1', 'c•••@secret.example', '‹redacted›']);
      assert.match(rows[0]?.[3] ?? '', /^‹card·\d+·[a-z]{5}›$/);
      assert.doesNotMatch(JSON.stringify(result), CANARY);
    });

    it('is refused a write by the tool that only reads, in words', async () => {
      const result = await call(await connect(modern), 'query', "update orders set status = 'refunded' where id = 1");
      assert.equal(result.isError, true);
      assert.match(text(result), /this tool only reads/);
    });

    it('is asked about once, as what it does, and runs when approved', async () => {
      const client = await connect(modern);
      const asked = engine.onAsk('approve');
      const result = await call(client, 'execute', "update orders set status = 'refunded' where id = 2", { reason: 'the customer asked' });
      assert.equal(result.isError, undefined, text(result));
      assert.equal(text(result), 'UPDATE: 1 row');
      const question = await asked;
      assert.equal(question.facts.headline, 'UPDATE orders');
      assert.equal(question.language, 'sql');
      assert.equal(question.reason, 'the customer asked');
      assert.deepEqual(question.actor.agent, { kind: 'vscode-chat', name: 'Visual Studio Code', version: '1.105.0' });
      assert.equal(engine.approvals.pending().length, 0);
    });

    it('gets the note of who denied it', async () => {
      const client = await connect(modern);
      const asked = engine.onAsk('deny', 'Use the refunds queue.');
      const result = await call(client, 'execute', "update orders set status = 'refunded' where id = 3");
      await asked;
      assert.equal(result.isError, true);
      assert.match(text(result), /Denied by Ada: Use the refunds queue\./);
    });

    it('gets the rule that denied it', async () => {
      const result = await call(await connect(modern), 'execute', 'delete from orders');
      assert.equal(result.isError, true);
      assert.match(text(result), /no-mass-delete.*Say which rows/);
    });

    it('withdraws its question by cancelling', async () => {
      const client = await connect(modern);
      const abort = new AbortController();
      const asked = engine.onAsk(() => {
        abort.abort();
        return undefined;
      });
      await assert.rejects(
        client.callTool({ name: 'execute', arguments: { connection: 'shop', sql: "update orders set status = 'x' where id = 4" } }, { signal: abort.signal }),
      );
      await asked;
      await until('the end of the question', () => engine.approvals.pending().length === 0);
    });
  });
}

describe('the record of an agent on the database', () => {
  it('holds each call once, with who and what, and no sensitive value', async () => {
    const client = await connect(false);
    // Where policy asks about a condition on a sensitive column, the person says yes.
    void engine.onAsk('approve');
    await call(client, 'query', "select email from customers where email = 'canary3@secret.example'");
    await client.close();
    const entries = await engine.entries();
    const intents = entries.filter((e) => e.type === 'operation.intent' && /where email/.test(e.payload));
    assert.equal(intents.length, 1);
    const open = entries.find((e) => e.type === 'session.open' && e.surface === 'mcp');
    assert.ok(open?.type === 'session.open' && open.actor.agent.name === 'Visual Studio Code' && open.actor.person.name === 'Ada');
    assert.doesNotMatch(await engine.written(), CANARY);
  });
});
