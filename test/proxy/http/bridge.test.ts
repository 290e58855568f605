/** What a rewritten entry starts, from the launcher to a real proxy: no secret and no variable on the way. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { build } from 'esbuild';
import { METHODS, type OperationPage } from '../../../contract/control.ts';
import { installLauncher, launcherPath } from '../../../extension/mcpServers/launcher.ts';
import { soon, within } from '../../support/soon.ts';
import { Home, type Running } from '../daemon/daemonProcess.ts';
import { RUDE_SERVER } from '../protocols/mcp/servers.ts';

const OPTIONS = { timeout: 300_000 };
let home: Home;
let proxy: Running;
let launcher: string;

before(async () => {
  home = new Home();
  const bundle = join(home.path, 'bridge.cjs');
  await build({
    entryPoints: [join(import.meta.dirname, '../../../proxy/bridge.ts')],
    outfile: bundle,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    define: { 'import.meta.url': 'importMetaUrl' },
    banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
  });
  assert.equal(await installLauncher(home.path, bundle, process.execPath), false);
  launcher = launcherPath(home.path);
  const command = JSON.stringify([process.execPath, '-e', RUDE_SERVER]);
  writeFileSync(
    join(home.path, 'countersign.yaml'),
    `version: 1\ndefaults: { read: allow, write: allow, execute: allow, send: allow, unknown: allow }\nconnections:\n  one: { protocol: mcp, upstream: { command: ${command} } }\n  two: { protocol: mcp, upstream: { command: ${command} } }\n`,
  );
  proxy = await home.start();
});
after(() => home.remove());

async function agent(connection: string, env: Record<string, string> = {}): Promise<Client> {
  const client = new Client({ name: 'some-agent', version: '1' });
  await client.connect(new StdioClientTransport({ command: launcher, args: [connection], env: { PATH: process.env.PATH ?? '', ...env }, stderr: 'pipe' }));
  return client;
}

function ask(socket: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = connect(socket, () => client.write(text));
    let answer = '';
    client.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
    client.once('close', () => resolve(answer));
    client.once('error', reject);
  });
}

describe('a rewritten entry', OPTIONS, () => {
  it('reaches its connection without a login in its file or its environment', async () => {
    const client = await agent('one');
    const result = await client.callTool({ name: 'do', arguments: { a: 1 } });
    assert.match(JSON.stringify(result), /a/);
    await client.close();
  });

  it('is recorded in the agent’s own name', async () => {
    const client = await agent('two');
    await client.callTool({ name: 'do', arguments: {} });
    await client.close();
    const at = await proxy.file;
    assert.ok(at);
    const person = await home.attach(at);
    // The index follows the files by a moment.
    await soon(async () => {
      const { operations } = (await person.request(METHODS.operations, { filter: '', limit: 50 })) as OperationPage;
      const last = operations.find(({ connection }) => connection === 'two');
      assert.equal(last?.actor.agent.name, 'some-agent');
    });
    person.close();
  });

  it('goes on over a restart of the proxy', async () => {
    const client = await agent('one');
    await client.callTool({ name: 'do', arguments: {} });
    proxy.child.kill('SIGTERM');
    await proxy.exit;
    proxy = await home.start();
    const result = await client.callTool({ name: 'do', arguments: { again: 1 } });
    assert.match(JSON.stringify(result), /again/);
    await client.close();
  });

  it('cannot be made to look elsewhere by its environment', async () => {
    const client = await agent('one', { COUNTERSIGN_HOME: '/tmp', COUNTERSIGN_MCP_URL: 'http://127.0.0.1:1/mcp', NODE_OPTIONS: '--require /nowhere.js' });
    await client.callTool({ name: 'do', arguments: {} });
    await client.close();
  });
});

const INITIALIZE =
  '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}\n';
const call = (id: number, name: string, args: object): string =>
  `${JSON.stringify({ method: 'tools/call', params: { name, arguments: args }, jsonrpc: '2.0', id })}\n`;
const length = (text: string): number => /"text":"(x*)"/.exec(text)?.[1]?.length ?? -1;

interface Answered {
  readonly id: unknown;
  readonly error?: { readonly message: string };
}
const answered = (text: string): Map<unknown, string> =>
  new Map(
    text
      .trimEnd()
      .split('\n')
      .map((line) => [(JSON.parse(line) as Answered).id, line]),
  );

function bridge(stdio: ('pipe' | number)[]): { readonly child: ChildProcess; readonly code: Promise<number | null>; readonly said: () => string } {
  const child = spawn(launcher, ['one'], { stdio: [...stdio, 'pipe'], env: { PATH: process.env.PATH ?? '' } });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  return { child, code: new Promise((resolve) => child.once('close', resolve)), said: () => said };
}

/** A bridge on pipes whose session is open. `got` is what it has answered so far. */
async function opened() {
  const one = bridge(['pipe', 'pipe']);
  const { stdin, stdout } = one.child;
  assert.ok(stdin && stdout);
  let got = '';
  stdin.on('error', () => undefined);
  stdin.write(INITIALIZE);
  stdout.setEncoding('utf8');
  await within('an answer', new Promise((resolve) => stdout.on('data', (chunk: string) => resolve((got += chunk)))));
  return { ...one, stdin, stdout, got: () => got };
}

