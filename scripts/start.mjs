// `npm start`: sets a clean clone up, builds, and runs the demo. Options are the demo's own: see demo/main.ts or --help.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { buildExtension } from './build.mjs';
import { main, ROOT, setup } from './setup.mjs';

await main(() => {
  const args = process.argv.slice(2);
  const has = (flag) => args.includes(flag);
  const { node, env } = setup({ editor: !has('--desktop') && !has('--help'), chromium: has('--check') });
  if (!has('--help')) buildExtension({ node, env });
  const child = spawn(node, [join(ROOT, 'demo', 'main.ts'), ...args], { cwd: ROOT, env, stdio: 'inherit' });
  // The terminal sends Ctrl-C to both; the demo stops everything, and this waits for it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => signal !== 'SIGINT' && child.kill(signal));
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal ? 1 : 0);
  });
});
