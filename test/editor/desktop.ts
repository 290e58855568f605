/**
 * The extension host's suite in a desktop VS Code, for machines that can have one: `npm run test:desktop`. It downloads the
 * editor (`@vscode/test-electron`), so it is no part of `npm test`, which runs the same suite in the browser's editor.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { runTests } from '@vscode/test-electron';
import { Demo } from '../../demo/demo.ts';
import { buildHostSuite } from './hostSuite.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'countersign-desktop-'));
const report = join(folder, 'report.json');
const demo = new Demo({ folder, vsix: join(ROOT, 'out', 'countersign.vsix'), say: () => {}, env: { COUNTERSIGN_TEST_REPORT: report } });
try {
  const extensionTestsPath = await buildHostSuite();
  const extensionTestsEnv = await demo.prepare();
  await runTests({
    extensionDevelopmentPath: ROOT,
    extensionTestsPath,
    extensionTestsEnv,
    launchArgs: [demo.workspace, '--disable-workspace-trust', '--user-data-dir', join(folder, 'data')],
  });
} finally {
  await demo.stop();
  try {
    const { results } = JSON.parse(readFileSync(report, 'utf8')) as { results: { title: string; state: string; error?: string }[] };
    for (const { title, state, error } of results) console.log(`${state === 'passed' ? '✓' : '✗'} ${title}${error === undefined ? '' : `\n${error}`}`);
    const passed = results.filter((r) => r.state === 'passed').length;
    console.log(`${passed} passed, ${results.length - passed} failed`);
  } catch {
    console.log('The editor ended before the suite could report.');
    process.exitCode = 1;
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
