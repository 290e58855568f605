// `npm run test:load [-- --mb N]`: 200 sessions, a result of 2 GB (N: its size in megabytes), slow readers, and all that dies under them,
// with the memory that the proxy held printed and checked. `npm test` does the same with a smaller result. See test/load/load.test.ts.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { buildExtension } from './build.mjs';
import { main, ROOT, setup } from './setup.mjs';

/** What is promised, in megabytes. */
const PROMISED_MB = 2048;

await main(() => {
  const args = process.argv.slice(2);
  const at = args.indexOf('--mb');
  const size = at < 0 ? PROMISED_MB : Number(args[at + 1]);
  if (!(size > 0)) throw new Error('usage: npm run test:load [-- --mb N]');
  const { node, env } = setup();
  buildExtension({ node, env });
  const flags = ['--disable-warning=ExperimentalWarning', '--test', '--test-reporter=spec', join(ROOT, 'test', 'load', 'load.test.ts')];
  const { status } = spawnSync(node, flags, { cwd: ROOT, env: { ...env, LARGE_RESULT_MB: String(size) }, stdio: 'inherit' });
  process.exitCode = status ?? 1;
});
