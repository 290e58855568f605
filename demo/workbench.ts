/** A real VS Code workbench (code-server) on loopback, and a real Chromium to drive it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { freePort } from './freePort.ts';
import { pressAway } from './press.ts';
import type { ScriptedModel } from './scriptedModel.ts';

const ENTRY = join(dirname(fileURLToPath(import.meta.url)), 'code-server', 'node_modules', 'code-server', 'out', 'node', 'entry.js');

/** How long code-server may take to answer, and the workbench to show, in milliseconds. */
const START_TIMEOUT_MS = 60_000;

/** With these VS Code looks for nothing on the internet: telemetry, updates, experiments, gallery, welcome page. */
const QUIET_SETTINGS = {
  'telemetry.telemetryLevel': 'off',
  'update.mode': 'none',
  'workbench.enableExperiments': false,
  'extensions.autoCheckUpdates': false,
  'extensions.autoUpdate': false,
  'extensions.ignoreRecommendations': true,
  'workbench.startupEditor': 'none',
  'workbench.tips.enabled': false,
  'git.openRepositoryInParentFolders': 'never',
  'window.confirmBeforeClose': 'never',
  'json.schemaDownload.enable': false,
  'npm.fetchOnlinePackageInfo': false,
  'typescript.disableAutomaticTypeAcquisition': true,
  // Every port of the demo on this machine is one of its own: nobody needs a notification of each.
  'remote.otherPortsAttributes': { onAutoForward: 'silent' },
  'workbench.colorTheme': 'Default Dark Modern',
  'chat.disableAIFeatures': false,
  'chat.byokUtilityModelDefault': 'mainAgent',
};

export interface WorkbenchOptions {
  /** Folder of the editor's data (profile, extensions, home); made where it is missing, kept on stop. */
  readonly root: string;
  readonly folder: string;
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Settings of scope `machine`: where the editor is in the browser, this machine's own file has them. */
  readonly machine?: Readonly<Record<string, unknown>>;
  /** Folder of installed extensions, if it is another window's. */
  readonly extensions?: string;
  readonly vsix?: readonly string[];
  /** What its chat talks to. */
  readonly model?: ScriptedModel;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly port?: number;
}

export class Workbench {
  readonly options: WorkbenchOptions;
  readonly data: string;
  readonly home: string;
  origin = '';
  #process: ChildProcess | undefined;
  #log = '';

  constructor(options: WorkbenchOptions) {
    this.options = options;
    this.data = join(options.root, 'data');
    this.home = join(options.root, 'home');
  }

  get log(): string {
    return this.#log;
  }

  get extensions(): string {
    return this.options.extensions ?? join(this.options.root, 'extensions');
  }

