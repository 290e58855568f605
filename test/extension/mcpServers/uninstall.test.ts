/** What the editor runs when the extension is gone: the real bundle, plain Node, no editor. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { it } from 'node:test';
import { build } from 'esbuild';
import { installLauncher } from '../../../extension/mcpServers/launcher.ts';
import { protect } from '../../../extension/mcpServers/protect.ts';
import { Records } from '../../../extension/mcpServers/records.ts';
import { stage } from './stage.ts';

const ROOT = resolve(import.meta.dirname, '../../..');

it('uninstalling puts every file back to the byte, takes our connections out, and leaves nothing of ours', async () => {
  const on = stage();
  try {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
    assert.equal(manifest.scripts['vscode:uninstall'], 'node ./dist/uninstall.cjs');
    const bundle = join(on.root, 'uninstall.cjs');
    await build({
      entryPoints: [join(ROOT, 'extension/uninstall.ts')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      alias: { 'jsonc-parser': 'jsonc-parser/lib/esm/main.js' },
    });
    const home = join(on.root, 'home');
    const state = join(home, 'state');
    mkdirSync(state, { recursive: true, mode: 0o700 });
    const text = '{\n  // mine\n  "mcpServers": { "a": { "command": "x", "env": { "API_KEY": "verysecretverysecret1" } } }\n}\n';
    const first = on.write('mcp.json', text);
    const second = on.write('config.toml', '[mcp_servers.b]\ncommand = "y"\n');
    const gone = on.write('gone.json', text.replace('"a"', '"c"'));
    const deps = { ...on.deps, records: new Records(home), launcher: join(home, 'bin', 'countersign-mcp'), policyFile: join(home, 'countersign.yaml') };
    writeFileSync(deps.policyFile, 'version: 1\n# mine\n', { mode: 0o600 });
    await installLauncher(home, bundle, process.execPath);
    await protect(on.source('mcp.json'), ['mcpServers', 'a'], deps);
    await protect(on.source('config.toml'), ['mcp_servers', 'b'], deps);
    assert.doesNotMatch(readFileSync(first, 'utf8'), /verysecret/);
    const run = () => spawnSync(process.execPath, [bundle], { env: { COUNTERSIGN_HOME: home, PATH: process.env.PATH ?? '' }, encoding: 'utf8' });
    const { status, stderr } = run();
    assert.equal(stderr, '');
    assert.equal(status, 0);
    assert.equal(readFileSync(first, 'utf8'), text);
    assert.equal(readFileSync(second, 'utf8'), '[mcp_servers.b]\ncommand = "y"\n');
    assert.match(readFileSync(deps.policyFile, 'utf8'), /^version: 1\n# mine\n(connections: \{\}\n)?$/);
    assert.ok(!existsSync(join(home, 'bin')) && !existsSync(deps.records.folder));
    assert.equal(run().status, 0, 'a second run has nothing to do');
    assert.ok(existsSync(gone));
  } finally {
    on.end();
  }
});
