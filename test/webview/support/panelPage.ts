/** A page around a built panel, as the editor makes it: the same content security policy, its own API, theme variables. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { webviewHtml } from '../../../extension/webviewHtml.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
/** Nothing listens there: every request is answered by the test. */
const ORIGIN = 'http://panel.test';
const NONCE = 'bm9uY2Utb2YtMTI4LWJpdHMtYW5kLW1vcmU';

export const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

export interface PanelPage {
  readonly page: Page;
  /** What the panel has posted to the extension so far. */
  posted(): Promise<{ readonly type: string; readonly [key: string]: unknown }[]>;
  /** Posts a message as the extension does. */
  send(message: object): Promise<void>;
  /** From here on time passes only with `page.clock.runFor`. */
  stopClock(): Promise<void>;
  /** Violations of the content security policy, page errors and requests to anywhere else. */
  readonly trouble: readonly string[];
  close(): Promise<void>;
}

export interface PanelHost {
  open(
    panel: 'approvals' | 'operation',
    options?: { width?: number; height?: number; state?: unknown; theme?: Record<string, string>; bodyClass?: string; reducedMotion?: boolean },
  ): Promise<PanelPage>;
  close(): Promise<void>;
}

/** Bundles both panels into a temporary folder, starts a browser, and opens panels in it. */
export async function startPanelHost(): Promise<PanelHost> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-panels-'));
  await build({
    absWorkingDir: root,
    entryPoints: { approvals: 'webview/approvals/main.ts', operation: 'webview/operation/main.ts', codicon: 'node_modules/@vscode/codicons/dist/codicon.css' },
    outdir: folder,
    bundle: true,
    format: 'esm',
    target: 'es2024',
    loader: { '.ttf': 'file' },
    assetNames: '[name]',
    logLevel: 'error',
  });
  const browser: Browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--force-device-scale-factor=1'] });
  const contexts = new Set<BrowserContext>();

  return {
    async open(panel, { width = 320, height = 900, state, theme = {}, bodyClass = 'vscode-dark', reducedMotion = false } = {}) {
      const context = await browser.newContext({ viewport: { width, height }, reducedMotion: reducedMotion ? 'reduce' : 'no-preference' });
      contexts.add(context);
      const page = await context.newPage();
      const trouble: string[] = [];
      page.on('pageerror', (error) => trouble.push(String(error)));
      page.on('console', (m) => m.type() === 'error' && trouble.push(m.text()));
      await page.route('**/*', async (route) => {
        const { origin, pathname } = new URL(route.request().url());
        if (origin !== ORIGIN) {
          trouble.push(`asked for ${route.request().url()}`);
          return route.abort();
        }
        if (pathname === '/') {
          const html = webviewHtml({
            panel,
            title: 'Panel',
            language: 'en',
            source: ORIGIN,
            nonce: NONCE,
            script: `${ORIGIN}/${panel}.js`,
            styles: [`${ORIGIN}/codicon.css`],
          });
          return route.fulfill({ contentType: 'text/html', body: html });
        }
        if (pathname === '/favicon.ico') return route.fulfill({ status: 204 });
        const body = await readFile(join(folder, pathname.slice(1)));
        const contentType = pathname.endsWith('.css') ? 'text/css' : pathname.endsWith('.ttf') ? 'font/ttf' : 'text/javascript';
        return route.fulfill({ contentType, body, headers: { 'access-control-allow-origin': '*' } });
      });
      await page.addInitScript(
        ([kept, variables, className]) => {
          const posted: unknown[] = [];
          const violations: string[] = [];
          let stored = kept;
          document.addEventListener('securitypolicyviolation', (e) =>
            violations.push(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`),
          );
          Object.assign(window, {
            // Kept from before a test stops the clock.
            settled: (
              (later, frame) => () =>
                new Promise((done) => later(() => frame(() => frame(done)), 0))
            )(window.setTimeout.bind(window), window.requestAnimationFrame.bind(window)),
            posted,
            violations,
            acquireVsCodeApi: () => ({
              postMessage: (m: unknown) => posted.push(m),
              getState: () => stored,
              setState: (s: unknown) => {
                stored = s;
              },
            }),
          });
          document.addEventListener('readystatechange', () => {
            for (const [name, value] of Object.entries(variables)) document.documentElement.style.setProperty(name, value);
            if (document.body) document.body.classList.add(className);
          });
        },
        [state, theme, bodyClass] as const,
      );
      await page.goto(`${ORIGIN}/`);
      await page.waitForFunction(() => (window as unknown as { posted: { type: string }[] }).posted.some((m) => m.type === 'ready'));
      return {
        page,
        posted: () => page.evaluate(() => (window as unknown as { posted: { type: string }[] }).posted),
        async send(message) {
          await page.evaluate((m) => window.postMessage(m, '*'), message);
          // Two frames: one for the message, one for what it drew.
          await page.evaluate(() => (window as unknown as { settled(): Promise<void> }).settled());
        },
        async stopClock() {
          await page.clock.install();
          await page.clock.pauseAt(Date.now() + 60_000);
        },
        get trouble() {
          return trouble;
        },
        async close() {
          trouble.push(...(await page.evaluate(() => (window as unknown as { violations: string[] }).violations)));
          contexts.delete(context);
          await context.close();
        },
      };
    },
    async close() {
      for (const context of contexts) await context.close();
      await browser.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
