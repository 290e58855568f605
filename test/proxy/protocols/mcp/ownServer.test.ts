import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import type { Client } from '@modelcontextprotocol/client';
import { Secret } from '../../../../contract/secret.ts';
import type { PostgresConnection } from '../../../../proxy/policy/policy.ts';
import { mountOwnServer } from '../../../../proxy/protocols/mcp/ownServer.ts';
import { postgres } from '../../../../proxy/protocols/postgres/serve.ts';
import type { ClientIdentity, Served, ServedState } from '../../../../proxy/protocols/protocol.ts';
import { PASSWORD, SUPERUSER, testDatabase } from '../../../support/postgres.ts';
import { until } from '../../../support/soon.ts';
import { Stage } from './stage.ts';

const database = await testDatabase();
let stage: Stage;
let own: { stop(): Promise<void> };
let real: Served;
const identities: ClientIdentity[] = [];
const streams: Duplex[] = [];
/** What the connection says of itself, where a test puts words into its mouth. */
let state: ServedState | undefined;

before(async () => {
  stage = await Stage.start();
  const connection: PostgresConnection = {
    name: 'orders',
    protocol: 'postgres',
    via: 'local',
    sensitive: new Map([['customers.email', 'partial']]),
    upstream: { host: database.host, port: database.port, database: database.database, user: SUPERUSER },
    tls: { mode: 'disable' },
    password: { from: 'secret', name: 'orders' },
  };
  stage.connections.push(connection);
  stage.secrets.set('orders', new Secret(PASSWORD));
  real = await postgres.serve(connection, stage.host);
  stage.served.set('orders', {
    connection,
    get state() {
      return state ?? real.state;
    },
    address: real.address,
    connect: (identity) => {
      identities.push(identity);
      const stream = real.connect?.(identity) ?? assert.fail('it takes no connections');
      streams.push(stream);
      return stream;
    },
    stop: (reason) => real.stop(reason),
  });
  own = mountOwnServer(stage.host, { progressMs: 50 });
  await until('the database to be served', () => real.state.state !== 'starting');
});

after(async () => {
  await own?.stop();
  await real?.stop('the test is over');
  await stage?.stop();
});

const text = (result: Awaited<ReturnType<Client['callTool']>>): string => (result.content as { text: string }[]).map((c) => c.text).join('\n');

