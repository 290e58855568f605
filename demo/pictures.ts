/**
 * `npm run screenshots`: each panel in the real workbench, in three themes, to `docs/images/`. `-- team` for the team's alone, `-- local` for the
 * others; names after that for those pictures alone: `-- team team-access`.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { Demo } from './demo.ts';
import { ScriptedPerson } from './person.ts';
import { goOn, pick } from './press.ts';
import { PROMPTS, TEAM_PROMPT } from './story.ts';
import { openBrowser, openWorkbench, runCommand } from './workbench.ts';

const ROOT = resolve(import.meta.dirname, '..');
const IMAGES = join(ROOT, 'docs', 'images');
const THEMES = { dark: 'Dark Modern', light: 'Light Modern', 'high-contrast': 'Dark High Contrast' } as const;
/** How long a theme may take to reach every webview, in milliseconds. */
const SETTLE_MS = 1500;

const [part, ...names] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'countersign-pictures-'));
const demo = new Demo({ folder, vsix: join(ROOT, 'out', 'countersign.vsix'), say: () => {}, team: true, env: { COUNTERSIGN_POLICY: '' } });
await demo.start();
// As a person's own file, to which a rule can be added: the demo hands it over as an organisation's.
const policyFile = join(demo.home, 'countersign.yaml');
copyFileSync(demo.policyFile, policyFile);
const browser = await openBrowser({ width: 1280, height: 800 });
const { page } = browser;

/** As a person would: settings written from outside are not seen by an editor without native file watching. */
async function useTheme(page: Page, theme: string): Promise<void> {
  await runCommand(page, 'Preferences: Color Theme');
  const box = page.locator('.quick-input-widget input').first();
  await box.fill(theme);
  await pick(page, theme);
  // Where nothing has a hover: what was pressed lay over the editor.
  await page.mouse.move(640, 784);
  await page.waitForTimeout(SETTLE_MS);
}

/** Whether a picture was asked for. */
function wanted(name: string): boolean {
  return names.length === 0 || names.includes(name);
}

async function picture(name: string, of: Page = page): Promise<void> {
  await of.bringToFront();
  if (!wanted(name)) return;
  for (const [short, theme] of Object.entries(THEMES)) {
    await useTheme(of, theme);
    await take(name, short, of);
  }
  await useTheme(of, THEMES.dark);
}

/** A page of a browser, as its person has set the browser: forced colors are its high contrast. */
async function webPicture(name: string, of: Page): Promise<void> {
  await of.bringToFront();
  if (!wanted(name)) return;
  for (const short of ['dark', 'light', 'high-contrast'] as const) {
    await of.emulateMedia({ colorScheme: short === 'light' ? 'light' : 'dark', forcedColors: short === 'high-contrast' ? 'active' : 'none' });
    await of.waitForTimeout(SETTLE_MS / 3);
    await take(name, short, of);
  }
  await of.emulateMedia({ colorScheme: 'dark', forcedColors: 'none' });
}

async function take(name: string, short: string, of: Page): Promise<void> {
  await of.screenshot({ path: join(IMAGES, `${name}-${short}.png`) });
  console.log(`docs/images/${name}-${short}.png`);
}

/** One person with a proxy on this machine. */
async function localPictures(person: ScriptedPerson): Promise<void> {
  await person.ask(PROMPTS.look);
  await person.waitForChat(/This is what I was given/);
  await person.ask(PROMPTS.refund);
  await person.waitForAsk();
  await page.mouse.move(700, 300);
  await picture('approvals');

  await person.approve();
  await person.waitForChat(/The database answered/);
  await offerPictures(person);
  await person.ask(PROMPTS.wipe);
  await person.allowToolUntil(() => demo.model.toolResults.at(-1)?.includes('no-mass-delete') === true);
  await person.waitForChat(/That did not work/);

  await person.openSessions();
  await person.openOperation('SELECT customers');
  await picture('operation');

  await page.locator('.pane-header', { hasText: 'Sessions' }).first().click();
  await page.locator('.pane-header', { hasText: 'Connections' }).first().click();
  await page.locator('.monaco-list-row', { hasText: 'PostgreSQL' }).first().click();
  await page.keyboard.press('ArrowRight');
  await runCommand(page, 'Countersign: Doctor');
  await page.waitForTimeout(SETTLE_MS);
  await picture('connections');
  await runCommand(page, 'View: Close All Editors');
}