  async start(): Promise<void> {
    const { root, settings, machine, model, vsix, args } = this.options;
    for (const folder of [this.home, this.extensions, join(root, 'tmp')]) mkdirSync(folder, { recursive: true });
    writeFileSync(join(root, 'config.yaml'), 'auth: none\n');
    // What the person changed stays.
    addSettings(join(this.data, 'User'), { ...QUIET_SETTINGS, ...settings });
    if (machine) addSettings(join(this.data, 'Machine'), machine);
    model?.install(this.data);
    for (const file of vsix ?? []) await this.#install(file);

    const port = this.options.port ?? (await freePort());
    this.origin = `http://127.0.0.1:${port}`;
    const flags = [
      '--auth',
      'none',
      '--bind-addr',
      `127.0.0.1:${port}`,
      '--disable-telemetry',
      '--disable-update-check',
      '--disable-workspace-trust',
      '--disable-getting-started-override',
      '--ignore-last-opened',
    ];
    const child = this.#spawn([...flags, ...(args ?? [])]);
    this.#process = child;
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (
      !(await fetch(`${this.origin}/healthz`).then(
        (r) => r.ok,
        () => false,
      ))
    ) {
      if (child.exitCode !== null || Date.now() > deadline) {
        await this.stop();
        throw new Error(`The demo’s editor did not start.\n${this.#log}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Ends code-server and everything it started. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    this.#signal('SIGTERM');
    const timer = setTimeout(() => this.#signal('SIGKILL'), 5000);
    await gone;
    clearTimeout(timer);
    // Extension hosts outlive their server for a while: the group goes with it.
    this.#signal('SIGKILL');
  }

  url(query: Readonly<Record<string, string>> = {}): string {
    const url = new URL(this.origin);
    url.searchParams.set('folder', this.options.folder);
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    return url.href;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#process?.pid === undefined) return;
    try {
      process.kill(-this.#process.pid, signal);
    } catch {
      // Already gone.
    }
  }

  #spawn(args: readonly string[]): ChildProcess {
    const { root, env, model } = this.options;
    const childEnv: NodeJS.ProcessEnv = {
      ...process.env,
      HOME: this.home,
      TMPDIR: join(root, 'tmp'),
      // No marketplace: without this the workbench asks one on the internet.
      EXTENSIONS_GALLERY: '{"serviceUrl":""}',
      ...model?.env,
      ...env,
    };
    for (const key of ['XDG_CONFIG_HOME', 'XDG_DATA_HOME', 'XDG_STATE_HOME', 'XDG_RUNTIME_DIR', 'NODE_OPTIONS', 'NODE_TEST_CONTEXT']) delete childEnv[key];
    const common = ['--config', join(root, 'config.yaml'), '--user-data-dir', this.data, '--extensions-dir', this.extensions];
    const child = spawn(process.execPath, [ENTRY, ...common, ...args], { env: childEnv, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const collect = (chunk: Buffer) => {
      this.#log = (this.#log + chunk.toString()).slice(-100_000);
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    return child;
  }

  #install(file: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = this.#spawn(['--install-extension', file, '--force']);
      child.once('error', reject);
      child.once('exit', (code) =>
        code === 0 ? resolve() : reject(new Error(`Installing ${file} into the editor failed (exit code ${code}).\n${this.#log}`)),
      );
    });
  }
}

function addSettings(folder: string, settings: Readonly<Record<string, unknown>>): void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'settings.json');
  const kept = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as object) : {};
  writeFileSync(file, JSON.stringify({ ...settings, ...kept }, null, 2));
}

export interface Browser {
  readonly context: BrowserContext;
  readonly page: Page;
  /** Every address outside loopback that a page asked for. */
  readonly external: Set<string>;
  close(): Promise<void>;
}

export async function openBrowser(options: { readonly width?: number; readonly height?: number; readonly scale?: number } = {}): Promise<Browser> {
  const executablePath = process.env['CHROMIUM'];
  if (!executablePath) throw new Error('CHROMIUM is not set: run this by its npm script, which finds a browser.');
  const profile = mkdtempSync(join(tmpdir(), 'countersign-chromium-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    viewport: { width: options.width ?? 1440, height: options.height ?? 900 },
    deviceScaleFactor: options.scale ?? 1,
    reducedMotion: 'reduce',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  const page = context.pages()[0] ?? (await context.newPage());
  const external = new Set<string>();
  // Webview resources are answered by the workbench's own service worker under this name.
  const local = (host: string) => host === '' || host === '127.0.0.1' || host.endsWith('.vscode-resource.vscode-cdn.net');
  context.on('request', (request) => {
    if (!local(new URL(request.url()).hostname)) external.add(request.url());
  });
  const close = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { context, page, external, close };
}

export async function openWorkbench(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.locator('.monaco-workbench .part.statusbar').waitFor({ timeout: START_TIMEOUT_MS });
}

/** How often the command palette is opened again when something else took the focus from it. */
const PALETTE_TRIES = 4;

/** Runs a command by its exact title through the command palette. */
export async function runCommand(page: Page, title: string): Promise<void> {
  const box = page.locator('.quick-input-widget input.input, .quick-input-widget input[type=text]').first();
  const exact = new RegExp(`^${RegExp.escape(title)}$`);
  const row = page.locator('.quick-input-list .monaco-list-row').filter({ has: page.locator('.monaco-highlighted-label', { hasText: exact }) });
  for (let attempt = 1; ; attempt++) {
    try {
      // F1 is ignored until the workbench has registered it.
      for (let press = 0; press < 20 && !(await box.isVisible()); press++) {
        await page.keyboard.press('F1');
        await box.waitFor({ timeout: 500 }).catch(() => undefined);
      }
      await box.fill(`>${title}`, { timeout: 5000 });
      await pressAway(row.first(), 10_000);
      return;
    } catch (error) {
      if (attempt === PALETTE_TRIES) throw error;
      await page.keyboard.press('Escape');
    }
  }
}
