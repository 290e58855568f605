/** `npm run screenshots`: each panel in the real workbench, in three themes, to `docs/images/`. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { Demo } from './demo.ts';
import { ScriptedPerson } from './person.ts';
import { PROMPTS } from './story.ts';
import { openBrowser, openWorkbench } from './workbench.ts';

const ROOT = resolve(import.meta.dirname, '..');
const IMAGES = join(ROOT, 'docs', 'images');
const THEMES = { dark: 'Default Dark Modern', light: 'Default Light Modern', 'high-contrast': 'Default High Contrast' } as const;
/** How long a theme may take to reach every webview, in milliseconds. */
const SETTLE_MS = 1500;

const folder = mkdtempSync(join(tmpdir(), 'countersign-pictures-'));
const demo = new Demo({ folder, vsix: join(ROOT, 'out', 'countersign.vsix'), say: () => {} });
await demo.start();
const browser = await openBrowser({ width: 1280, height: 800 });
const { page } = browser;

function useTheme(theme: string): void {
  const file = join(demo.workbench.data, 'User', 'settings.json');
  const settings = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  writeFileSync(file, JSON.stringify({ ...settings, 'workbench.colorTheme': theme }, null, 2));
}

async function picture(name: string, target: Page = page): Promise<void> {
  for (const [short, theme] of Object.entries(THEMES)) {
    useTheme(theme);
    await target.waitForTimeout(SETTLE_MS);
    await target.screenshot({ path: join(IMAGES, `${name}-${short}.png`) });
    console.log(`docs/images/${name}-${short}.png`);
  }
  useTheme(THEMES.dark);
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
  await picture('approvals');

  await person.approve();
  await person.waitForChat(/The database answered/);
  await person.ask(PROMPTS.wipe);
  await person.allowToolIfAsked();
  await person.waitForChat(/no-mass-delete/);

  await person.openSessions();
  await person.openOperation('SELECT customers');
  await picture('operation');
} catch (error) {
  await page.screenshot({ path: join(tmpdir(), 'countersign-pictures-failed.png') });
  throw error;
} finally {
  await browser.close();
  await demo.stop();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
