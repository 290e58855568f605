/** What runs the tests: a file that fails, crashes, hangs or leaves something behind is named and counted, and holds nothing up. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { alive } from '../support/alive.ts';
import { until, within } from '../support/soon.ts';

const RUNNER = new URL('../../scripts/testFiles.mjs', import.meta.url).href;
/** Far more than these files take, in milliseconds; and for the one that hangs. */
const FILE_MS = 60_000;
const HANGS_MS = 1_500;
const WINDOWS = process.platform === 'win32';

const folder = mkdtempSync(join(tmpdir(), 'countersign-runner-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const TEST = "import { it } from 'node:test'; import assert from 'node:assert/strict'; import { spawn } from 'node:child_process'; import fs from 'node:fs';";
/** Writes a file of tests. @param body what it says; `at` is a path beside it */
function file(name: string, body: string): string {
  const path = join(folder, `${name}.test.mjs`);
  writeFileSync(path, `${TEST}\nconst at = ${JSON.stringify(join(folder, name))};\n${body}\n`);
  return path;
}

function begin(files: readonly string[], fileMs = FILE_MS): { readonly child: ChildProcess; readonly done: Promise<{ said: string; counts: unknown }> } {
  const options = `{ node: process.execPath, env: process.env, files: ${JSON.stringify(files)}, concurrency: 2, fileMs: ${fileMs}, until: Date.now() + ${FILE_MS} }`;
  const program = `import { runTestFiles } from ${JSON.stringify(RUNNER)}; console.log(JSON.stringify(await runTestFiles(${options})));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return { child, done: within('the runner', closed).then(() => ({ said, counts: counts(said) })) };
}

function counts(said: string): unknown {
  const last = said.trimEnd().split('\n').at(-1) ?? '';
  return last.startsWith('{') ? JSON.parse(last) : undefined;
}

const run = (files: readonly string[], fileMs?: number): Promise<{ said: string; counts: unknown }> => begin(files, fileMs).done;
const pid = (name: string): number => Number(readFileSync(join(folder, name), 'utf8'));

describe('files of tests', () => {
  it('are counted; what fails in one is shown with its name, and so is one that crashes, ends early or has no test', async () => {
    const { counts, said } = await run([
      file('good', "it('holds', () => {}); it('waits', { skip: true }, () => {});"),
      file('wrong', "it('holds', () => {}); it('is wrong', () => assert.equal('one', 'two')); console.log('said by it');"),
      file('crash', "it('crashes', () => process.kill(process.pid, 'SIGKILL')); await new Promise((done) => setTimeout(done, 60_000));"),
      file('early', "it('leaves', () => process.exit(0));"),
      file('empty', ''),
      file('unreadable', 'this is no program'),
    ]);
    assert.deepEqual(counts, { passed: 2, failed: 5, skipped: 1 }, said);
    assert.match(said, /✗ \S*wrong\.test\.mjs: 1 failed \(exit 1\)\n {2}✗ is wrong \(line \d+[^]*'one'[^]*'two'[^]*said by it/);
    // What had begun may not have been written down when the process went.
    assert.match(said, /✗ \S*crash\.test\.mjs: (?:1 failed|has begun no test) \(exit SIGKILL\)/);
    assert.match(said, /✗ \S*early\.test\.mjs: (?:1 failed|has begun no test) \(exit 0\)/);
    assert.match(said, /✗ \S*empty\.test\.mjs: has begun no test/);
    assert.match(said, /✗ \S*unreadable\.test\.mjs: has begun no test \(exit 1\)[^]*SyntaxError/);
    assert.doesNotMatch(said, /good\.test\.mjs/);
  });

  it('are ended where they hang, with what they do and what they have started', { skip: WINDOWS }, async () => {
    const child = "const child = spawn('sleep', ['600']); fs.writeFileSync(at, String(child.pid));";
    const { counts, said } = await run([file('hangs', `it('ends', () => {}); ${child}`)], HANGS_MS);
    assert.deepEqual(counts, { passed: 0, failed: 1, skipped: 0 }, said);
    assert.match(said, /✗ \S*hangs\.test\.mjs: had not ended after 2 s/);
    assert.match(said, /each test that was begun has ended; something keeps the process alive/);
    if (process.platform === 'linux') assert.match(said, /it runs:[^]*sleep 600[^]*open handles:[^]*"type":"process"/);
    await until('the child to be gone', () => !alive(pid('hangs')));
  });

  it('leave no process and no temporary folder behind, and it is said which they would have', { skip: process.platform !== 'linux' }, async () => {
    const { counts, said } = await run([
      file(
        'leaves',
        `it('leaves', () => {
          const child = spawn('sleep', ['601'], { detached: true, stdio: 'ignore' });
          child.unref();
          fs.writeFileSync(at, String(child.pid));
          fs.mkdtempSync(process.env.TMPDIR + '/left-');
        });`,
      ),
    ]);
    assert.deepEqual(counts, { passed: 1, failed: 0, skipped: 0 }, said);
    assert.match(said, /! \S*leaves\.test\.mjs: left running, and was ended with it:\n\s+sleep 601/);
    await until('the child to be gone', () => !alive(pid('leaves')));
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('cs-')),
      [],
    );
  });

  it('are ended with whoever runs them', { skip: WINDOWS }, async () => {
    const { child, done } = begin([file('goes-on', 'fs.writeFileSync(at, String(process.pid)); setInterval(() => {}, 1000);')]);
    await until('the file to be begun', () => existsSync(join(folder, 'goes-on')) && pid('goes-on'));
    child.kill('SIGINT');
    const { counts, said } = await done;
    assert.equal(counts, undefined);
    assert.match(said, /ended in the middle of \S*goes-on\.test\.mjs/);
    await until('the file to be ended', () => !alive(pid('goes-on')));
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('cs-')),
      [],
    );
  });
});
