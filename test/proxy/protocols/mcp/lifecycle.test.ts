import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import type { Client } from '@modelcontextprotocol/client';
import { Secret } from '../../../../contract/secret.ts';
import type { McpConnection } from '../../../../proxy/policy/policy.ts';
import { mcp, mcpRelay } from '../../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../../proxy/protocols/protocol.ts';
import { alive } from '../../../support/alive.ts';
import { until } from '../../../support/soon.ts';
import { RUDE_SERVER } from './servers.ts';
import { Stage } from './stage.ts';

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'claude-code', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
};

let directory: string;
let script: string;
let stage: Stage;
let served: Served | undefined;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'countersign-mcp-'));
  script = join(directory, 'rude server.cjs');
  await writeFile(script, RUDE_SERVER);
});
after(() => rm(directory, { recursive: true, force: true }));

beforeEach(async () => {
  stage = await Stage.start();
});
afterEach(async () => {
  await served?.stop('the test is over');
  served = undefined;
  await stage.stop();
});

async function serve(
  manners: string,
  env: Extract<McpConnection['upstream'], { transport: 'stdio' }>['env'] = new Map(),
  command?: readonly string[],
  protocol = mcp,
): Promise<Served> {
  const connection: McpConnection = {
    name: 'rude',
    protocol: 'mcp',
    via: 'local',
    sensitive: new Map(),
    upstream: { transport: 'stdio', command: command ?? [process.execPath, script, manners], env },
  };
  stage.connections.push(connection);
  served = await protocol.serve(connection, stage.host);
  return served;
}

const text = (result: Awaited<ReturnType<Client['callTool']>>): string => (result.content as { text: string }[]).map((c) => c.text).join('\n');

const gone = (pid: number): Promise<boolean> => until('the end of the process', () => !alive(pid));

