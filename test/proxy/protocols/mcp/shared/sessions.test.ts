/** What policy has share a process is served by one; what protects a session stays the session's. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Client } from '@modelcontextprotocol/client';
import type { McpConnection } from '../../../../../proxy/policy/policy.ts';
import { mcpRelay } from '../../../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../../../proxy/protocols/protocol.ts';
import { alive } from '../../../../support/alive.ts';
import { until } from '../../../../support/soon.ts';
import { everything } from '../everything.ts';
import { RUDE_SERVER } from '../servers.ts';
import { Stage } from '../stage.ts';

const stateless = fileURLToPath(new URL('statelessServer.ts', import.meta.url));

let directory: string;
let script: string;
let stage: Stage;
let served: Served;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'countersign-shared-'));
  script = join(directory, 'server.cjs');
  await writeFile(script, RUDE_SERVER);
});
after(() => rm(directory, { recursive: true, force: true }));
beforeEach(async () => {
  stage = await Stage.start();
});
afterEach(async () => {
  await served.stop('the test is over');
  await stage.stop();
});

async function serve(command: readonly string[] = [script], times = {}): Promise<void> {
  const connection: McpConnection = {
    name: 'shared',
    protocol: 'mcp',
    via: 'local',
    sensitive: new Map(),
    share: 'person',
    upstream: { transport: 'stdio', command: [process.execPath, '--disable-warning=ExperimentalWarning', ...command], env: new Map() },
  };
  stage.connections.push(connection);
  served = await mcpRelay(times).serve(connection, stage.host);
}

const client = (window: string, modern = false, name = 'claude-code') => stage.client('mcp/shared', { window, modern, name });
const text = (result: Awaited<ReturnType<Client['callTool']>>): string => (result.content as { text: string }[]).map((c) => c.text).join('\n');
const pidOf = async (one: Client): Promise<number> => Number(text(await one.callTool({ name: 'pids', arguments: {} })).split(' ')[0]);

describe('a server that policy has shared', () => {
  it('is one process for different agents, each with a recorded session, a taint and masks of its own', async () => {
    await serve();
    const [one, two] = [await client('one'), await client('two', false, 'cursor-vscode')];
    assert.equal(await pidOf(one), await pidOf(two));
    assert.deepEqual(
      stage.sessions.map(({ actor }) => actor.agent.name),
      ['claude-code', 'cursor-vscode'],
    );
    assert.match(text(await one.callTool({ name: 'card', arguments: { card: '4111 1111 1111 1111' } })), /‹redacted›/);
    const hasRead = async (of: Client): Promise<boolean> => {
      await of.callTool({ name: 'echo', arguments: {} });
      return stage.decided.at(-1)?.context.conversationRead.some(({ sensitive, target }) => sensitive && target === 'shared/card') === true;
    };
    assert.equal(await hasRead(one), true, 'it has read a card number');
    assert.equal(await hasRead(two), false, 'the other has not');
  });

  it('is shared by one person’s sessions, never with another person’s', async () => {
    await serve();
    const bob = { issuer: 'https://id.example', subject: 'ada', name: 'Ada', groups: [] };
    const bearer = stage.clients.bearer.bind(stage.clients);
    const { conversation } = bearer(stage.headers('bob').Authorization?.slice(7) ?? '') ?? {};
    stage.clients.bearer = (token) => {
      const identity = bearer(token);
      // The same name, by another issuer: somebody else.
      return identity?.conversation === conversation && identity ? { ...identity, actor: { ...identity.actor, person: bob } } : identity;
    };
    const [one, two, three] = [await client('one'), await client('bob'), await client('bob', true)];
    assert.deepEqual(
      stage.sessions.map(({ actor }) => actor.person.issuer),
      ['os', 'https://id.example', 'https://id.example'],
    );
    const pid = await pidOf(one);
    assert.notEqual(await pidOf(two), pid);
    assert.notEqual(await pidOf(three), pid);
    assert.equal(await pidOf(await client('another')), pid);
  });

  it('starts for nobody whom policy does not let, and for others all the same', async () => {
    await serve();
    stage.decide = (facts, { actor }) => (facts.verb === 'CONNECT' && actor.agent.name === 'mallory' ? 'deny' : 'allow');
    const one = await client('one');
    await assert.rejects(client('two', false, 'mallory'), /Denied by rule the-rule/);
    assert.ok((await pidOf(one)) > 0);
  });

  it('that dies with two waiting calls of two clients answers both with a sentence, and starts again once for both', async () => {
    await serve();
    const [one, two, three] = [await client('one'), await client('two'), await client('three', true)];
    const waiting = [one, two, three].map((each) =>
      each.callTool({ name: 'hang', arguments: {} }).then(
        () => 'answered',
        (cause: Error) => cause.message,
      ),
    );
    await pidOf(two);
    await assert.rejects(two.callTool({ name: 'die', arguments: {} }), /has ended/);
    for (const told of await Promise.all(waiting)) assert.match(told, /The MCP server shared has ended \(exit code 9\)/);
    const again = await Promise.all([client('one'), client('two')]);
    const [a, b] = await Promise.all(again.map(pidOf));
    assert.equal(a, b);
    assert.ok((await pidOf(three)) > 0, 'a client without a session has nothing to open anew');
  });

  it('that will not start is left alone for a while, whoever comes', async () => {
    await serve([script, 'exits']);
    const began = Date.now();
    stage.now = () => began;
    for (let n = 0; n < 2; n++) await assert.rejects(client(`window ${n}`), /has ended \(exit code 3\)/);
    await assert.rejects(client('another window'), /ended 2 times right after it was started.*again in 1 seconds/);
  });

  it('goes on when a client leaves in the middle of its call, and ends with all that it has started after the last', async () => {
    await serve([script, 'has-child'], { lingerMs: 20 });
    const [one, two] = [await client('one'), await client('two')];
    const [pid = 0, child = 0] = text(await one.callTool({ name: 'pids', arguments: {} }))
      .split(' ')
      .map(Number);
    const waiting = one.callTool({ name: 'hang', arguments: {} }).catch(() => {});
    await (one.transport as unknown as { terminateSession(): Promise<void> }).terminateSession();
    await one.close();
    await waiting;
    assert.equal(await pidOf(two), pid);
    await (two.transport as unknown as { terminateSession(): Promise<void> }).terminateSession();
    for (const one of [pid, child]) await until('the end of the process', () => !alive(one));
  });

  it('is ended at once when its connection goes', async () => {
    await serve([script, 'stays']);
    const pid = await pidOf(await client('one'));
    await served.stop('the test is over');
    assert.equal(alive(pid), false);
  });

  it('may be a real one: two clients at once, with progress, a question to each, and their own resources', async () => {
    await serve([everything]);
    const capable = async (window: string, city: string) => {
      const one = await stage.client('mcp/shared', { window, options: { capabilities: { sampling: {} } } });
      one.setRequestHandler('sampling/createMessage', () => ({ model: 'm', role: 'assistant', content: { type: 'text', text: city } }));
      return one;
    };
    const [one, two] = [await capable('one', 'Paris'), await capable('two', 'Rome')];
    const sample = async (of: Client) => text(await of.callTool({ name: 'trigger-sampling-request', arguments: { prompt: 'a city?', maxTokens: 10 } }));
    assert.match(await sample(one), /Paris/);
    assert.match(await sample(two), /Rome/);
    const progress = (of: Client) => {
      const seen: number[] = [];
      return of
        .callTool({ name: 'trigger-long-running-operation', arguments: { duration: 0.2, steps: 4 } }, { onprogress: ({ progress: n }) => void seen.push(n) })
        .then(() => seen);
    };
    assert.deepEqual(await Promise.all([progress(one), progress(two)]), [
      [1, 2, 3, 4],
      [1, 2, 3, 4],
    ]);
    assert.equal(text(await two.callTool({ name: 'echo', arguments: { message: 'hi' } })), 'Echo: hi');
  });

  it('may be one of the stateless era, for clients of either', async () => {
    await serve([stateless]);
    const [one, two, three] = [await client('one'), await client('two', true), await client('three')];
    const told = [];
    for (const each of [one, two, three, two]) told.push(text(await each.callTool({ name: 'pid', arguments: {} })).split(' '));
    assert.equal(new Set(told.map(([pid]) => pid)).size, 1);
    assert.deepEqual(
      told.map(([, calls]) => Number(calls)),
      [1, 2, 3, 4],
    );
  });
});
