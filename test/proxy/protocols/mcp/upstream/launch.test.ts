import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { inheritedEnvironment, launchable } from '../../../../../proxy/protocols/mcp/upstream/launch.ts';

describe('starting a program', () => {
  it('hands it a few variables and no others', () => {
    const env = { PATH: '/bin', HOME: '/h', AWS_SECRET_ACCESS_KEY: 's', COUNTERSIGN_MCP_TOKEN: 't', NODE_OPTIONS: '--require x', LD_PRELOAD: 'x' };
    const handed = inheritedEnvironment(env);
    assert.equal(handed.PATH, '/bin');
    assert.deepEqual(
      Object.keys(handed).filter((name) => /AWS|COUNTERSIGN|NODE_OPTIONS|LD_/.test(name)),
      [],
    );
  });

  it('never goes through a shell where there is none to go through', () => {
    assert.deepEqual(launchable(['npx', '-y', 'a; rm -rf /', '$(x)'], 'linux'), { file: 'npx', args: ['-y', 'a; rm -rf /', '$(x)'], verbatim: false });
    assert.deepEqual(launchable(['server.exe', 'a & b'], 'win32', { PATH: '' }), { file: 'server.exe', args: ['a & b'], verbatim: false });
  });

  it('writes a line that cmd.exe reads as meant where Windows needs it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-launch-'));
    try {
      const file = join(folder, 'npx.cmd');
      await writeFile(file, '');
      const { file: shell, args, verbatim } = launchable([file, '-y', 'a & calc', '%PATH%', 'say "hi"\\'], 'win32', { COMSPEC: 'C:\\cmd.exe' });
      assert.deepEqual([shell, verbatim, ...args.slice(0, 3)], ['C:\\cmd.exe', true, '/d', '/s', '/c']);
      const line = args[3] ?? '';
      // Read once by cmd.exe (carets gone), and again by the batch file: no bare `&`, `%` or quote is left to mean anything.
      const once = line.slice(1, -1).replace(/\^(.)/g, '$1');
      assert.doesNotMatch(once, /(?<!\^)[&%|<>"]/);
      assert.ok(once.replace(/\^(.)/g, '$1').endsWith('"-y" "a & calc" "%PATH%" "say \\"hi\\"\\\\"'), once);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