describe('the process of a relayed server', () => {
  it('is not started before policy has allowed it', async () => {
    await serve('', undefined, [process.execPath, '-e', `require('node:fs').writeFileSync(${JSON.stringify(join(directory, 'started'))}, '')`]);
    stage.decide = (facts) => (facts.verb === 'CONNECT' ? 'deny' : 'allow');
    await assert.rejects(stage.client('mcp/rude'), /Denied by rule the-rule/);
    // A stateless client has nothing to open: what it does next is refused.
    const modern = await stage.client('mcp/rude', { modern: true });
    await assert.rejects(modern.callTool({ name: 'anything', arguments: {} }), /Denied by rule the-rule/);
    await assert.rejects(import('node:fs/promises').then((fs) => fs.access(join(directory, 'started'))));
    assert.ok(stage.decided.length >= 2);
    assert.ok(stage.decided.every(({ facts }) => facts.verb === 'CONNECT' && facts.targets[0]?.name === 'rude'));
  });

  it('gets the variables of its connection, secrets among them, and nothing else of ours', async () => {
    process.env.COUNTERSIGN_TEST_LEAK = 'leak';
    try {
      stage.secrets.set('github', new Secret('tok-en-for-the-server'));
      await serve(
        '',
        new Map<string, string | { from: 'secret'; name: string }>([
          ['PLAIN', 'p'],
          ['TOKEN', { from: 'secret', name: 'github' }],
        ]),
      );
      assert.deepEqual(served?.state, { state: 'ready' });
      const client = await stage.client('mcp/rude');
      const env = JSON.parse(text(await client.callTool({ name: 'env', arguments: {} }))) as Record<string, string>;
      assert.equal(env.PLAIN, 'p');
      // It got the secret, and its client does not get it back from there, nor does the record.
      assert.equal(env.TOKEN, '‹redacted›');
      assert.ok(!JSON.stringify(stage.entries).includes('tok-en-for-the-server'));
      assert.equal(env.COUNTERSIGN_TEST_LEAK, undefined);
      assert.equal(env.PATH, process.env.PATH);
      const log = JSON.stringify(stage.logged);
      assert.match(log, /mcp\.server\.stderr/);
      assert.ok(!log.includes('tok-en-for-the-server') && !/4111.?1111/.test(log), log);
    } finally {
      delete process.env.COUNTERSIGN_TEST_LEAK;
    }
  });

  it('waits for a secret that nobody has provided, and says which', async () => {
    const waiting = await serve('', new Map([['TOKEN', { from: 'secret', name: 'github' } as const]]));
    assert.deepEqual(waiting.state, {
      state: 'needs-secret',
      secret: 'github',
      problem: 'rude needs the secret "github" for TOKEN. Provide it in the Connections view.',
    });
    await assert.rejects(stage.client('mcp/rude'), /needs the secret "github"/);
    stage.secrets.set('github', new Secret('x'));
    assert.deepEqual(waiting.state, { state: 'ready' });
    assert.ok(await stage.client('mcp/rude'));
  });

  it('is ended with all that it has started, also when it will not go', { skip: process.platform === 'win32' && 'signals' }, async () => {
    await serve('stays,has-child');
    const client = await stage.client('mcp/rude');
    const [pid = 0, child = 0] = text(await client.callTool({ name: 'pids', arguments: {} }))
      .split(' ')
      .map(Number);
    assert.ok(pid > 0 && child > 0);
    await served?.stop('the test is over');
    await Promise.all([gone(pid), gone(child)]);
    assert.deepEqual(stage.entries.at(-1), { type: 'session.close', reason: 'the test is over' });
  });

  it('belongs to one session: it ends when its client leaves', async () => {
    await serve('');
    const [one, two] = [await stage.client('mcp/rude'), await stage.client('mcp/rude')];
    const [a, b] = await Promise.all([one, two].map(async (client) => Number(text(await client.callTool({ name: 'pids', arguments: {} })).split(' ')[0])));
    assert.notEqual(a, b);
    await (one.transport as unknown as { terminateSession(): Promise<void> }).terminateSession();
    await gone(a!);
    assert.match(text(await two.callTool({ name: 'anything', arguments: {} })), /anything/);
  });

  it('that dies answers what waits with a sentence, and does not hurt another', async () => {
    await serve('');
    const [one, two] = [await stage.client('mcp/rude'), await stage.client('mcp/rude')];
    const waiting = one.callTool({ name: 'hang', arguments: {} });
    await assert.rejects(Promise.all([waiting, one.callTool({ name: 'die', arguments: {} })]), /The MCP server rude has ended \(exit code 9\)/);
    assert.match(text(await two.callTool({ name: 'anything', arguments: {} })), /anything/);
    assert.match(text(await (await stage.client('mcp/rude')).callTool({ name: 'anything', arguments: {} })), /anything/);
    const lost = stage.entries.find((e) => e.type === 'operation.outcome' && e.outcome === 'failed');
    assert.ok(lost?.type === 'operation.outcome' && /has ended/.test(lost.error?.message ?? ''));
  });

  it('that goes once it has answered is heard out, however long its answer takes to mask', async () => {
    await serve('');
    const client = await stage.client('mcp/rude');
    const answer = text(await client.callTool({ name: 'parting', arguments: { size: 40_000 } }));
    assert.equal(answer, 'note for ‹redacted›\n'.repeat(40_000));
  });

  it('that dies is started again for the next call of a stateless client', async () => {
    await serve('');
    const client = await stage.client('mcp/rude', { modern: true });
    await assert.rejects(client.callTool({ name: 'die', arguments: {} }), /has ended/);
    assert.match(text(await client.callTool({ name: 'anything', arguments: {} })), /anything/);
  });

  it('that fails to start is shown so with what it wrote last, until one runs again', async () => {
    await serve('', undefined, [
      process.execPath,
      '-e',
      `if (require('node:fs').existsSync(${JSON.stringify(join(directory, 'now'))})) require(${JSON.stringify(script)}); else { console.error('no licence for card 4111 1111 1111 1111'); process.exit(3); }`,
    ]);
    assert.deepEqual(served?.state, { state: 'ready' });
    await assert.rejects(stage.client('mcp/rude'), /has ended \(exit code 3\)/);
    const state = served?.state;
    assert.ok(state?.state === 'failed');
    assert.match(state.problem, /has ended \(exit code 3\)[.;].* right after it was started; the next client that comes starts it again/);
    assert.deepEqual(
      served?.output?.lines().map(({ by, text }) => [by, text]),
      [
        ['server', 'no licence for card ‹redacted›'],
        ['countersign', 'ended (exit code 3)'],
      ],
    );
    await writeFile(join(directory, 'now'), '');
    await stage.client('mcp/rude');
    assert.deepEqual(served?.state, { state: 'ready' });
    assert.match(served?.output?.lines(1)[0]?.text ?? '', /starting with card ‹redacted› and no token/);
  });

  it('that complains with a private key in many lines shows none of them, to a person or in the log', async () => {
    await serve('keys,exits');
    await assert.rejects(stage.client('mcp/rude'), /has ended/);
    const lines = served?.output?.lines().map(({ text: line }) => line) ?? [];
    assert.ok(lines.some((line) => line.includes('loading')) && lines.some((line) => line.includes('loaded')), lines.join('\n'));
    const log = stage.logged.filter(({ event }) => event.includes('mcp.server.stderr'));
    assert.ok(log.length > 10);
    for (const said of [lines, stage.logged, stage.entries, served?.state]) assert.doesNotMatch(JSON.stringify(said), /canary|MIIEpAIB/);
  });

  it('that ends at once is left alone for a while', async () => {
    await serve('exits');
    // However long the machine takes for the three of them, no time passes.
    const began = Date.now();
    stage.now = () => began;
    await assert.rejects(stage.client('mcp/rude'), /has ended \(exit code 3\)/);
    await assert.rejects(stage.client('mcp/rude'), /has ended \(exit code 3\)/);
    await assert.rejects(stage.client('mcp/rude'), /ended 2 times right after it was started.*again in 1 seconds/);
    served?.retry?.();
    await assert.rejects(stage.client('mcp/rude'), /has ended \(exit code 3\)/);
  });

  it('that is not there is named, with what to do', async () => {
    await serve('', undefined, ['/nowhere/no-such-server']);
    await assert.rejects(stage.client('mcp/rude'), /could not be started: "\/nowhere\/no-such-server" was not found/);
    assert.ok(served?.state.state === 'failed' && /was not found\. Install it/.test(served.state.problem));
  });
});

