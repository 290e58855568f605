/** A task begun through one replica and asked about through another: by whoever began it, and by somebody else who has its id. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { StoredTasks } from '../../../gateway/sessions/storedTasks.ts';
import type { Database } from '../../../gateway/store/database.ts';
import { migrate } from '../../../gateway/store/migrate.ts';
import { openPostgres } from '../../../gateway/store/postgres.ts';
import { mcp } from '../../../proxy/protocols/mcp/mcp.ts';
import { listening, remoteConnection } from '../../proxy/protocols/mcp/everything.ts';
import { Stage } from '../../proxy/protocols/mcp/stage.ts';
import { postgresUrl, quiet } from '../stores.ts';

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'claude-code', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': { extensions: { 'io.modelcontextprotocol/tasks': {} } },
};

describe('a task that was begun through another replica', () => {
  const stages: Stage[] = [];
  const dbs: Database[] = [];
  const ends: (() => unknown)[] = [];

  before(async () => {
    const server = fileURLToPath(new URL('../../peers/mcp/taskServer.ts', import.meta.url));
    const { port, stop } = await listening([process.execPath, '--disable-warning=ExperimentalWarning', server]);
    ends.push(stop);
    const url = await postgresUrl();
    for (let n = 0; n < 2; n++) {
      const db = openPostgres({ url, log: quiet });
      dbs.push(db);
      await migrate(db, quiet);
      const stage = await Stage.start();
      stage.people.set('eve', { issuer: 'os', subject: 'eve', name: 'Eve', groups: [] });
      stages.push(stage);
      const connection = remoteConnection('jobs', `http://127.0.0.1:${port}/mcp`);
      stage.connections.push(connection);
      const served = await mcp.serve(connection, { ...stage.host, tasks: new StoredTasks(db) });
      ends.push(() => served.stop('the test is over'));
    }
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
    for (const stage of stages) await stage.stop();
    for (const db of dbs) await db.close();
  });

  const ask = async (replica: number, window: string, method: string, params: Record<string, unknown>) => {
    const stage = stages[replica] as Stage;
    const name = params.name ?? params.taskId;
    const response = await fetch(stage.url('mcp/jobs'), {
      method: 'POST',
      headers: stage.statelessHeaders(method, name, window),
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: META } }),
    });
    return (await response.json()) as { result?: Record<string, unknown>; error?: { code: number; message: string } };
  };

  it('is its owner’s there as well, and nobody else’s, whatever policy says of what is unknown', async () => {
    const { result } = await ask(0, 'window', 'tools/call', { name: 'confirm_delete', arguments: { filename: 'ghp_0123456789abcdefghijABCDEFGHIJ012345' } });
    const taskId = String(result?.taskId);
    const refused = await ask(1, 'eve', 'tasks/cancel', { taskId });
    assert.deepEqual(refused.error, { code: -32_602, message: 'Failed to retrieve task: Task not found' });
    const outcome = stages[1]?.entries.findLast((entry) => entry.type === 'operation.outcome');
    assert.equal(outcome?.type === 'operation.outcome' && outcome.outcome, 'denied');
    const mine = await ask(1, 'window', 'tasks/get', { taskId });
    assert.ok(['working', 'input_required'].includes(String(mine.result?.status)), JSON.stringify(mine));
    const [replica] = stages.slice(1);
    assert.ok(replica);
    replica.decide = (facts) => (facts.mcp?.tool === 'confirm_delete' ? 'deny' : 'allow');
    assert.match((await ask(1, 'window', 'tasks/get', { taskId })).error?.message ?? '', /Denied by rule/);
    replica.decide = () => 'allow';
    assert.deepEqual((await ask(1, 'window', 'tasks/cancel', { taskId })).result, { resultType: 'complete' });
    assert.equal((await ask(0, 'window', 'tasks/get', { taskId })).result?.status, 'cancelled');
    const kept = JSON.stringify(await dbs[0]?.query('SELECT * FROM mcp_tasks'));
    assert.match(kept, /confirm_delete/);
    assert.ok(!kept.includes(taskId) && !kept.includes('ghp_'), 'neither the id nor a secret in the arguments is kept');
  });
});
