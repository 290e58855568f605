// `npm test`: sets a clean clone up and runs every check and test; the last line counts them.
//   npm test -- fast            no editor, no demo
//   npm test -- test/proxy/...  just these files
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildExtension } from './build.mjs';
import { installPeers } from './peers.mjs';
import { endGroup, spawnGroup } from './processGroup.mjs';
import { main, ROOT, setup } from './setup.mjs';
import { runTestFiles } from './testFiles.mjs';

/** Test files that run at once: they start servers of their own, and two cores are what they are planned for. */
const CONCURRENCY = 2;
/** Longest that one test file or check may take, in milliseconds: three times what the slowest takes. One that takes more hangs. */
const FILE_MS = 480_000;
/** When no other test file is begun, in milliseconds from the start: far beyond what all of them take, and before whoever waits gives up. */
const ALL_MS = 2_700_000;
/** Begun first, the longest before the others, so that all that run at once end together. */
const LONGEST = [
  'faults/canary',
  'gateway/console',
  'peers/mcp/conformanceClient',
  'peers/psycopg',
  'proxy/protocols/postgres/canaryCorpus',
  'gateway/faults/replicas',
  'proxy/daemon/endToEnd',
  'webview/panels',
  'proxy/protocols/postgres/moves',
  'peers/mcp/conformance',
  'load/load',
  'load/mcp',
  'proxy/protocols/mcp/quarantine',
  'peers/mcp/thirdParties',
  'extension/proxyLink/attach',
  'gateway/sessions/shared',
  'peers/psql',
  'proxy/daemon/lifecycle',
].map((name) => join('test', `${name}.test.ts`));

await main(async () => {
  const args = process.argv.slice(2);
  const fast = args.includes('fast');
  const files = args.filter((arg) => arg.endsWith('.test.ts'));
  const { node, env } = setup({ editor: !fast && files.length === 0, chromium: !fast });
  if (files.length === 0 || files.some((file) => file.includes('peers'))) for (const problem of installPeers(console.log)) console.log(problem);
  // Each test file and each process that it starts is a Node of its own: what one has compiled, the others need not.
  env.NODE_COMPILE_CACHE ??= join(ROOT, 'out', 'compile-cache');
  const results = [];
  const startedAt = Date.now();

  const report = (name, counts) => {
    results.push(counts);
    console.log(`${counts.failed ? '✗' : '✓'} ${name} (${Math.round((Date.now() - startedAt) / 1000)} s)`);
  };

  /** A check that passes or fails as a whole. */
  const check = async (name, script, ...rest) => {
    const child = spawnGroup(node, [join(ROOT, script), ...rest], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        said += text;
      });
    const timer = setTimeout(() => {
      said += `\nIt had not ended after ${FILE_MS / 1000} s.`;
      endGroup(child);
    }, FILE_MS);
    const status = await new Promise((resolve) => child.once('error', resolve).once('close', resolve));
    clearTimeout(timer);
    if (status !== 0) console.log(`${said}${status instanceof Error ? status.message : ''}`.trim());
    report(name, { passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1, skipped: 0 });
  };

  /** Files of node:test. */
  const tests = async (name, found, concurrency = CONCURRENCY) => {
    if (found.length > 0) report(name, await runTestFiles({ node, env, files: found, concurrency, fileMs: FILE_MS, until: startedAt + ALL_MS }));
  };

  if (files.length > 0) {
    await tests('chosen tests', files);
  } else {
    // None of them needs another, and each leaves a processor idle at times.
    const checks = Promise.all([
      check('types agree (tsc)', 'node_modules/typescript/bin/tsc', '-b'),
      check('formatting (biome)', 'node_modules/@biomejs/biome/bin/biome', 'check', '.'),
      check('lint (oxlint)', 'node_modules/oxlint/bin/oxlint', '--type-aware', '.'),
      check('nothing unused (knip)', 'node_modules/knip/bin/knip.js'),
    ]);
    const { vsix } = buildExtension({ node, env });
    await checks;
    env.COUNTERSIGN_VSIX = vsix;
    // This script itself runs on any Node ≥ 20, which has no globSync.
    const all = readdirSync(join(ROOT, 'test'), { recursive: true })
      .filter((file) => file.endsWith('.test.ts'))
      .map((file) => join('test', file))
      .sort();
    const editor = all.filter((file) => file.startsWith(join('test', 'editor')));
    const others = all.filter((file) => !editor.includes(file) && !LONGEST.includes(file));
    await tests('behaviour', [...LONGEST.filter((file) => all.includes(file)), ...others]);
    if (!fast) {
      await tests('in a real editor', editor, 1);
      await check('npm start -- --check', 'demo/main.ts', '--check');
    }
  }

  const total = (key) => results.reduce((sum, counts) => sum + counts[key], 0);
  const skipped = total('skipped');
  console.log(`${total('passed')} passed, ${total('failed')} failed${skipped ? `, ${skipped} skipped` : ''}`);
  if (total('failed') > 0) process.exitCode = 1;
});