describe('what a relayed server sends', () => {
  it('is kept where it is unknown to us', async () => {
    await serve('');
    const response = await fetch(stage.url('mcp/rude'), {
      method: 'POST',
      headers: { ...stage.headers(), 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 'x',
        method: 'initialize',
        params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
      }),
    });
    const data = (await response.json()) as { id: unknown; result: { future: unknown } };
    assert.deepEqual(data.result.future, { kept: true });
    assert.equal(data.id, 'x');
  });

  it('is dropped where it is no message or an answer to nothing', async () => {
    await serve('garbage');
    const client = await stage.client('mcp/rude');
    assert.equal(text(await client.callTool({ name: 'stray', arguments: {} })), 'right');
    assert.equal(stage.logged.filter((l) => l.event === 'warn mcp.server.malformed').length, 3);
  });

  it('is masked in errors, progress and log messages; progress stays within its call', async () => {
    await serve('');
    const client = await stage.client('mcp/rude');
    const seen: unknown[] = [];
    client.setNotificationHandler('notifications/message', (n) => void seen.push(n.params.data));
    await client.callTool({ name: 'eager', arguments: {} }, { onprogress: (p) => void seen.push(p.message ?? p.progress) });
    assert.deepEqual(new Set(seen.map((s) => JSON.stringify(s))), new Set(['"card ‹redacted›"', '{"card":"‹redacted›"}']));
    const error = await client.request({ method: 'prompts/get', params: { name: 'x' } }).then(
      () => assert.fail('no error'),
      (cause: unknown) => cause as { message: string; data: unknown },
    );
    assert.deepEqual(error.data, { card: '‹redacted›', nested: ['kept'] });
  });

  it('may be large', async () => {
    await serve('');
    const client = await stage.client('mcp/rude');
    const result = await client.callTool({ name: 'big', arguments: { size: 8_000_000 } });
    assert.equal(text(result).length, 8_000_000);
  });

  it('may be a great many small messages: all arrive, in order, and nobody else waits for them', async () => {
    await serve('');
    const [talkative, other] = [await stage.client('mcp/rude'), await stage.client('mcp/rude')];
    const seen: string[] = [];
    talkative.setNotificationHandler('notifications/message', (n) => void seen.push(n.params.data as string));
    const before = process.memoryUsage().rss;
    const count = 8_000;
    const flooding = { over: false };
    const flood = talkative.callTool({ name: 'many', arguments: { count } }).then(() => {
      flooding.over = true;
    });
    let answered = 0;
    while (!flooding.over) {
      await other.callTool({ name: 'anything', arguments: {} });
      answered++;
    }
    await flood;
    // Its own client reads in this process, too: on a busy machine a few answers are all that there is time for.
    assert.ok(answered >= 2, `the other client was answered ${answered} times`);
    assert.equal(seen.length, count);
    assert.equal(seen.at(-1), `n${count - 1}`);
    assert.ok(process.memoryUsage().rss - before < 400 * 1024 * 1024);
  });

  it('may be complaints without end: the last are kept, few are logged, and nobody else waits for them', async () => {
    await serve('');
    const [complaining, other] = [await stage.client('mcp/rude'), await stage.client('mcp/rude')];
    const count = 100_000;
    const complained = complaining.callTool({ name: 'complain', arguments: { count } });
    for (let i = 0; i < 5; i++) await other.callTool({ name: 'anything', arguments: {} });
    await complained;
    // Its standard error is another pipe than its answers.
    const last = (): string | undefined => served?.output?.lines(1)[0]?.text;
    await until('the last complaint', () => last() === `complaint ${count - 1}`);
    assert.equal(served?.output?.lines().length, 100);
    assert.ok(stage.logged.filter(({ event }) => event === 'info mcp.server.stderr').length <= 2 * 600);
    assert.ok(stage.logged.some(({ event }) => event === 'warn mcp.server.stderr-flood'));
  });

  it('ends its server when a message has no end', async () => {
    await serve('');
    const client = await stage.client('mcp/rude');
    await assert.rejects(client.callTool({ name: 'flood', arguments: { size: 280_000_000 } }), /a message that has no end, and was ended/);
  });

  it('is asked about with what its hints say, which are believed by nobody here', async () => {
    await serve('');
    const client = await stage.client('mcp/rude');
    await client.listTools();
    await client.callTool({ name: 'do', arguments: { to: 'ann@ex.org', n: 1 } });
    const facts = stage.decided.at(-1)?.facts;
    assert.equal(facts?.effect, 'execute');
    assert.deepEqual(facts?.mcp, {
      method: 'tools/call',
      tool: 'do',
      args: { to: 'ann@ex.org', n: 1 },
      hints: { readOnly: true },
      outward: true,
      secrets: ['email'],
    });
    assert.deepEqual(facts?.notes, ['its arguments hold: email', 'its server says it only reads']);
    const intent = stage.entries.findLast((e) => e.type === 'operation.intent');
    assert.deepEqual(intent?.facts.mcp?.args, { to: '‹redacted›', n: 1 }, 'policy sees what the record may not hold');
  });
});

