// `npm run fuzz -- <target|all> [--minutes N]`: sets up and looks for bytes that break a parser. See test/fuzz/main.ts.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { main, ROOT, setup } from './setup.mjs';

await main(() => {
  const { node, env } = setup();
  const { status } = spawnSync(node, ['--disable-warning=ExperimentalWarning', join(ROOT, 'test', 'fuzz', 'main.ts'), ...process.argv.slice(2)], {
    cwd: ROOT,
    env,
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
});
