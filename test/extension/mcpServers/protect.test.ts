import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { protect, undo } from '../../../extension/mcpServers/protect.ts';
import { Records } from '../../../extension/mcpServers/records.ts';
import { scan } from '../../../extension/mcpServers/scan.ts';
import { loadPolicy } from '../../../proxy/policy/load.ts';
import { type Stage, stage } from './stage.ts';

const SECRET = 'ghp_Zq81kPw0sNcV4tRy7uXb';
const CONFIG = `\uFEFF{\r
  // servers of this project\r
  "servers": {\r
    "git hub": { "type": "stdio", "command": "npx", "args": ["-y", "gh-mcp"], "env": { "GITHUB_TOKEN": "${SECRET}", "LEVEL": "info" } },\r
    "crm": { "url": "https://crm.example/mcp", "headers": { "Authorization": "Bearer \${env:SET_TOKEN}" } },\r
  }\r
}\r
`;
const HUB = ['servers', 'git hub'];
const CRM = ['servers', 'crm'];

let on: Stage;
beforeEach(() => {
  on = stage();
});
afterEach(() => on.end());

const statusOf = async (name: string, file = 'mcp.json') => {
  const [found] = await scan([on.source(file)], await on.deps.records.all(), on.deps.launcher);
  return found?.servers.find((server) => server.entry.name === name)?.status;
};

describe('changes of several windows', () => {
  it('wait for each other, however long one stands still, and not for one that has died', async () => {
    // How long it may be waited for is over many times while the first stands still.
    const [first, second, third] = [1, 2, 3].map(() => new Records(join(on.root, 'state'), 20)) as [Records, Records, Records];
    const order: string[] = [];
    let go = (): void => {};
    const standing = new Promise<void>((resolve) => (go = resolve));
    const done = first.exclusively(async () => {
      order.push('begins');
      await standing;
      order.push('ends');
    });
    for (const other of [second, third])
      await assert.rejects(
        other.exclusively(async () => void order.push('between')),
        { code: 'busy' },
      );
    go();
    await done;
    await second.exclusively(async () => void order.push('after'));
    assert.deepEqual(order, ['begins', 'ends', 'after']);
    const script = `const { DatabaseSync } = require('node:sqlite'); new DatabaseSync(${JSON.stringify(join(first.folder, 'changing.lock'))}).exec('BEGIN EXCLUSIVE'); process.kill(process.pid, 'SIGKILL')`;
    assert.equal(spawnSync(process.execPath, ['-e', script]).signal, 'SIGKILL');
    await third.exclusively(async () => void order.push('after the dead one'));
    assert.equal(order.at(-1), 'after the dead one');
  });
});

