/** One person's editor: a profile, a proxy and a workspace of their own, in the browser or on the desktop. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ProxyFile } from '../contract/daemon.ts';
import { PROXY_FILE } from '../contract/proxyFile.ts';
import { type ScriptedModel, WAKE_CHAT } from './scriptedModel.ts';
import { Workbench } from './workbench.ts';

/** How long the proxy may take to end its sessions when the demo stops, in milliseconds. */
const PROXY_STOP_MS = 8000;

export interface EditorWindowOptions {
  /** Holds the profiles: `editor` of the one in the browser, `desktop` of the other. */
  readonly folder: string;
  /** The proxy's own folder. */
  readonly home: string;
  readonly workspace: string;
  readonly port: number;
  readonly vsix: string;
  /** Open this editor from the PATH instead of the one in the browser. */
  readonly desktop?: string;
  /** Settings of the machine where the extension runs: a workspace cannot set them. */
  readonly machine?: Readonly<Record<string, unknown>>;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly model?: ScriptedModel;
  /** Where another window has the extension installed already. */
  readonly extensions?: string;
  /** Leave the extension uninstalled, and let the page's address name the one to load from its sources. */
  readonly development?: boolean;
}

export class EditorWindow {
  readonly options: EditorWindowOptions;
  #workbench: Workbench | undefined;

  constructor(options: EditorWindowOptions) {
    this.options = options;
  }

  get workbench(): Workbench {
    if (!this.#workbench) throw new Error('this editor has not been started');
    return this.#workbench;
  }

  /** The proxy that the extension started, if it runs. */
  proxyPid(): number | undefined {
    const file = join(this.options.home, PROXY_FILE);
    if (!existsSync(file)) return undefined;
    const parsed = ProxyFile.safeParse(JSON.parse(readFileSync(file, 'utf8')));
    return parsed.success && isRunning(parsed.data.pid) ? parsed.data.pid : undefined;
  }

  async start(env: Readonly<Record<string, string>>): Promise<void> {
    if (this.options.desktop === undefined) await this.#startInBrowser(env);
    else this.#startOnDesktop(this.options.desktop, env);
  }

  async stop(): Promise<void> {
    await this.#workbench?.stop();
    const pid = this.proxyPid();
    if (pid === undefined) return;
    process.kill(pid, 'SIGTERM');
    for (let waited = 0; isRunning(pid) && waited < PROXY_STOP_MS; waited += 50) await new Promise((resolve) => setTimeout(resolve, 50));
    if (isRunning(pid)) process.kill(pid, 'SIGKILL');
  }

  async #startInBrowser(env: Readonly<Record<string, string>>): Promise<void> {
    const { folder, workspace, port, vsix, settings, machine, model, extensions, development } = this.options;
    const root = join(folder, 'editor');
    const stamp = join(root, 'vsix.sha256');
    const wanted = model ? [vsix, WAKE_CHAT] : [vsix];
    const hash = createHash('sha256');
    for (const file of wanted) hash.update(readFileSync(file));
    const print = hash.digest('hex');
    const installed = existsSync(stamp) && readFileSync(stamp, 'utf8') === print;
    this.#workbench = new Workbench({
      root,
      folder: workspace,
      port,
      env,
      vsix: installed || development || extensions !== undefined ? [] : wanted,
      ...(model && { model }),
      ...(extensions !== undefined && { extensions }),
      ...(settings && { settings }),
      ...(machine && { machine }),
      // Without it a built workbench ignores `extensionDevelopmentPath` in the address.
      ...(development && { args: ['--vscode-option', 'enable-smoke-test-driver'] }),
    });
    await this.#workbench.start();
    writeFileSync(stamp, print);
  }

  #startOnDesktop(editor: string, env: Readonly<Record<string, string>>): void {
    const { folder, vsix, workspace, machine, model } = this.options;
    const profile = join(folder, 'desktop');
    const data = join(profile, 'data');
    mkdirSync(join(data, 'User'), { recursive: true });
    model?.install(data);
    const settings = join(data, 'User', 'settings.json');
    if (machine && !existsSync(settings)) writeFileSync(settings, JSON.stringify(machine, null, 2));
    const own = ['--user-data-dir', data, '--extensions-dir', join(profile, 'extensions')];
    const options = { env: { ...process.env, ...env, ...model?.env }, shell: process.platform === 'win32' };
    for (const file of model ? [vsix, WAKE_CHAT] : [vsix]) {
      const installed = spawnSync(editor, [...own, '--install-extension', file, '--force'], { ...options, encoding: 'utf8' });
      if (installed.status !== 0) throw new Error(`${editor} could not install the extension: ${installed.error?.message ?? installed.stderr}`);
    }
    spawn(editor, [...own, '--new-window', workspace], { ...options, stdio: 'ignore', detached: true }).unref();
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
