/** `extensionTestsPath`: the editor loads this inside the extension host and awaits `run`. */
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

interface Result {
  title: string;
  state: 'passed' | 'failed' | 'pending';
  error?: string;
}

export async function run(): Promise<void> {
  // What comes after a failure would wait for its whole time: the suite has less than that.
  const mocha = new Mocha({ ui: 'bdd', timeout: 150_000, color: false, bail: true });
  // `describe` and `it` are there only after this, so the suites are loaded below and not at the top.
  mocha.suite.emit('pre-require', globalThis, 'host', mocha);
  await import('./activation.ts');
  await import('./proxy.ts');
  await import('./views.ts');
  await import('./policy.ts');
  await import('./proposals.ts');
  await import('./decisions.ts');
  const results: Result[] = [];
  const report = process.env['COUNTERSIGN_TEST_REPORT'];
  // Written after each test, so that a suite that is cut off has told what it knew.
  const write = (failures: number): void => {
    if (report) writeFileSync(report, JSON.stringify({ failures, results }, null, 2));
  };
  const failures = await new Promise<number>((done) => {
    const runner = mocha.run(done);
    const note = (title: string, state: Result['state'], error?: unknown): void => {
      results.push({ title, state, ...(error !== undefined && { error: error instanceof Error ? (error.stack ?? error.message) : JSON.stringify(error) }) });
      write(results.filter((result) => result.state === 'failed').length);
    };
    runner.on('pass', (test) => note(test.fullTitle(), 'passed'));
    runner.on('pending', (test) => note(test.fullTitle(), 'pending'));
    // A hook that fails has no end of a test, only this.
    runner.on('fail', (test, error) => note(test.fullTitle(), 'failed', error));
  });
  write(failures);
  if (failures > 0) throw new Error(`${failures} tests failed`);
}
