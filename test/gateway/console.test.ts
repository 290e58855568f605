import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type BrowserContext, type Browser as Chromium, chromium, type Locator, type Page } from 'playwright-core';
import { listenForAnswer } from '../../extension/gateway/loopback.ts';
import { begin } from '../../extension/gateway/oauth.ts';
import { type Definition, definitionOf } from '../../proxy/pinning/definition.ts';
import { soon } from '../support/soon.ts';
import { CHROMIUM } from '../webview/support/panelPage.ts';
import { type Agent, connect } from './agent.ts';
import { longChain } from './recording/longChain.ts';
import { type Client, type Stage, stage } from './stage.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const POLICY = `version: 1
defaults: { read: allow, write: ask, unknown: deny }
connections:
  orders: { protocol: postgres, upstream: postgres://127.0.0.1:1/orders, via: gateway, password: "secret:orders", sensitive: { customers.email: partial } }
rules:
  - { id: writes, match: { effect: write }, verdict: ask, approvers: group:dba }
`;
/** What a page that set text as markup would run. */
const SCRIPT = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;

describe('the console', () => {
  let on: Stage;
  let browser: Chromium;
  let ada: Client;
  let agent: Agent;
  const contexts: BrowserContext[] = [];
  const trouble: string[] = [];

  before(async () => {
    if (!existsSync(join(ROOT, 'dist/console/console.js'))) {
      const built = spawnSync(process.execPath, ['esbuild.mjs'], { cwd: ROOT, encoding: 'utf8' });
      assert.equal(built.status, 0, built.stderr);
    }
    on = await stage({ store: 'embedded', identity: { workloads: [{ id: 'ci', issuer: 'http://127.0.0.1:1', audience: 'countersign' }] } });
    const root = await on.signIn('root');
    assert.equal((await root.call('PUT', '/v1/policy', { text: POLICY, comment: `begin ${SCRIPT}`, over: 0 })).status, 200);
    ada = await on.signIn('ada');
    agent = await connect(on.gateways[0]!, ada.token);
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu'] });
  });
  after(async () => {
    for (const context of contexts) await context.close();
    await browser?.close();
    await agent?.session.close('the test is over');
    await on?.stop();
  });

  /** A page of the console, signed in through the provider as a person is. */
  async function visit(user: string | undefined, path: string, width = 1200): Promise<Page> {
    const context = await browser.newContext({ viewport: { width, height: 900 } });
    contexts.push(context);
    const page = await context.newPage();
    page.on('pageerror', (error) => trouble.push(String(error)));
    page.on('console', (message) => {
      // The first question of a page is who is signed in: that nobody is, is an answer. So is that something is not theirs to see.
      if (message.type() === 'error' && !/status of 40[14]/.test(message.text())) trouble.push(message.text());
    });
    if (user !== undefined) {
      on.idp.user = user;
      await page.goto(`${on.url}/login?return=/`);
    }
    await page.goto(`${on.url}/#/${path}`);
    return page;
  }

  /** The text of what has the keyboard, in whatever shadow it is. */
  const focused = (page: Page): Promise<string> =>
    page.evaluate(() => {
      let at: Element | null = document.activeElement;
      while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
      return at?.textContent?.trim() ?? '';
    });

  /** Says yes to a question of the console: a press counts only once the button has stood still. */
  const sure = async (dialog: Locator): Promise<void> => {
    await soon(async () => {
      if (await dialog.isVisible()) await dialog.locator('cs-armed-button vscode-button:not(.waiting)').click({ timeout: 2_000 });
      await dialog.waitFor({ state: 'hidden', timeout: 1_500 });
    });
  };

  it('asks whoever is not signed in to sign in, and shows nothing else', async () => {
    const page = await visit(undefined, 'sessions');
    await page.getByRole('link', { name: 'Sign in' }).waitFor();
    assert.equal(await page.getByRole('navigation').count(), 0);
  });

  it('has whoever signs an editor in press Allow, and sends them back there', async () => {
    for (const [button, said] of [
      ['Allow', 'You are in.'],
      ['Deny', 'You are in.'],
    ] as const) {
      const back = await listenForAnswer({ title: 'Editor', done: said, stranger: 'Not yours.' });
      try {
        const attempt = await begin(new URL(on.url), back.address);
        const answer = back.answer(attempt.state);
        const page = await visit('ada', '');
        await page.goto(attempt.page);
        await page.getByRole('heading', { name: 'Sign the editor in?' }).waitFor();
        await page.getByRole('button', { name: button }).click();
        // A browser holds a form to where its page says that it may lead, redirects included.
        await page.getByText(said).waitFor();
        if (button === 'Allow') assert.ok((await attempt.finish(await answer)).access);
        else await assert.rejects(attempt.finish(await answer), /refused in the browser/);
      } finally {
        back.close();
      }
    }
  });

  it('lets an approver answer, shows what is asked as text, and says so everywhere', async () => {
    const running = agent.do({ effect: 'write', payload: `UPDATE orders SET note = '${SCRIPT}'` });
    const page = await visit('dana', 'approvals', 390);
    await page.getByText('onerror').first().waitFor();
    await soon(async () => assert.match(await page.title(), /^\(1\)/));
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), true, 'nothing scrolls sideways on a phone');
    const approve = page.locator('cs-armed-button.approve');
    const approved = page.getByText(/Approved/).first();
    // A press counts only once the button has stood still: pressed again until one did.
    await soon(async () => {
      if (!(await approved.isVisible())) await approve.click({ timeout: 2_000 });
      await approved.waitFor({ timeout: 1_500 });
    }, 60_000);
    const result = await running;
    assert.equal(result.forwarded, true);
    assert.equal(agent.forwarded.length, 1);
    await soon(async () => assert.doesNotMatch(await page.title(), /^\(/));
    assert.notEqual(await page.title(), 'owned');
  });

  it('does not offer an answer to whoever asked, where somebody else must give it', async () => {
    const controller = new AbortController();
    const running = agent.do({ effect: 'write', payload: 'UPDATE orders SET paid = true' }, controller.signal);
    const page = await visit('ada', 'approvals');
    await page.getByText('Waiting for someone else').waitFor();
    assert.equal(await page.locator('cs-armed-button.approve').count(), 0);
    // But it can be taken back.
    await soon(async () => {
      const row = page.getByRole('button', { name: /UPDATE|write/i, expanded: false });
      if ((await row.count()) > 0) await row.first().click({ timeout: 2_000 });
      await page.locator('vscode-button.withdraw').click({ timeout: 2_000 });
    }, 60_000);
    assert.equal((await running).forwarded, false);
    controller.abort();
  });

  it('shows a session with its operations and who approved, and checks its chain in the browser', async () => {
    const page = await visit('ada', `sessions/${agent.session.id}`);
    await page.getByRole('navigation', { name: 'Operations' }).getByText('approved by Dana').waitFor();
    await page.getByText(/entries, chain checked in this browser/).waitFor();
    await page.getByRole('button', { name: 'End it' }).click();
    const end = page.getByRole('alertdialog', { name: 'End this session?' });
    await end.getByText('is cut off at once').waitFor();
    await end.getByRole('button', { name: 'Cancel' }).click();
    await page.getByText('live', { exact: true }).waitFor();
    // An auditor sees everybody's, and ends nobody's.
    const olga = await visit('olga', `sessions/${agent.session.id}`);
    await olga.getByText(/entries, chain checked in this browser/).waitFor();
    assert.equal(await olga.getByRole('button', { name: 'End it' }).count(), 0);
    await olga.getByRole('link', { name: 'All sessions' }).click();
    await olga.getByRole('row', { name: /live/ }).first().waitFor();
    assert.equal(await olga.getByRole('button', { name: /^End the session/ }).count(), 0);
    // Nobody else's: an approver is not an auditor.
    const other = await visit('bob', `sessions/${agent.session.id}`);
    await other.getByText('it is not yours to see').waitFor();
  });

  it('shows the newest of a long session as not checked, until all of its chain was gone through', async () => {
    const { db } = on.gateways[0]!;
    const lines = longChain('ses_long', 2_600);
    await db.query(
      `INSERT INTO sessions (id, conversation, chain, person, actor, connection, protocol, surface, owner, login, opened_at, closed_at, close_reason, entries)
       SELECT 'ses_long', conversation, chain, person, actor, connection, protocol, surface, owner, login, opened_at, ms(), 'done', $2::bigint FROM sessions WHERE id = $1`,
      [agent.session.id, lines.length],
    );
    await db.query(
      `INSERT INTO entries (session, seq, hash, line) SELECT 'ses_long', l.seq, '', l.line FROM unnest($1::bigint[], $2::text[]) AS l (seq, line)`,
      [lines.map((_, seq) => seq), lines],
    );
    const page = await visit('ada', 'sessions/ses_long');
    await page.getByText(/Shown are the newest 2,000 of 5,201 entries/).waitFor();
    await page.getByText('the whole chain was not checked').waitFor();
    assert.equal(await page.getByText(/chain checked in this browser/).count(), 0);
    assert.equal(await page.getByRole('navigation', { name: 'Operations' }).getByRole('button').count(), 1_000);
    await page.getByRole('button', { name: 'Check all of it' }).click();
    await page.getByText(/5,201 entries, chain checked in this browser/).waitFor();
    await page.getByRole('button', { name: 'Show earlier ones' }).click();
    await page.getByText(/Shown are the newest 4,000 of 5,201 entries/).waitFor();
    await db.query("DELETE FROM entries WHERE session = 'ses_long'");
    await db.query("DELETE FROM sessions WHERE id = 'ses_long'");
  });

  it('shows an admin the history of the policy as text, and refuses a draft that is broken', async () => {
    const page = await visit('root', 'policy');
    await page.getByText('begin <img src=x').waitFor();
    await page.getByLabel('Policy text').fill('version: 1\nrules: [{ id: x, verdict: perhaps }]\n');
    await page.getByRole('list', { name: 'Problems' }).waitFor();
    assert.equal(await page.locator('vscode-button:has-text("Put in force")').getAttribute('disabled'), '');
  });

  it('shows an admin the edges, and a join token once', async () => {
    const page = await visit('root', 'health');
    await page.getByRole('heading', { name: 'Edges' }).waitFor();
    await page.getByLabel('Name of an edge').fill('plant');
    await page.getByText('Make a join token').click();
    await page.getByText(/csjoin_[\w-]{43}/).waitFor();
    await page.getByText('The edge plant has not joined yet').waitFor();
    await page.reload();
    await page.getByText('The edge plant has not joined yet').waitFor();
    assert.equal(await page.getByText(/csjoin_/).count(), 0);
    // It cannot be taken back, so it is asked about.
    await page.getByRole('row', { name: /plant/ }).getByRole('button', { name: 'Remove' }).click();
    const remove = page.getByRole('alertdialog', { name: 'Remove the edge plant?' });
    await remove.getByRole('button', { name: 'Cancel' }).click();
    await remove.waitFor({ state: 'hidden' });
    await page.getByText('The edge plant has not joined yet').waitFor();
    // Whoever only looks is shown no way to change anything.
    const olga = await visit('olga', 'health');
    await olga.getByText('The edge plant has not joined yet').waitFor();
    assert.equal(await olga.getByText('Make a join token').count(), 0);
  });

  it('shows an admin what an MCP server says that nobody has accepted, as text, and takes the answer', async () => {
    const [gateway] = on.gateways;
    const add = (description: string): Definition => definitionOf('tool', { name: 'add', description, inputSchema: { type: 'object' } }) as Definition;
    const [was, is] = [add('Adds.'), add(`Adds. ${SCRIPT} ${'And so on. '.repeat(40)}`)];
    await gateway?.pins.keep('sums', { first: new Map([['tool', [{ ...was, at: Date.now(), by: 'first-use' as const }]]]), waiting: [] });
    const page = await visit('root', 'connections');
    await page.getByText('Nothing is quarantined.').waitFor();
    // It is told of by itself.
    await gateway?.pins.keep('sums', { first: new Map(), waiting: [{ ...is, reasons: ['its definition has changed since it was accepted'] }] });
    const section = page.getByRole('region', { name: 'Tool add of sums' });
    await section.getByText('Its definition has changed since it was accepted.').waitFor();
    assert.match((await section.locator('ins').allTextContents()).join(''), /onerror/);
    // All of what is accepted is on the screen: no line of it runs out of sight. What is new is told without colours, too.
    assert.equal(await section.locator('pre').evaluate((pre) => pre.scrollWidth <= pre.clientWidth), true);
    assert.match((await section.locator('ins').first().textContent()) ?? '', /^new: /);
    const olga = await visit('olga', 'connections');
    await olga.getByText('Its definition has changed').waitFor();
    assert.equal(await olga.getByText('Accept this text').count(), 0);
    const other = await visit('ada', 'connections');
    await other.getByRole('heading', { name: 'Connections' }).waitFor();
    assert.equal(await other.getByText('Quarantined definitions').count(), 0);
    // By keyboard alone, and the keyboard is at what became of it afterwards.
    await section.locator('pre').focus();
    await page.keyboard.press('Tab');
    const armed = section.locator('cs-armed-button vscode-button:not(.waiting)');
    await soon(async () => {
      await armed.waitFor({ timeout: 1_000 });
      await page.keyboard.press('Enter');
      await section.getByText('Accepted. Agents can use it from now on.').waitFor({ timeout: 1_500 });
    });
    await soon(async () => assert.match(await focused(page), /Accepted/));
    assert.equal(await section.getByText('Accept this text').count(), 0);
    assert.notEqual(await page.title(), 'owned');
    assert.equal((await gateway?.pins.read('sums'))?.pinned[0]?.hash, is.hash);
    await page.reload();
    await page.getByText('Nothing is quarantined.').waitFor();
  });

  it('moves no other text under the pointer of whoever has just accepted one', async () => {
    const [gateway] = on.gateways;
    const tool = (name: string): Definition => definitionOf('tool', { name, description: `Does ${name}.`, inputSchema: { type: 'object' } }) as Definition;
    const waiting = ['one', 'two'].map((name) => ({ ...tool(name), reasons: ['it was not there when this server was accepted'] }));
    await gateway?.pins.keep('more', { first: new Map(), waiting });
    const page = await visit('root', 'connections');
    const [first, second] = ['one', 'two'].map((name) => page.getByRole('region', { name: `Tool ${name} of more` }));
    await first?.locator('cs-armed-button vscode-button:not(.waiting)').waitFor();
    const accept = (await first?.locator('cs-armed-button').boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 };
    const before = await second?.boundingBox();
    for (let click = 0; click < 4; click++) await page.mouse.click(accept.x + accept.width / 2, accept.y + accept.height / 2, { delay: 100 });
    await first?.getByText('Accepted. Agents can use it from now on.').waitFor();
    assert.equal((await second?.boundingBox())?.height, before?.height);
    await second?.getByText('Accept this text').waitFor();
    assert.deepEqual(
      (await gateway?.pins.read('more'))?.pinned.map(({ name }) => name),
      ['one'],
    );
  });

  it('rotates the signing keys for an admin, who stays signed in', async () => {
    const kid = (): string | undefined => on.gateways[0]?.identity.keys.signing('token').kid;
    const before = kid();
    const page = await visit('root', 'health');
    await page.getByRole('button', { name: 'Rotate keys' }).click();
    await sure(page.getByRole('alertdialog', { name: 'Rotate the signing keys?' }));
    await page.getByRole('status').getByText('New keys sign from now on.').waitFor();
    assert.notEqual(kid(), before);
    await page.reload();
    await page.getByRole('button', { name: 'Rotate keys' }).waitFor();
  });

  it('says what went wrong under the name of the page, and loads it when told to try again', async () => {
    const page = await visit('root', 'health');
    await page.getByRole('heading', { name: 'Health' }).waitFor();
    await page.route('**/v1/people', (route) => route.fulfill({ status: 503, json: { error: 'unavailable', sentence: 'The store is away.' } }));
    const known = trouble.length;
    await page.getByRole('link', { name: 'People' }).click();
    await page.getByRole('alert').getByText('The store is away.').waitFor();
    await page.getByRole('heading', { name: 'People' }).waitFor();
    assert.match(await page.title(), /People · Countersign$/);
    await page.unroute('**/v1/people');
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByText('Whoever has signed in.').waitFor();
    assert.equal(await page.getByText('The store is away.').count(), 0);
    // The browser's own word about the 503, and nothing else.
    assert.deepEqual(
      trouble.splice(known).filter((line) => !line.includes('503')),
      [],
    );
  });

  it('keeps the keyboard where it was when something was done to one row of many', async () => {
    await on.signIn('bob');
    const page = await visit('root', 'people');
    const row = page.getByRole('row', { name: /Bob/ });
    await row.getByRole('button', { name: 'Lock out' }).focus();
    await page.keyboard.press('Enter');
    // One press says what would happen; a second one of an impatient hand is at Cancel, and the keyboard is back where it was.
    const dialog = page.getByRole('alertdialog', { name: 'Lock out Bob?' });
    await dialog.getByText('every session that Bob has open is cut off at once').waitFor();
    await page.keyboard.press('Enter');
    await dialog.waitFor({ state: 'hidden' });
    await soon(async () => assert.equal(await focused(page), 'Lock out'));
    await page.keyboard.press('Enter');
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    assert.equal(await page.getByText('Bob is locked out').count(), 0);
    await row.getByRole('button', { name: 'Lock out' }).click();
    await sure(dialog);
    await page.getByRole('status').getByText('Bob is locked out').waitFor();
    await row.getByRole('button', { name: 'Let in again' }).waitFor();
    // Its button has gone: not to the next person's, but to the heading above.
    await soon(async () => assert.equal(await focused(page), 'People'));
    await row.getByRole('button', { name: 'Let in again' }).click();
    await page.getByText('Bob may sign in again.').waitFor();
    // An account that puts policy from CI: made here, switched off and on again, each after a question.
    await page.getByRole('button', { name: 'New service account' }).click();
    await page.getByLabel('Name', { exact: true }).fill('policy');
    await page.getByLabel('It puts the organisation’s policy').check();
    await page.getByLabel('Issuer of its workload’s tokens').fill('ci');
    await page.getByLabel('Claims of those tokens').fill('repository=shop/policy\nref=refs/heads/main');
    await page.getByRole('button', { name: 'Make it' }).click();
    const account = page.getByRole('row', { name: /puts the policy/ });
    await account.getByRole('button', { name: 'Switch off' }).click();
    await sure(page.getByRole('alertdialog', { name: 'Switch off policy?' }));
    await account.getByRole('button', { name: 'Switch on again' }).click();
    await sure(page.getByRole('alertdialog', { name: 'Switch policy on again?' }));
    await account.getByRole('button', { name: 'Switch off' }).waitFor();
  });

  it('fits a phone: every page, with its ways on at the bottom and nothing to scroll sideways', async () => {
    const page = await visit('root', 'people', 390);
    for (const name of ['Sessions', 'Connections', 'Policy', 'People', 'Health']) {
      await page.getByRole('link', { name }).click();
      await page.getByRole('heading', { level: 1, name }).waitFor();
      await page.getByText('Loading…').waitFor({ state: 'detached' });
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), true, `${name} scrolls sideways`);
      const bar = await page.getByRole('navigation', { name: 'Console' }).boundingBox();
      assert.ok(bar !== null && bar.height < 90, `${name}: the bar is ${bar?.height} pixels high`);
    }
  });

  it('explains an operation to whoever looks after the policy, and what a draft would change, without sideways scrolling on a phone', async () => {
    const page = await visit('root', 'policy', 390);
    const tester = page.locator('cs-policy-tester');
    await tester.getByLabel('By hand: its effect and targets').check();
    await tester.getByLabel('Targets, with commas between').fill(`orders, ${SCRIPT.slice(0, 40)}`);
    await tester.getByRole('button', { name: 'Explain' }).click();
    const inForce = tester.getByRole('region', { name: 'In force' });
    await inForce.getByText('Asks').first().waitFor();
    await inForce.getByText('May approve: group dba').waitFor();
    assert.match((await inForce.textContent()) ?? '', /writes.*effect is write/s);
    assert.equal(await tester.getByRole('region', { name: 'Your draft' }).count(), 0);

    await page.getByLabel('Policy text').fill(POLICY.replace('verdict: ask, approvers: group:dba', 'verdict: deny, say: Not today.'));
    await tester.getByText('Your draft is compared with what is in force.').waitFor();
    await tester.getByRole('button', { name: 'Explain' }).click();
    const draft = tester.getByRole('region', { name: 'Your draft' });
    await draft.getByText('Denied').first().waitFor();
    await draft.getByText('Another answer than what is in force').waitFor();
    await draft.getByText('Not today.').first().waitFor();
    await inForce.getByText('Asks').first().waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), true);

    await tester.getByLabel('An SQL statement').check();
    await tester.getByLabel('Statement', { exact: true }).fill('UPDATE orders SET a = 1');
    await tester.getByRole('button', { name: 'Explain' }).click();
    await tester.getByText('could not be looked up from here').waitFor();
    assert.notEqual(await page.title(), 'owned');
    // Whoever may not read the whole policy tries nothing on it.
    const other = await visit('dana', 'policy');
    await other.getByText('what reaches a laptop of yours').waitFor();
    assert.equal(await other.locator('cs-policy-tester').count(), 0);
  });

  it('ends the login with Sign out', async () => {
    const page = await visit('root', 'health');
    await page.getByText('This gateway takes new work.').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).first().click();
    await page.getByRole('link', { name: 'Sign in' }).waitFor();
  });

  it('runs without a word in the browser’s own console: no violation, no error', () => {
    assert.deepEqual(trouble, []);
  });

  it('cannot be framed, and lets no script of another place in', async () => {
    const response = await fetch(`${on.url}/`);
    const policy = response.headers.get('content-security-policy') ?? '';
    assert.match(policy, /frame-ancestors 'none'/);
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe/);
    assert.equal(response.headers.get('x-frame-options'), 'DENY');
  });
});
