// `npm run screenshots`: pictures of each panel in the real workbench, light, dark and high contrast, to docs/images/.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { buildExtension } from './build.mjs';
import { main, ROOT, setup } from './setup.mjs';

await main(() => {
  const { node, env } = setup({ editor: true, chromium: true });
  buildExtension({ node, env });
  const { status } = spawnSync(node, [join(ROOT, 'demo', 'pictures.ts'), ...process.argv.slice(2)], { cwd: ROOT, env, stdio: 'inherit' });
  process.exitCode = status ?? 1;
});
