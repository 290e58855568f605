/** Runs the mocha suite of `test/editor/host/` inside a real extension host, and reports each of its tests here. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { Demo } from '../../demo/demo.ts';
import { type Browser, openBrowser } from '../../demo/workbench.ts';
import { buildHostSuite } from './hostSuite.ts';
import { packaged, ROOT, scenario } from './scenario.ts';

/** Longest that the whole suite may take, in milliseconds. */
const SUITE_MS = 240_000;

interface Result {
  readonly title: string;
  readonly state: 'passed' | 'failed' | 'pending';
  readonly error?: string;
}

/** What the suite wrote before it was cut off: how its tests ended, one after the other. */
function failures(report: string): string {
  if (!existsSync(report)) return 'no test ended';
  try {
    const { results } = JSON.parse(readFileSync(report, 'utf8')) as { results: readonly Result[] };
    return results.map(({ error, state, title }) => `${state}: ${title}${error === undefined ? '' : `\n${error}`}`).join('\n');
  } catch {
    return 'the report was just being written';
  }
}

describe('in a real extension host', () => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-host-'));
  const report = join(folder, 'report.json');
  const demo = new Demo({ folder, vsix: packaged(), say: () => {}, development: true, env: { COUNTERSIGN_TEST_REPORT: report } });
  let browser: Browser | undefined;
  let results: readonly Result[] = [];

  const { ready, step } = scenario(folder, () => ({ 'the editor': browser?.page }));
  before(
    ready(async () => {
      const suite = await buildHostSuite();
      await demo.start();
      browser = await openBrowser();
      const { page } = browser;
      const lines: string[] = [];
      const exited = new Promise<number>((done) => void page.exposeFunction('codeAutomationExit', (code: number) => done(code)));
      await page.exposeFunction('codeAutomationLog', (_level: string, args: unknown[]) => void lines.push(args.join(' ')));
      const remote = (path: string) => `vscode-remote://${new URL(demo.workbench.origin).host}${path}`;
      const payload = [
        ['extensionDevelopmentPath', remote(ROOT)],
        ['extensionTestsPath', remote(suite)],
        ['skipWelcome', 'true'],
      ];
      await page.goto(demo.workbench.url({ payload: JSON.stringify(payload) }));
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`the suite did not end in time\n${failures(report)}\n${lines.slice(-40).join('\n')}`)), SUITE_MS);
      });
      try {
        await Promise.race([exited, late]);
      } finally {
        clearTimeout(timer);
      }
      results = (JSON.parse(readFileSync(report, 'utf8')) as { results: Result[] }).results;
    }),
  );

  after(async () => {
    await browser?.close();
    await demo.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  step('the whole suite holds', async (t) => {
    assert.ok(results.length > 0, 'no test ran');
    for (const result of results) {
      await t.test(result.title, { skip: result.state === 'pending' }, () => assert.equal(result.state, 'passed', result.error));
    }
    assert.deepEqual(
      results.flatMap(({ state, title }) => (state === 'failed' ? [title] : [])),
      [],
    );
  });
});