describe('while a person thinks', () => {
  for (const modern of [false, true]) {
    it(`a ${modern ? 'stateless' : 'sessionful'} client is told by progress that grows, and the server's own goes on from there`, async () => {
      stage.decide = (facts) => (facts.verb === 'tools/call' ? 'ask' : 'allow');
      await serve('', new Map(), undefined, mcpRelay({ progressMs: 20 }));
      const client = await stage.client('mcp/rude', { modern });
      const seen: number[] = [];
      let enough: () => void = () => {};
      const told = new Promise<void>((resolve) => {
        enough = resolve;
      });
      const call = client.callTool({ name: 'eager', arguments: {} }, { onprogress: (p) => void (seen.push(p.progress) === 3 && enough()) });
      const question = await stage.question();
      await told;
      stage.approvals.answer({ answer: 'approve', id: question.id, digest: question.digest, scope: { what: 'exact', howLong: 'once' } }, question.actor.person);
      await call;
      assert.ok(seen.length >= 4 && seen.at(-1) === 1, String(seen));
      assert.deepEqual(
        seen,
        [...new Set(seen)].sort((x, y) => x - y),
      );
    });
  }

  it('a client that hangs up is as good as one that cancels', async () => {
    stage.decide = (facts) => (facts.verb === 'tools/call' ? 'ask' : 'allow');
    await serve('');
    const client = await stage.client('mcp/rude');
    const call = client.callTool({ name: 'do', arguments: {} }).catch((cause: unknown) => cause);
    await stage.question();
    await client.close();
    await stage.quiet();
    await call;
    const outcome = stage.entries.findLast((e) => e.type === 'operation.outcome');
    assert.ok(outcome?.type === 'operation.outcome');
    assert.equal(outcome.outcome, 'cancelled');
  });
});