describe('protecting a server', () => {
  it('moves its definition to the policy and its secret to the store, and leaves the secret in no file', async () => {
    const path = on.write('mcp.json', CONFIG, 0o640);
    const done = await protect(on.source('mcp.json'), HUB, on.deps);
    assert.deepEqual(done, { connection: 'git-hub', moved: ['git-hub-GITHUB_TOKEN'], missing: [] });
    assert.equal(on.secrets.get('git-hub-GITHUB_TOKEN'), SECRET);
    assert.deepEqual(on.holding(SECRET), []);
    assert.equal(statSync(path).mode & 0o777, 0o640);
    const loaded = loadPolicy([{ layer: 'user', file: 'countersign.yaml', text: on.policy() }]);
    assert.ok(loaded.ok, JSON.stringify(loaded));
    const connection = loaded.policy.connections.get('git-hub');
    assert.ok(connection?.protocol === 'mcp' && connection.upstream.transport === 'stdio');
    assert.deepEqual(
      [...connection.upstream.env],
      [
        ['GITHUB_TOKEN', { from: 'secret', name: 'git-hub-GITHUB_TOKEN' }],
        ['LEVEL', 'info'],
      ],
    );
    assert.equal(connection.upstream.cwd, on.workspace);
    assert.deepEqual(await statusOf('git hub'), { kind: 'protected', connection: 'git-hub' });
    assert.deepEqual(await statusOf('crm'), { kind: 'unprotected', changed: false });
    assert.equal(statSync(on.deps.policyFile).mode & 0o777, 0o600);
    for (const folder of [on.deps.records.folder]) assert.equal(statSync(folder).mode & 0o077, 0);
  });

  it('is undone to the byte, one by one or all at once, and so is the policy', async () => {
    const path = on.write('mcp.json', CONFIG);
    mkdirSync(join(on.root, 'config'));
    const policy = '# mine\nversion: 1\n\nconnections: {} # none yet\n\nrules: []\n';
    writeFileSync(on.deps.policyFile, policy, { mode: 0o600 });
    await protect(on.source('mcp.json'), HUB, on.deps);
    await protect(on.source('mcp.json'), CRM, on.deps);
    assert.equal(on.secrets.get('crm-Authorization'), 'Bearer from-the-environment');
    assert.deepEqual(await undo(path, undefined, on.deps), []);
    assert.equal(readFileSync(path, 'utf8'), CONFIG);
    assert.deepEqual([...on.secrets], []);
    assert.deepEqual(await on.deps.records.all(), []);
    await protect(on.source('mcp.json'), HUB, on.deps);
    await protect(on.source('mcp.json'), CRM, on.deps);
    await undo(path, [HUB], on.deps);
    assert.deepEqual(await statusOf('crm'), { kind: 'protected', connection: 'crm' });
    await undo(path, [CRM], on.deps);
    assert.equal(readFileSync(path, 'utf8'), CONFIG);
  });

  it('is undone in a file that was edited since, leaving the edit', async () => {
    const path = on.write('mcp.json', CONFIG);
    await protect(on.source('mcp.json'), HUB, on.deps);
    const edited = readFileSync(path, 'utf8').replace('"crm": {', '"crm2": {').replace('// servers', '// all servers');
    writeFileSync(path, edited);
    await protect(on.source('mcp.json'), ['servers', 'crm2'], on.deps);
    await undo(path, undefined, on.deps);
    assert.equal(readFileSync(path, 'utf8'), CONFIG.replace('"crm": {', '"crm2": {').replace('// servers', '// all servers'));
  });

  it('is seen to be gone when something rewrites the entry, and undoing does not touch what is no longer ours', async () => {
    const path = on.write('mcp.json', CONFIG);
    await protect(on.source('mcp.json'), HUB, on.deps);
    writeFileSync(path, CONFIG.replace('gh-mcp', 'evil-mcp'));
    assert.deepEqual(await statusOf('git hub'), { kind: 'unprotected', changed: true });
    const problems = await undo(path, undefined, on.deps);
    assert.match(problems.join(), /"git hub" .* was left as it is: it no longer goes through Countersign/);
    assert.match(readFileSync(path, 'utf8'), /evil-mcp/);
  });

  it('of one definition in two files makes one connection, which stays as long as either uses it', async () => {
    const first = on.write('mcp.json', CONFIG);
    const second = on.write('.cursor/mcp.json', CONFIG.replace('"servers"', '"mcpServers"'));
    const one = await protect(on.source('mcp.json'), HUB, on.deps);
    const two = await protect(on.source('.cursor/mcp.json'), ['mcpServers', 'git hub'], on.deps);
    assert.equal(one?.connection, two?.connection);
    await undo(first, undefined, on.deps);
    assert.match(on.policy(), /git-hub:/);
    assert.equal(on.secrets.size, 1);
    await undo(second, undefined, on.deps);
    assert.doesNotMatch(on.policy(), /git-hub:/);
    assert.equal(on.secrets.size, 0);
  });

  it('of two accounts of one server makes two connections', async () => {
    on.write('mcp.json', CONFIG);
    on.write('other.json', CONFIG.replace(SECRET, 'ghp_another0123456789'));
    assert.equal((await protect(on.source('mcp.json'), HUB, on.deps))?.connection, 'git-hub');
    assert.equal((await protect(on.source('other.json'), HUB, on.deps))?.connection, 'git-hub-2');
  });

  it('of Codex is undone to the byte, too', async () => {
    const text = `# mine\n[mcp_servers.docs]\ncommand = "npx"\nargs = ["-y", "d"]\n\n[mcp_servers.docs.env]\nAPI_KEY = "${SECRET}"\n`;
    const path = on.write('config.toml', text);
    await protect(on.source('config.toml'), ['mcp_servers', 'docs'], on.deps);
    assert.deepEqual(on.holding(SECRET), []);
    await undo(path, undefined, on.deps);
    assert.equal(readFileSync(path, 'utf8'), text);
  });

  it('that takes its secret as an argument is started with it, and no file holds it', async () => {
    on.write(
      'mcp.json',
      '{"servers":{"pg":{"command":"npx","args":["-y","pg-mcp","postgres://me:hunter2hunter2@db/x"]},"old":{"type":"sse","url":"https://old.example/sse"}}}',
    );
    assert.deepEqual((await protect(on.source('mcp.json'), ['servers', 'pg'], on.deps))?.moved, ['pg-argument-3']);
    await protect(on.source('mcp.json'), ['servers', 'old'], on.deps);
    assert.deepEqual(on.holding('hunter2'), []);
    const loaded = loadPolicy([{ layer: 'user', file: 'countersign.yaml', text: on.policy() }]);
    assert.ok(loaded.ok);
    const [pg, old] = ['pg', 'old'].map((name) => loaded.policy.connections.get(name));
    assert.ok(pg?.protocol === 'mcp' && pg.upstream.transport === 'stdio' && old?.protocol === 'mcp');
    assert.deepEqual(pg.upstream.command.at(-1), { from: 'secret', name: 'pg-argument-3' });
    assert.equal(old.upstream.transport, 'sse');
  });

  it('asks for what the agent would ask for, and keeps a hidden answer as a secret', async () => {
    on.write('mcp.json', '{"inputs":[{"id":"k","type":"promptString","password":true}],"servers":{"a":{"command":"x","args":["--key","${input:k}"]}}}');
    const ask = async () => new Map([['k', { value: 'hush', secret: true }]]);
    assert.equal(await protect(on.source('mcp.json'), ['servers', 'a'], { ...on.deps, ask: async () => undefined }), undefined);
    const done = await protect(on.source('mcp.json'), ['servers', 'a'], { ...on.deps, ask });
    assert.deepEqual(done?.moved, ['a-argument-2']);
    assert.deepEqual(on.holding('hush'), []);
  });
});

