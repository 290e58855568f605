// `npm run test:desktop`: the extension host's suite in a desktop VS Code, which is downloaded. See test/editor/desktop.ts.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { buildExtension } from './build.mjs';
import { main, ROOT, setup } from './setup.mjs';

await main(() => {
  const { node, env } = setup();
  buildExtension({ node, env });
  const { status } = spawnSync(node, [join(ROOT, 'test', 'editor', 'desktop.ts')], { cwd: ROOT, env, stdio: 'inherit' });
  process.exitCode = status ?? 1;
});
