/**
 * Two people in two real workbenches with a gateway between them: both sign in from the Accounts menu at a real identity
 * provider, what one asks the other approves, and what is asked of the one who asked is not theirs to approve.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { Demo } from '../../demo/demo.ts';
import { ScriptedPerson } from '../../demo/person.ts';
import { goOn, pick } from '../../demo/press.ts';
import { customers } from '../../demo/shop.ts';
import { type Browser, openBrowser, openWorkbench, runCommand } from '../../demo/workbench.ts';
import { packaged, scenario } from './scenario.ts';

const STEP_MS = 60_000;

describe('a team in two workbenches', { timeout: 600_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-team-'));
  const demo = new Demo({ folder, vsix: packaged(), say: () => {}, team: true });
  let browser: Browser | undefined;
  let dana: ScriptedPerson;
  let sam: ScriptedPerson;

  const { ready, step } = scenario(folder, () => ({ Dana: dana?.page, Sam: sam?.page }));
  before(
    ready(async () => {
      await demo.start();
      await demo.startTeam();
      // One browser with two tabs, as a person has who tries both.
      browser = await openBrowser();
      dana = new ScriptedPerson(browser.page);
      sam = new ScriptedPerson(await browser.context.newPage());
      await Promise.all([openWorkbench(dana.page, demo.workbench.url()), openWorkbench(sam.page, demo.team.window.workbench.url())]);
      await dana.waitUntilOn();
      await sam.waitUntilOn();
    }),
  );

  after(async () => {
    await browser?.close();
    await demo.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  const shot = async (name: string): Promise<void> => {
    const to = process.env['COUNTERSIGN_SHOTS'];
    if (!to) return;
    await dana.page.screenshot({ path: join(to, `${name}-dana.png`) });
    await sam.page.screenshot({ path: join(to, `${name}-sam.png`) });
  };

  /** Runs a statement in Dana's terminal, on the shared connection. @returns what psql says, once it has */
  async function psql(sql: string): Promise<() => Promise<string>> {
    const out = join(demo.workspace, 'psql.txt');
    rmSync(out, { force: true });
    await dana.page.bringToFront();
    await dana.typeInTerminal(`psql -XAt "$COUNTERSIGN_DSN_PRODUCTION" -c "${sql}" > psql.txt 2>&1; echo done >> psql.txt`);
    return () => until('psql’s answer', () => (existsSync(out) && /^done$/m.test(readFileSync(out, 'utf8')) ? readFileSync(out, 'utf8') : undefined));
  }

  step('signs both in from the Accounts menu, each as who they said they are', async () => {
    await dana.signIn('Dana');
    await sam.page.bringToFront();
    await sam.signIn('Sam');
    await shot('signed-in');
    await dana.page.bringToFront();
    await dana.openApprovals();
    await dana.openConnections();
    await dana.page.locator('.monaco-list-row', { hasText: 'production' }).filter({ hasText: 'gateway' }).first().waitFor({ timeout: STEP_MS });
    // The entry that asked to sign in has gone with its badge.
    for (const { page } of [dana, sam]) {
      const badge = page.locator('.activitybar [aria-label*="Accounts"] .badge-content');
      await badge.first().waitFor({ state: 'hidden', timeout: STEP_MS });
    }
    await shot('connections');
  });

  step('masks what Dana reads in production', async () => {
    const answered = await psql('select name, email, ssn from customers where id = 42');
    const text = await answered();
    const customer = customers().find(({ id }) => id === 42);
    assert.ok(customer);
    assert.ok(text.includes(customer.name), text);
    assert.ok(text.includes('‹redacted›') && !text.includes(customer.ssn) && !text.includes(customer.email), text);
  });

  step('holds what Dana writes until Sam approves it in his own window, and Dana cannot', async () => {
    const answered = await psql("update customers set city = 'Lisbon' where id = 42 returning name, email, ssn, city");
    await sam.page.bringToFront();
    await sam.waitForAsk();
    await shot('asked');
    const card = await sam.currentCard();
    for (const part of ['UPDATE', 'customers', 'production-writes', 'Dana']) assert.ok(card.includes(part), `the card does not say ${part}:\n${card}`);
    await dana.page.bringToFront();
    const own = await dana.openApprovals();
    await own.getByText('Waiting for someone else').waitFor({ timeout: STEP_MS });
    assert.equal(await own.locator('cs-armed-button.approve').count(), 0, 'Dana is offered to approve her own request');
    await shot('waiting');
    await sam.page.bringToFront();
    await sam.approve();
    const text = await answered();
    assert.match(text, /‹redacted›\|Lisbon/);
    await shot('approved');
    assert.match(await sam.currentCard(), /Approved by Sam/);
    assert.doesNotMatch(await sam.currentCard(), /someone else/);
    await sam.done();
  });

  step('lets Dana ask for access over a time instead, which Sam grants in his window, and asks no more about what it covers', async () => {
    const answered = await psql("update customers set city = 'Braga' where id = 44");
    const panel = await dana.openApprovals();
    await panel.locator('button.row').first().click({ timeout: STEP_MS });
    await panel.locator('cs-ask-card vscode-button.request').click({ timeout: STEP_MS });
    // What it asks is filled in: an effect and a table.
    await goOn(dana.page, 'What for? (1 of 4)');
    await goOn(dana.page, 'On what? (2 of 4)');
    await pick(dana.page, '15 minutes', 'For how long? (3 of 4)');
    await shot('request');
    await goOn(dana.page, 'Why? (4 of 4)', 'Customers move all afternoon');
    const own = panel.locator('cs-access-card');
    await own.getByText('access to production for 15 minutes').waitFor({ timeout: STEP_MS });
    assert.equal(await own.locator('cs-armed-button').count(), 0, 'Dana is offered to grant what she asked for herself');
    await panel.locator('cs-ask-card vscode-button.withdraw').click({ timeout: STEP_MS });
    assert.doesNotMatch(await answered(), /UPDATE/);

    await sam.page.bringToFront();
    await sam.asks.waitFor({ timeout: STEP_MS });
    const card = (await sam.openApprovals()).locator('cs-access-card');
    for (const part of ['Dana', 'write', 'customers', 'Customers move all afternoon']) await card.getByText(part).first().waitFor({ timeout: STEP_MS });
    await shot('access');
    await sam.press(card.locator('cs-armed-button.grant'));
    await card.waitFor({ state: 'detached', timeout: STEP_MS });
    await dana.page.bringToFront();
    // She is told, and led to the line that says it.
    const told = dana.page.locator('.notification-list-item', { hasText: /Sam granted you access to production until .+: write on customers\./ }).first();
    // It hides itself after a while, on a busy machine before it is looked at.
    await told.waitFor({ timeout: 5_000 }).catch(() => runCommand(dana.page, 'Notifications: Show Notifications'));
    await shot('told');
    await told.getByRole('button', { name: 'Show Approvals' }).click({ timeout: STEP_MS });
    const line = panel.locator('cs-decided li', { hasText: 'Access to production for 15 minutes' });
    await line.getByText(/Approved by Sam.* until /).waitFor({ timeout: STEP_MS });
    await until('the keyboard on that line', () => line.evaluate((el) => (el.getRootNode() as ShadowRoot).activeElement === el));
    const free = await psql("update customers set city = 'Braga' where id = 44 returning city");
    assert.match(await free(), /Braga/);
    await shot('granted');
  });

  step('wants a fresh login for what policy marks, for that request alone', async () => {
    const answered = await psql('create index concurrently if not exists by_city on customers (city)');
    await sam.page.bringToFront();
    await sam.waitForAsk();
    const before = demo.team.identity.logins;
    await sam.approveWithFreshLogin('Sam');
    assert.equal(demo.team.identity.logins, before + 1);
    assert.match(await answered(), /CREATE INDEX/);
    await shot('fresh-login');
    await sam.done();
  });

  step('shows both in Sessions what was asked, who approved it, and what came back', async () => {
    for (const person of [sam, dana]) {
      await person.page.bringToFront();
      await person.openSessions();
      const row = person.page.locator('.monaco-list-row', { hasText: 'UPDATE customers' }).filter({ hasText: 'approved by Sam' });
      await row.first().waitFor({ timeout: STEP_MS });
    }
    const page = await dana.openOperation('UPDATE customers');
    assert.match(page, /‹redacted›/);
    assert.match(page, /Sam/);
    await shot('sessions');
  });

  step('cuts what Dana runs when she signs out, says why, and takes her question back', async () => {
    const answered = await psql('delete from customers where id = 4000');
    await sam.page.bringToFront();
    await sam.waitForAsk();
    await dana.page.bringToFront();
    await dana.signOut();
    assert.match(await answered(), /sign/i);
    const panel = await sam.panel('approvals');
    await panel.locator('cs-armed-button.approve').waitFor({ state: 'detached', timeout: STEP_MS });
    const shared = dana.page.locator('.monaco-list-row', { hasText: 'production' }).filter({ hasText: 'ready' });
    await shared.waitFor({ state: 'detached', timeout: STEP_MS });
    await shot('signed-out');
  });

  step('lets the database’s login nowhere but the gateway', () => {
    const needle = demo.team.options.kept.gatewayPassword;
    const holding = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => join(folder, name))
      .filter((path) => !path.startsWith(join(folder, 'postgres')) && statSync(path, { throwIfNoEntry: false })?.isFile() === true)
      .filter((path) => readFileSync(path, 'latin1').includes(needle));
    // The demo's own notes, which its next start needs.
    assert.deepEqual(holding, [join(folder, 'kept.json')]);
  });
});

async function until<T>(what: string, look: () => T | Promise<T>): Promise<NonNullable<T>> {
  const deadline = Date.now() + STEP_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}