describe('what a client sends to a relayed server', () => {
  const post = (body: string) =>
    fetch(stage.url('mcp/rude'), {
      method: 'POST',
      headers: { ...stage.headers(), 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' },
      body,
    });

  it('is refused where it is nested too deep, says a thing twice, carries __proto__, is a batch, has an id that is no number to us, or comes before initialize', async () => {
    await serve('');
    for (const body of [
      `{"jsonrpc":"2.0","id":1,"method":"initialize","params":${'['.repeat(200)}${']'.repeat(200)}}`,
      '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"__proto__":{"x":1}}}',
      '{"jsonrpc":"2.0","id":1,"method":"ping","method":"initialize","params":{}}',
      '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"clientInfo":{"name":"a","\\u006eame":"b"}}}',
      '[{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}]',
      '{"jsonrpc":"2.0","id":9007199254740993,"method":"initialize","params":{}}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    ]) {
      assert.equal((await post(body)).status, 400);
    }
    assert.equal(stage.sessions.length, 0);
  });

  it('reaches the server with its numbers as they were written', async () => {
    await serve('');
    const opened = await post(
      '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}',
    );
    const session = opened.headers.get('mcp-session-id') ?? '';
    await opened.text();
    const numbers = '{"big":9007199254740993,"long":0.1000000000000000055511151231257827,"small":1}';
    const answered = await fetch(stage.url('mcp/rude'), {
      method: 'POST',
      headers: { ...stage.headers(), 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'Mcp-Session-Id': session },
      body: `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"line","arguments":${numbers}}}`,
    });
    assert.ok((await answered.text()).includes(JSON.stringify(numbers).slice(1, -1)));
  });

  it('is an operation of unknown effect where its method is unknown', async () => {
    await serve('');
    const client = await stage.client('mcp/rude');
    stage.decide = (facts) => (facts.effect === 'unknown' ? 'deny' : 'allow');
    const { z } = await import('zod');
    await assert.rejects(client.request({ method: 'x/y', params: {} }, z.any()), /Denied by rule/);
    assert.equal(stage.decided.at(-1)?.facts.verb, 'x/y');
  });
});

describe('a stream that a client holds open', () => {
  it('ends with the login that opened it, in either era', async () => {
    await serve('');
    // However long the machine takes to open them, their login ends so soon after.
    const { Authorization = '' } = stage.headers();
    const expires = Number.parseInt(Authorization.split('.')[2] ?? '', 36);
    stage.now = () => expires - 500;
    const headers = { Authorization, 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };
    const post = (message: object, more: Record<string, string> = {}): Promise<Response> =>
      fetch(stage.url('mcp/rude'), {
        method: 'POST',
        headers: { ...headers, ...more },
        signal: AbortSignal.timeout(60_000),
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...message }),
      });
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'claude-code', version: '1' } };
    const opened = await post({ method: 'initialize', params });
    const session = { 'Mcp-Session-Id': opened.headers.get('mcp-session-id') ?? '' };
    const listen = { method: 'subscriptions/listen', params: { notifications: { toolsListChanged: true }, _meta: META } };
    const [own, modern] = await Promise.all([
      fetch(stage.url('mcp/rude'), { headers: { ...headers, ...session }, signal: AbortSignal.timeout(60_000) }),
      post(listen, { 'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'subscriptions/listen' }),
    ]);
    assert.deepEqual([own.status, modern.status], [200, 200]);
    await own.text();
    assert.match(await modern.text(), /"resultType":"complete"/);
    stage.now = () => expires + 1;
    assert.equal((await fetch(stage.url('mcp/rude'), { headers: { ...headers, ...session } })).status, 401);
  });
});
