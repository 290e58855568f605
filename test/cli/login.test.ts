/** A terminal's login at a real gateway: a code that a person confirms in a browser, a token for scripts, and the end of it. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { run } from '../../cli/run.ts';
import { Browser } from '../gateway/browser.ts';
import { type Stage, stage } from '../gateway/stage.ts';
import { temporaryFolder } from '../gateway/stores.ts';
import { soon } from '../support/soon.ts';

interface Run {
  readonly out: string[];
  readonly error: string[];
  readonly code: Promise<number>;
}

function countersign(...args: string[]): Run {
  const out: string[] = [];
  const error: string[] = [];
  const io = { out: (line: string) => void out.push(line), error: (line: string) => void error.push(line), input: () => Promise.resolve(''), cwd: '/' };
  return { out, error, code: run(args, io) };
}

describe('countersign login', () => {
  let on: Stage;
  const home = join(temporaryFolder(), 'state');
  const former = process.env['COUNTERSIGN_HOME'];
  before(async () => {
    process.env['COUNTERSIGN_HOME'] = home;
    on = await stage();
  });
  after(async () => {
    if (former === undefined) delete process.env['COUNTERSIGN_HOME'];
    else process.env['COUNTERSIGN_HOME'] = former;
    await on.stop();
  });

  const confirm = async (login: Run, answer: 'allow' | 'deny'): Promise<void> => {
    const said = await soon(() => {
      assert.ok(login.out[0]);
      return login.out[0];
    });
    const [, page, code] = /Open (\S+) in a browser and type the code ([A-Z]{4}-[A-Z]{4})/.exec(said) ?? [];
    assert.ok(page && code, said);
    on.idp.user = 'ada';
    const browser = new Browser();
    await browser.submit(await browser.submit(await browser.open(page), { code }), { answer });
  };

  it('signs in by a code, for looking only, in a file that only its owner reads; and out again', async () => {
    assert.equal(await countersign('login', '--token').code, 1);
    const login = countersign('login', on.url);
    await confirm(login, 'allow');
    assert.equal(await login.code, 0, login.error.join('\n'));
    const file = join(home, 'terminal-login.json');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const printed = countersign('login', '--token');
    assert.equal(await printed.code, 0);
    const [token = ''] = printed.out;
    assert.ok(!login.out.join('\n').includes(token));
    const terminal = on.client(token);
    assert.equal((await terminal.call('GET', '/v1/me')).status, 200);
    assert.equal((await terminal.call('POST', '/v1/approvals/app_x/answer', { answer: 'deny', id: 'app_x', digest: 'd' })).status, 403);
    const { refresh } = JSON.parse(readFileSync(file, 'utf8')) as { refresh: string };
    assert.ok(refresh);
    const out = countersign('logout');
    assert.equal(await out.code, 0, out.error.join('\n'));
    assert.equal(existsSync(file), false);
    await soon(async () => assert.equal((await terminal.call('GET', '/v1/me')).status, 401));
  });

  it('keeps nothing when a person denies, and says so; and what to do where no gateway answers', async () => {
    const login = countersign('login', on.url);
    await confirm(login, 'deny');
    assert.equal(await login.code, 1);
    assert.match(login.error.join(' '), /denied in the browser/);
    assert.equal(existsSync(join(home, 'terminal-login.json')), false);
    const nowhere = countersign('login', 'http://127.0.0.1:9');
    assert.equal(await nowhere.code, 1);
    assert.match(nowhere.error.join(' '), /cannot be reached/);
    for (const bad of ['http://gateway.example', 'gateway.example', 'https://me:pw@gateway.example'])
      assert.equal(await countersign('login', bad).code, 2, bad);
  });
});
