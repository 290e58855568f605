/** What a rewritten entry starts, from the launcher to a real proxy: no secret and no variable on the way. */
import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { build } from 'esbuild';
import { METHODS, type OperationPage } from '../../../contract/control.ts';
import { installLauncher, launcherPath } from '../../../extension/mcpServers/launcher.ts';
import { soon } from '../../support/soon.ts';
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
