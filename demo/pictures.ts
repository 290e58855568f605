/** `npm run screenshots`: each panel in the real workbench, in three themes, to `docs/images/`. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Demo } from './demo.ts';
import { ScriptedPerson } from './person.ts';
import { PROMPTS } from './story.ts';
import { openBrowser, openWorkbench, runCommand } from './workbench.ts';

const ROOT = resolve(import.meta.dirname, '..');
const IMAGES = join(ROOT, 'docs', 'images');
const THEMES = { dark: 'Dark Modern', light: 'Light Modern', 'high-contrast': 'Dark High Contrast' } as const;
/** How long a theme may take to reach every webview, in milliseconds. */
const SETTLE_MS = 1500;

const folder = mkdtempSync(join(tmpdir(), 'countersign-pictures-'));
const demo = new Demo({ folder, vsix: join(ROOT, 'out', 'countersign.vsix'), say: () => {} });
await demo.start();
const browser = await openBrowser({ width: 1280, height: 800 });
const { page } = browser;

/** As a person would: settings written from outside are not seen by an editor without native file watching. */
async function useTheme(theme: string): Promise<void> {
  await runCommand(page, 'Preferences: Color Theme');
  const box = page.locator('.quick-input-widget input').first();
  await box.fill(theme);
  await page.locator('.quick-input-list .monaco-list-row', { hasText: theme }).first().waitFor();
  await page.keyboard.press('Enter');
  await page.waitForTimeout(SETTLE_MS);
}

async function picture(name: string): Promise<void> {
  for (const [short, theme] of Object.entries(THEMES)) {
    await useTheme(theme);
    await page.screenshot({ path: join(IMAGES, `${name}-${short}.png`) });
    console.log(`docs/images/${name}-${short}.png`);
  }
  await useTheme(THEMES.dark);
}

try {
  mkdirSync(IMAGES, { recursive: true });
  await openWorkbench(page, demo.workbench.url());
  const person = new ScriptedPerson(page);
  await person.waitUntilOn();
  await person.openChat();

  await person.ask(PROMPTS.look);
  await person.waitForChat(/This is what I was given/);
  await person.ask(PROMPTS.refund);
  await person.waitForAsk();
  await page.mouse.move(700, 300);
  await picture('approvals');

  await person.approve();
  await person.waitForChat(/The database answered/);
  await person.ask(PROMPTS.wipe);
  await person.allowToolIfAsked();
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
} catch (error) {
  await page.screenshot({ path: join(tmpdir(), 'countersign-pictures-failed.png') });
  throw error;
} finally {
  await browser.close();
  await demo.stop();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
