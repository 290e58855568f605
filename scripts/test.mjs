// `npm test`: sets a clean clone up and runs every check and test; the last line counts them.
//   npm test -- fast            no editor, no demo
//   npm test -- test/proxy/...  just these files
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildExtension } from './build.mjs';
import { installPeers } from './peers.mjs';
import { main, ROOT, setup } from './setup.mjs';

/** Test files that run at once: they start servers of their own, and two cores are what they are planned for. */
const CONCURRENCY = 2;
/** Longest that one test file may take, in milliseconds. */
const FILE_TIMEOUT_MS = 600_000;

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
    const child = spawn(node, [join(ROOT, script), ...rest], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        said += text;
      });
    const status = await new Promise((resolve) => child.once('error', resolve).once('close', resolve));
    if (status !== 0) console.log(`${said}${status instanceof Error ? status.message : ''}`.trim());
    report(name, { passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1, skipped: 0 });
  };

  /** A folder of node:test files. */
  const tests = (name, found, concurrency = CONCURRENCY) => {
    if (found.length === 0) return;
    const folder = mkdtempSync(join(tmpdir(), 'countersign-test-'));
    const counts = join(folder, 'counts');
    const reporters = [
      '--test-reporter=dot',
      '--test-reporter-destination=stdout',
      '--test-reporter=./scripts/countReporter.mjs',
      `--test-reporter-destination=${counts}`,
    ];
    const flags = ['--disable-warning=ExperimentalWarning', '--test', `--test-concurrency=${concurrency}`, `--test-timeout=${FILE_TIMEOUT_MS}`, ...reporters];
    const { status } = spawnSync(node, [...flags, ...found], { cwd: ROOT, env, stdio: ['ignore', 'inherit', 'inherit'] });
    let counted = { passed: 0, failed: 1, skipped: 0 };
    try {
      counted = JSON.parse(readFileSync(counts, 'utf8'));
    } catch {
      console.log('The test runner left no counts.');
    }
    rmSync(folder, { recursive: true, force: true });
    // An exit code that the counts do not explain (a crash between tests) is a failure of its own.
    if (status !== 0 && counted.failed === 0) counted.failed = 1;
    report(name, counted);
  };

  if (files.length > 0) {
    tests('chosen tests', files);
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
    tests(
      'behaviour',
      all.filter((file) => !editor.includes(file)),
    );
    if (!fast) {
      tests('in a real editor', editor, 1);
      await check('npm start -- --check', 'demo/main.ts', '--check');
    }
  }

  const total = (key) => results.reduce((sum, counts) => sum + counts[key], 0);
  const skipped = total('skipped');
  console.log(`${total('passed')} passed, ${total('failed')} failed${skipped ? `, ${skipped} skipped` : ''}`);
  if (total('failed') > 0) process.exitCode = 1;
});