describe('a bridge’s own input and output', OPTIONS, () => {
  it('lose nothing where a client sends in pieces, reads late, and hangs up before it has read', async () => {
    const { code, got, stdin, stdout } = await opened();
    stdout.pause();
    const text = 'ü✓'.repeat(60_000);
    const lines = Buffer.from(call(2, 'big', { size: 3_000_000 }) + call(3, 'do', { text }) + call(4, 'big', { size: 70_000 }) + call(5, 'do', { a: 1 }));
    for (let at = 0; at < lines.length; at += 9_973) {
      stdin.write(lines.subarray(at, at + 9_973));
      await new Promise((resolve) => setImmediate(resolve));
    }
    stdin.end();
    await within('some of the answers', new Promise((resolve) => stdout.once('readable', resolve)));
    stdout.resume();
    assert.equal(await within('the end of the bridge', code), 0);
    const answers = answered(got());
    assert.deepEqual([...answers.keys()].sort(), [1, 2, 3, 4, 5]);
    assert.deepEqual([length(answers.get(2) ?? ''), length(answers.get(4) ?? '')], [3_000_000, 70_000]);
    assert.ok(answers.get(3)?.includes(text));
  });

  it('may be files', async () => {
    const [from, to] = [join(home.path, 'lines.in'), join(home.path, 'lines.out')];
    writeFileSync(from, INITIALIZE + '{"jsonrpc":"2.0","id":2,"method":"ping"}');
    const files = [openSync(from, 'r'), openSync(to, 'w')];
    const { code } = bridge(files);
    assert.equal(await within('the end of the bridge', code), 0);
    for (const file of files) closeSync(file);
    assert.deepEqual([...answered(readFileSync(to, 'utf8')).keys()].sort(), [1, 2]);
  });

  it('end it, with a sentence, where nobody hears it any more', async () => {
    const { code, said, stdin, stdout } = await opened();
    stdout.destroy();
    stdin.write(call(2, 'do', {}));
    assert.equal(await within('the end of the bridge', code), 1);
    assert.match(said(), /^Countersign's bridge failed: [^\n]*EPIPE[^\n]*\n$/);
  });

  it('have an answer to what only looks like a request, and do not wait for another', async () => {
    const { code, got, stdin } = await opened();
    // Refused by the proxy, which reads all of a line, without an id; with the id that parsing finds; by the bridge.
    stdin.end(
      `{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":1}\n{"jsonrpc":"2.0","id":8,"method":"ping","id":9}\n{"id":10,"method":"ping"}\n${call(11, 'do', { last: 1 })}`,
    );
    assert.equal(await within('the end of the bridge', code), 0);
    const errors = got()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Answered)
      .map(({ error, id }) => [id, error?.message.slice(0, 40)]);
    const byText = (list: readonly unknown[]): string[] => list.map((one) => JSON.stringify(one)).sort();
    assert.deepEqual(
      byText(errors),
      byText([
        [1, undefined],
        [null, 'A message was refused: it is not JSON.'],
        [9, 'A message was refused: it holds a key tw'],
        [null, 'The message is not JSON-RPC.'],
        [11, undefined],
      ]),
    );
  });
});

describe('the door where a bridge asks for a login', OPTIONS, () => {
  it('lies where only the user gets, and answers one short question', async () => {
    const at = await proxy.file;
    assert.ok(at?.agents);
    assert.equal(statSync(at.agents).mode & 0o777, 0o600);
    assert.match(await ask(at.agents, '{"run":"1"}\n'), /"token"/);
    for (const bad of ['{"run":"x"}\n', 'nonsense\n', `${'x'.repeat(5000)}\n`, '[]\n']) assert.match(await ask(at.agents, bad), /"error"/, bad.slice(0, 20));
  });

  it('gives a login that opens no control channel', async () => {
    const at = await proxy.file;
    assert.ok(at?.agents);
    const { token } = JSON.parse(await ask(at.agents, '{"run":"1"}\n')) as { token: string };
    await assert.rejects(home.attach(at, 'window', token));
    assert.doesNotMatch(token, new RegExp(home.secret));
  });
});