describe('a configuration that is not what it seems', () => {
  it('of an untrusted workspace is not protected, so nothing of it is started', async () => {
    on.write('mcp.json', CONFIG);
    await assert.rejects(protect(on.source('mcp.json', { folder: { path: on.workspace, trusted: false } }), HUB, on.deps), /not trusted/);
    assert.deepEqual(await on.deps.records.all(), []);
  });

  it('is not followed when it is a link, or lies in a folder that is a link out of the workspace', async () => {
    const outside = join(on.root, 'outside.json');
    writeFileSync(outside, CONFIG);
    symlinkSync(outside, join(on.workspace, 'mcp.json'));
    await assert.rejects(protect(on.source('mcp.json'), HUB, on.deps), /it is a link/);
    mkdirSync(join(on.root, 'elsewhere'));
    writeFileSync(join(on.root, 'elsewhere', 'mcp.json'), CONFIG);
    symlinkSync(join(on.root, 'elsewhere'), join(on.workspace, '.vscode'));
    await assert.rejects(protect(on.source('.vscode/mcp.json'), HUB, on.deps), /leads out of the workspace/);
    await assert.rejects(protect(on.source('../outside.json'), HUB, on.deps), /leads out of the workspace/);
    assert.equal(readFileSync(outside, 'utf8'), CONFIG);
  });

  it('is not replaced when it has a second name, which would keep the secret', async () => {
    const path = on.write('mcp.json', CONFIG);
    linkSync(path, join(on.root, 'second'));
    await assert.rejects(protect(on.source('mcp.json'), HUB, on.deps), /second name/);
    assert.equal(readFileSync(path, 'utf8'), CONFIG);
    assert.deepEqual([...on.secrets], [], 'what was put aside for it is gone again');
    assert.doesNotMatch(on.policy(), /git-hub/);
  });

  it('is not rewritten when the entry is another than the one that was clicked on', async () => {
    const path = on.write('mcp.json', CONFIG);
    const ask = async () => {
      writeFileSync(path, CONFIG.replace('gh-mcp', 'evil-mcp'));
      return new Map();
    };
    await assert.rejects(protect(on.source('mcp.json'), HUB, { ...on.deps, ask }), /has just changed/);
    assert.match(readFileSync(path, 'utf8'), /evil-mcp/);
  });

  it('loses no edit that comes while it is rewritten', async () => {
    const path = on.write('mcp.json', CONFIG);
    let edits = 0;
    const put = async (name: string, value: string) => {
      on.secrets.set(name, value);
      // Between reading and replacing, once: another program saves the file.
      if (edits++ === 0) writeFileSync(path, CONFIG.replace('"LEVEL": "info"', '"LEVEL": "info" /* saved */'));
    };
    await protect(on.source('mcp.json'), HUB, { ...on.deps, secrets: { ...on.deps.secrets, put } });
    await undo(path, undefined, on.deps);
    assert.match(readFileSync(path, 'utf8'), /\/\* saved \*\//);
  });

  it('cannot be undone from a record that somebody planted or others can read', async () => {
    const path = on.write('mcp.json', CONFIG);
    await protect(on.source('mcp.json'), HUB, on.deps);
    const { folder } = on.deps.records;
    const [name = ''] = readdirSync(folder).filter((n) => n.endsWith('.json'));
    const file = join(folder, name);
    chmodSync(file, 0o644);
    await assert.rejects(undo(path, undefined, on.deps), /nothing to undo/);
    chmodSync(file, 0o600);
    // The record of one file under the name of another.
    const other = on.write('other.json', CONFIG);
    renameSync(file, join(folder, `${createHash('sha256').update(other).digest('hex').slice(0, 32)}.json`));
    await assert.rejects(undo(other, undefined, on.deps), /nothing to undo/);
  });

  it('that is broken, huge or not text is said to be so and left alone', async () => {
    on.write('mcp.json', '{ "servers": {');
    on.write('b.json', Buffer.from([0xff, 0xfe, 0x00]));
    const found = await scan([on.source('mcp.json'), on.source('b.json'), on.source('none.json')], [], on.deps.launcher);
    assert.deepEqual(
      found.map(({ problem }) => problem?.replace(/^.*: /, '')),
      ['It is not valid JSON (line 1).', 'it is not UTF-8 text.'],
    );
  });
});