for (const modern of [false, true]) {
  describe(`our own MCP server, ${modern ? 'stateless era' : 'era of sessions'}`, () => {
    it('offers three tools and says truthfully what they do', async () => {
      const client = await stage.client('mcp', { modern });
      const { tools } = await client.listTools();
      assert.deepEqual(
        tools.map((t) => [t.name, t.annotations?.readOnlyHint, t.annotations?.destructiveHint]),
        [
          ['list_connections', true, undefined],
          ['query', true, undefined],
          ['execute', false, true],
        ],
      );
      assert.ok(tools.every((t) => t.outputSchema && t.description));
    });

    it('lists connections with their state and what is masked', async () => {
      const client = await stage.client('mcp', { modern });
      const result = await client.callTool({ name: 'list_connections', arguments: {} });
      assert.deepEqual(result.structuredContent, { connections: [{ name: 'orders', protocol: 'postgres', state: 'ready', masked: ['customers.email'] }] });
      assert.match(text(result), /orders \(postgres\): ready; masked: customers\.email/);
    });

    it('returns rows as a table and as structure, with parameters bound', async () => {
      const client = await stage.client('mcp', { modern });
      const result = await client.callTool({
        name: 'query',
        arguments: { connection: 'orders', sql: 'select $1::int as id, $2::text as name, null as gone', params: [7, 'a\nb'] },
      });
      assert.equal(result.isError, undefined);
      assert.deepEqual(result.structuredContent, { columns: ['id', 'name', 'gone'], rows: [['7', 'a\nb', null]], rowCount: 1, truncated: false });
      assert.match(text(result), /^id \| name \| gone\n-+\+-+\+-+\n7 {2}\| a\\nb \| NULL\n\n1 row$/);
    });

    it('cuts a long result and says how much there is', async () => {
      const client = await stage.client('mcp', { modern });
      const result = await client.callTool({ name: 'query', arguments: { connection: 'orders', sql: 'select i from generate_series(1, 5000) i' } });
      const structured = result.structuredContent as { rows: unknown[]; rowCount: number; truncated: boolean };
      assert.equal(structured.rows.length, 200);
      assert.equal(structured.rowCount, 5000);
      assert.equal(structured.truncated, true);
      assert.match(text(result), /First 200 of 5000 rows/);
    });

    it('stops reading a result that has no end in sight', async () => {
      const client = await stage.client('mcp', { modern });
      const result = await client.callTool({ name: 'query', arguments: { connection: 'orders', sql: 'select generate_series(1, 1000000000) as i' } });
      assert.match(text(result), /First 200 of more than 100000 rows/);
    });

    it('tells the database who asks, what for, and whether it may only read', async () => {
      const client = await stage.client('mcp', { modern });
      identities.length = 0;
      await client.callTool({ name: 'query', arguments: { connection: 'orders', sql: 'select 1', reason: 'to see' } });
      await client.callTool({ name: 'execute', arguments: { connection: 'orders', sql: 'select 1' } });
      const [query, execute] = identities;
      assert.deepEqual(query?.actor, {
        person: stage.host.clients.bearer(stage.headers().Authorization!.slice(7))?.actor.person,
        agent: { kind: 'claude-code', name: 'claude-code', version: '9.9' },
      });
      assert.equal(query?.readOnly, true);
      assert.equal(query?.reason, 'to see');
      assert.equal(query?.surface, 'mcp');
      assert.equal(execute?.readOnly, undefined);
      assert.equal(query?.conversation, execute?.conversation);
    });

    it('passes on what the database says of an error, and goes on', async () => {
      const client = await stage.client('mcp', { modern });
      const failed = await client.callTool({ name: 'execute', arguments: { connection: 'orders', sql: 'select * from nowhere' } });
      assert.equal(failed.isError, true);
      assert.equal(text(failed), 'relation "nowhere" does not exist');
      const fine = await client.callTool({
        name: 'execute',
        arguments: { connection: 'orders', sql: 'create table if not exists t(a int); insert into t values (1), (2)' },
      });
      assert.match(text(fine), /INSERT: 2 rows/);
    });

    it('says which connections there are when one is unknown, and what is wrong with one that is not ready', async () => {
      const client = await stage.client('mcp', { modern });
      const unknown = await client.callTool({ name: 'query', arguments: { connection: 'nope', sql: 'select 1' } });
      assert.equal(text(unknown), 'There is no database connection called "nope". There are: orders.');
      state = { state: 'failed', problem: 'The server at 127.0.0.1 does not answer. Start it.' };
      try {
        const failed = await client.callTool({ name: 'query', arguments: { connection: 'orders', sql: 'select 1' } });
        assert.equal(text(failed), 'The server at 127.0.0.1 does not answer. Start it.');
      } finally {
        state = undefined;
      }
    });

    it('refuses arguments that are not what the schema says', async () => {
      const client = await stage.client('mcp', { modern });
      const before = identities.length;
      for (const args of [
        { connection: 'orders' },
        { connection: 'orders', sql: 5 },
        { connection: 'orders', sql: 'select 1', params: [{}] },
        { connection: 'orders', sql: 'x'.repeat(262_145) },
      ]) {
        const outcome = await client.callTool({ name: 'query', arguments: args as never }).then(
          (r) => r.isError,
          () => true,
        );
        assert.equal(outcome, true);
      }
      assert.equal(identities.length, before);
    });

    it('reports progress while the database works, to who asked for it', async () => {
      const client = await stage.client('mcp', { modern });
      let reports = 0;
      await client.callTool(
        { name: 'execute', arguments: { connection: 'orders', sql: 'select pg_sleep(1)' } },
        {
          onprogress: () => {
            reports++;
          },
        },
      );
      assert.ok(reports >= 2, `${reports} reports`);
    });

    it('ends the connection when the client cancels', async () => {
      const client = await stage.client('mcp', { modern });
      const abort = new AbortController();
      const seen = identities.length;
      const call = client.callTool(
        { name: 'execute', arguments: { connection: 'orders', sql: 'select pg_sleep(60) /* to cancel */' } },
        { signal: abort.signal },
      );
      await until('a connection', () => identities.length > seen);
      abort.abort();
      await assert.rejects(call);
      const stream = streams.at(-1) ?? assert.fail('nothing was connected');
      if (!stream.closed) await once(stream, 'close');
      assert.deepEqual(
        stage.logged.filter((l) => l.event.startsWith('error')),
        [],
      );
    });
  });
}

describe('sessions of our own MCP server', () => {
  it('are one conversation in one window, and another in another', async () => {
    const [one, two, other] = [await stage.client('mcp'), await stage.client('mcp'), await stage.client('mcp', { window: 'other' })];
    identities.length = 0;
    for (const client of [one, two, other]) await client.callTool({ name: 'query', arguments: { connection: 'orders', sql: 'select 1' } });
    const conversations = identities.map((i) => i.conversation.id);
    assert.equal(conversations[0], conversations[1]);
    assert.notEqual(conversations[0], conversations[2]);
  });

  it('do not exist for another window', async () => {
    const opened = await fetch(stage.url('mcp'), {
      method: 'POST',
      headers: { ...stage.headers('one'), 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } },
      }),
    });
    await opened.text();
    const id = opened.headers.get('mcp-session-id') ?? assert.fail('no session');
    const list = (window: string) =>
      fetch(stage.url('mcp'), {
        method: 'POST',
        headers: {
          ...stage.headers(window),
          'Content-Type': 'application/json',
          Accept: 'application/json, text/event-stream',
          'Mcp-Session-Id': id,
          'MCP-Protocol-Version': '2025-11-25',
        },
        body: JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'tools/list' }),
      });
    assert.equal((await list('two')).status, 404);
    const own = await list('one');
    assert.equal(own.status, 200);
    await own.text();
  });

  it('need a bearer token', async () => {
    const response = await fetch(stage.url('mcp'), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' });
    assert.equal(response.status, 401);
  });
});