/** The same yes for the third time, where a rule could say it. */
async function offerPictures(person: ScriptedPerson): Promise<void> {
  const policy = readFileSync(policyFile, 'utf8');
  // The demo's own rule asks each time, and no rule beside it would help: without it, what stands in the policy is the default.
  writeFileSync(policyFile, policy.replace('effect: [write, delete] }\n    verdict: ask', 'effect: delete }\n    verdict: ask'));
  for (let yes = 2; yes <= 3; yes++) {
    await person.done();
    await page.mouse.move(700, 300);
    await person.ask(PROMPTS.refund);
    await person.waitForAsk();
    await person.approve();
    await person.waitForChat(/The database answered/);
  }
  await person.done();
  await page.mouse.move(700, 300);
  await person.only('Approvals');
  const offer = (await person.panel('approvals')).locator('cs-rule-offer');
  await offer.getByText('Show the rule').click();
  await offer.getByText('without asking').waitFor();
  // The line of the answer leaves by itself, which would move what is below it between two pictures.
  await (await person.panel('approvals')).locator('.quietLine').first().waitFor({ state: 'detached' });
  await page.mouse.move(700, 300);
  await picture('offer');
  writeFileSync(policyFile, policy);
}

/** Two people and a gateway: who asks, who approves, the console. */
async function teamPictures(dana: ScriptedPerson): Promise<void> {
  await demo.startTeam();
  const sam = new ScriptedPerson(await browser.context.newPage());
  await openWorkbench(sam.page, demo.team.window.workbench.url());
  await sam.waitUntilOn();
  await sam.signIn('Sam', (web) => webPicture('sign-in-allow', web));
  await dana.page.bringToFront();
  await dana.signIn('Dana');
  await dana.openApprovals();
  await dana.openConnections();
  await dana.page.locator('.monaco-list-row', { hasText: 'production' }).first().waitFor();
  await dana.ask(TEAM_PROMPT);
  await dana.letToolAsk(sam);
  await sam.page.bringToFront();
  await runCommand(sam.page, 'View: Hide Secondary Side Bar');
  await sam.waitForAsk();
  await sam.only('Approvals');
  await sam.page.mouse.move(700, 300);
  await picture('team-approver', sam.page);
  await dana.page.bringToFront();
  const waiting = await dana.openApprovals();
  await dana.only('Approvals');
  await waiting.locator('button.row').first().click();
  await dana.page.mouse.move(700, 300);
  await picture('team-requester', dana.page);
  await waiting.locator('cs-ask-card vscode-button.request').click();
  await goOn(dana.page, 'What for?');
  await goOn(dana.page, 'On what?');
  await pick(dana.page, '1 hour', 'For how long?');
  await goOn(dana.page, 'Why?', 'Customers move all afternoon: the spreadsheet from the Ghent office has 40 of them');
  await sam.page.bringToFront();
  await (await sam.panel('approvals')).locator('cs-access-card').scrollIntoViewIfNeeded();
  await picture('team-access', sam.page);

  const web = await browser.context.newPage();
  // Her own session is hers to end; Sam only sees it.
  await web.goto(demo.team.gateway.url);
  await web.getByRole('link', { name: 'Sign in' }).click();
  await web.getByRole('button', { name: /^Dana/ }).click();
  await web.getByRole('link', { name: 'Sessions' }).click();
  await web.getByRole('row', { name: /live/ }).getByRole('link').first().click();
  await web.getByRole('button', { name: 'End it' }).click();
  await web.getByRole('alertdialog').getByText('is cut off at once').waitFor();
  await webPicture('console-confirm', web);
  await web.keyboard.press('Escape');
  await web.getByRole('button', { name: 'Sign out' }).click();
  await web.goto(`${demo.team.gateway.url}/#/approvals`);
  await web.getByRole('link', { name: 'Sign in' }).click();
  await web.getByRole('button', { name: /^Sam/ }).waitFor();
  await webPicture('sign-in', web);
  await web.getByRole('button', { name: /^Sam/ }).click();
  await web.locator('cs-armed-button.approve').first().waitFor();
  await webPicture('console-approvals', web);

  await sam.page.bringToFront();
  await sam.approve();
  await dana.page.bringToFront();
  await dana.waitForChat(/Production answered/);
  await dana.openSessions();
  await dana.page.locator('.monaco-list-row', { hasText: 'approved by Sam' }).first().waitFor();
  await dana.openOperation('UPDATE customers');
  await picture('team-sessions', dana.page);
  await web.goto(`${demo.team.gateway.url}/#/sessions`);
  await web.locator('table a').first().click();
  await web.getByText('approved by Sam').first().waitFor();
  await web.getByText('approved by Sam').first().click();
  await webPicture('console-session', web);
  await web.goto(`${demo.team.gateway.url}/#/health`);
  await web.getByText('This gateway takes new work.').waitFor();
  await webPicture('console-health', web);
}

try {
  mkdirSync(IMAGES, { recursive: true });
  await openWorkbench(page, demo.workbench.url());
  const person = new ScriptedPerson(page);
  await person.waitUntilOn();
  await person.waitForModel();

  if (part !== 'team') await localPictures(person);
  if (part !== 'local') await teamPictures(person);
} catch (error) {
  for (const [i, one] of browser.context.pages().entries())
    await one.screenshot({ path: join(tmpdir(), `countersign-pictures-failed-${i + 1}.png`) }).catch(() => undefined);
  throw error;
} finally {
  await browser.close();
  await demo.stop();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
