// `npm run bench -- <name>`: sets up, builds, and measures against the budgets. See bench/main.ts.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { buildExtension } from './build.mjs';
import { main, ROOT, setup } from './setup.mjs';

await main(() => {
  const { node, env } = setup();
  buildExtension({ node, env });
  const { status } = spawnSync(node, [join(ROOT, 'bench', 'main.ts'), ...process.argv.slice(2)], { cwd: ROOT, env, stdio: 'inherit' });
  process.exitCode = status ?? 1;
});
