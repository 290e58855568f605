/**
 * What one would look at where a step in an editor has failed, as text: on a machine that one cannot reach, a picture is of
 * no use, and what is printed is all there is.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import type { Frame, Page } from 'playwright-core';

/** A page that does not answer in this time is said not to, in milliseconds. */
const PAGE_MS = 5_000;
/** Most that is shown of one thing on a page, and of the end of one log, in characters. */
const MAX_SHOWN_CHARS = 1_500;
const MAX_LOG_CHARS = 2_500;
/** The ends of logs that say something: the extension's own and its host's, the proxies', the gateway's. */
const LOG = /countersign[^/]*\.log$|Countersign[^/]*\.log$|(^|\/)(proxy|gateway|remoteexthost)\.log$/;
/** Folders that hold no log and many files. */
const ELSEWHERE = new Set(['extensions', 'postgres', 'node_modules', 'workspace', 'store', 'recordings', 'CachedExtensionVSIXs', 'tmp']);

/** Whatever of the workbench is in a person's way or tells them something. */
const PARTS: Readonly<Record<string, string>> = {
  notifications: '.notification-toast, .notifications-center .notification-list-item',
  dialogs: '.monaco-dialog-box',
  'open menus': '.context-view .monaco-menu, .monaco-menu-container',
  'quick pick': '.quick-input-widget',
  tabs: '.part.editor .tab',
  'status bar': '.statusbar-item',
  'side bar': '.part.sidebar .pane-header, .part.sidebar .monaco-list-row',
  chat: '.interactive-session .interactive-item-container',
  terminal: '.terminal-wrapper.active .xterm-accessibility',
};

/** @param folder the one that the scenario's editors, proxies and gateway keep everything in */
export async function lastWords(pages: Readonly<Record<string, Page | undefined>>, folder: string): Promise<string> {
  const shown: string[] = [];
  for (const [name, page] of Object.entries(pages)) if (page) shown.push(`--- the window of ${name}\n${await inTime(wordsOf(page))}`);
  // What a scenario opened besides: an identity provider's page, a console.
  const known = new Set(Object.values(pages));
  for (const page of Object.values(pages)
    .find((one) => one)
    ?.context()
    .pages() ?? []) {
    if (known.has(page)) continue;
    const text = page.locator('body').innerText({ timeout: PAGE_MS });
    shown.push(`--- another page, ${page.url().split('?')[0]}\n${cut(await inTime(text))}`);
  }
  return [...shown, ...logs(folder).map((path) => `--- the end of ${relative(folder, path)}\n${end(path)}`)].join('\n');
}

/** Adds the last words to what a step failed with. */
export async function withLastWords(cause: unknown, ...where: Parameters<typeof lastWords>): Promise<Error> {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new Error(`${message}\n\n${await lastWords(...where)}`, { cause });
}

async function wordsOf(page: Page): Promise<string> {
  const words = await page.evaluate((parts) => {
    const found: string[] = [];
    for (const [name, selector] of Object.entries(parts)) {
      const texts = [...document.querySelectorAll<HTMLElement>(selector)]
        .filter((element) => element.checkVisibility())
        .map((element) => {
          const typed = element.querySelector('input');
          return `${typed ? `[${typed.value}] ` : ''}${element.innerText.trim() || (element.getAttribute('aria-label') ?? '')}`.replaceAll(/\s*\n\s*/g, ' · ');
        })
        .filter((text) => text !== '');
      if (texts.length > 0) found.push(`${name}: ${texts.join(' | ')}`);
    }
    const { activeElement: focused } = document;
    found.push(`focus: ${focused ? `<${focused.localName} class="${focused.className}"> ${focused.getAttribute('aria-label') ?? ''}` : 'nowhere'}`);
    return found;
  }, PARTS);
  for (const frame of page.frames()) {
    const panel = await inTime(panelText(frame));
    if (panel !== '') words.push(`panel ${panel}`);
  }
  return words.map((word) => `${cut(word)}\n`).join('');
}

/** Our panels, the insides of their components too; empty for every other frame. */
function panelText(frame: Frame): Promise<string> {
  return frame.evaluate(() => {
    const name = document.body?.dataset['panel'];
    if (name === undefined) return '';
    const texts: string[] = [];
    const visit = (node: Node): void => {
      if (node instanceof Text) texts.push(node.data.trim());
      if (node instanceof HTMLElement && (node.hidden || node.localName === 'style' || node.localName === 'script')) return;
      if (node instanceof HTMLElement && node.shadowRoot) visit(node.shadowRoot);
      for (const child of node instanceof HTMLSlotElement ? node.assignedNodes() : node.childNodes) visit(child);
    };
    visit(document.body);
    return `${name}: ${texts.filter((text) => text !== '').join(' · ')}`;
  });
}

async function inTime(words: Promise<string>): Promise<string> {
  const timer = Promise.withResolvers<string>();
  const late = setTimeout(() => timer.resolve('(it does not answer)'), PAGE_MS);
  try {
    return await Promise.race([words.catch((cause: unknown) => `(${cause instanceof Error ? cause.message.split('\n')[0] : String(cause)})`), timer.promise]);
  } finally {
    clearTimeout(late);
  }
}

function cut(text: string): string {
  return text.length <= MAX_SHOWN_CHARS ? text : `${text.slice(0, MAX_SHOWN_CHARS)}… (${text.length} characters)`;
}

function logs(folder: string): string[] {
  const found: string[] = [];
  const visit = (at: string): void => {
    for (const entry of readdirSync(at, { withFileTypes: true })) {
      const path = join(at, entry.name);
      if (entry.isDirectory() && !ELSEWHERE.has(entry.name)) visit(path);
      else if (entry.isFile() && LOG.test(path.split(sep).join('/')) && (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0) found.push(path);
    }
  };
  try {
    visit(folder);
  } catch {
    // It is being taken away: what was found stands.
  }
  return found.sort();
}

function end(path: string): string {
  const text = readFileSync(path, 'utf8');
  return text.length <= MAX_LOG_CHARS ? text : `…${text.slice(-MAX_LOG_CHARS)}`;
}
