/**
 * Everything `npm start` brings up, and takes down again: a PostgreSQL with a shop, a scripted model, a policy, and a real
 * editor with the packaged extension in it. State lives in one folder, so that a second start is quick and keeps the data.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { PROXY_FILE, ProxyFile } from '../contract/daemon.ts';
import { type RunningPostgres, startPostgres } from './postgres.ts';
import { ScriptedModel } from './scriptedModel.ts';
import { createShop, DATABASE } from './shop.ts';
import { CONNECTION, PROMPTS, STORY } from './story.ts';
import { freePort, Workbench } from './workbench.ts';

/** How long the proxy may take to end its sessions when the demo stops, in milliseconds. */
const PROXY_STOP_MS = 8000;
/** The role that Countersign's connection logs in with; its password is never in the agent's reach. */
const LOGIN = 'shop_app';

export interface DemoOptions {
  readonly folder: string;
  readonly vsix: string;
  readonly say: (line: string) => void;
  /** Open this editor from the PATH instead of the one in the browser. */
  readonly desktop?: string;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Leave the extension uninstalled, and let the page's address name the one to load from its sources. */
  readonly development?: boolean;
  /** Further lines for the policy file, below the demo's own rules. */
  readonly rules?: string;
}

interface Kept {
  readonly databasePort: number;
  readonly editorPort: number;
  readonly adminPassword: string;
  readonly loginPassword: string;
}

export class Demo {
  readonly options: DemoOptions;
  readonly home: string;
  readonly policyFile: string;
  readonly workspace: string;
  readonly model = new ScriptedModel(STORY);
  #postgres: RunningPostgres | undefined;
  #workbench: Workbench | undefined;
  #kept: Kept | undefined;

  constructor(options: DemoOptions) {
    this.options = options;
    this.home = join(options.folder, 'state');
    this.policyFile = join(options.folder, 'countersign.yaml');
    this.workspace = join(options.folder, 'workspace');
  }

  get workbench(): Workbench {
    if (!this.#workbench) throw new Error('the demo has not been started');
    return this.#workbench;
  }

  /** The database itself, past the proxy: for checking what really happened. */
  get database(): { readonly port: number; readonly user: string; readonly password: string; readonly database: string } {
    if (!this.#kept) throw new Error('the demo has not been started');
    return { port: this.#kept.databasePort, user: LOGIN, password: this.#kept.loginPassword, database: DATABASE };
  }

  get postgres(): RunningPostgres {
    if (!this.#postgres) throw new Error('the demo has not been started');
    return this.#postgres;
  }

  async start(): Promise<void> {
    const env = await this.prepare();
    if (this.options.desktop === undefined) await this.#startInBrowser(env);
    else this.#startOnDesktop(this.options.desktop, env);
  }

  /** Everything but the editor. @returns the environment that an editor needs to find it. */
  async prepare(): Promise<Readonly<Record<string, string>>> {
    const { folder, say } = this.options;
    mkdirSync(this.workspace, { recursive: true });
    mkdirSync(this.home, { recursive: true, mode: 0o700 });
    // A server that may not run as root runs as another user, who must get through to its own folder below.
    chmodSync(folder, 0o711);
    const kept = await this.#keep();

    say('Starting PostgreSQL…');
    await this.startDatabase();
    const shop = await createShop(kept.databasePort, kept.adminPassword, { user: LOGIN, password: kept.loginPassword });
    say(shop === 'made' ? 'Filled the shop: 3,000 customers, 9,000 orders.' : 'The shop is as you left it (--reset starts over).');

    this.#writePolicy(kept);
    this.#writeWorkspace();
    const secrets = join(folder, 'secrets.json');
    writeFileSync(secrets, JSON.stringify({ shop: kept.loginPassword }), { mode: 0o600 });

    await this.model.start();
    return { COUNTERSIGN_HOME: this.home, COUNTERSIGN_POLICY: this.policyFile, COUNTERSIGN_SECRETS_FILE: secrets, ...this.options.env };
  }

  async startDatabase(): Promise<void> {
    const kept = this.#kept ?? (await this.#keep());
    this.#postgres = await startPostgres({ folder: join(this.options.folder, 'postgres'), port: kept.databasePort, password: kept.adminPassword });
  }

  /** The proxy that the extension started, if it runs. */
  proxyPid(): number | undefined {
    const file = join(this.home, PROXY_FILE);
    if (!existsSync(file)) return undefined;
    const parsed = ProxyFile.safeParse(JSON.parse(readFileSync(file, 'utf8')));
    return parsed.success && isRunning(parsed.data.pid) ? parsed.data.pid : undefined;
  }

  /** Takes down all of it: editor, proxy, model, database. */
  async stop(): Promise<void> {
    await this.#workbench?.stop();
    await this.#stopProxy();
    this.model.stop();
    await this.#postgres?.stop();
    rmSync(join(this.options.folder, 'secrets.json'), { force: true });
  }

  async #keep(): Promise<Kept> {
    const file = join(this.options.folder, 'kept.json');
    if (existsSync(file)) this.#kept = JSON.parse(readFileSync(file, 'utf8')) as Kept;
    else {
      const password = () => randomBytes(18).toString('base64url');
      this.#kept = { databasePort: await freePort(), editorPort: await freePort(), adminPassword: password(), loginPassword: password() };
      writeFileSync(file, JSON.stringify(this.#kept), { mode: 0o600 });
    }
    return this.#kept;
  }

  async #startInBrowser(env: Readonly<Record<string, string>>): Promise<void> {
    const { folder, vsix, say, settings, development } = this.options;
    say('Starting the editor…');
    const root = join(folder, 'editor');
    const stamp = join(root, 'vsix.sha256');
    const hash = createHash('sha256').update(readFileSync(vsix)).digest('hex');
    const installed = existsSync(stamp) && readFileSync(stamp, 'utf8') === hash;
    this.#workbench = new Workbench({
      root,
      folder: this.workspace,
      port: (await this.#keep()).editorPort,
      env,
      vsix: installed || development ? [] : [vsix],
      ...(settings && { settings }),
      // Without it a built workbench ignores `extensionDevelopmentPath` in the address.
      ...(development && { args: ['--vscode-option', 'enable-smoke-test-driver'] }),
    });
    mkdirSync(join(this.#workbench.data, 'User'), { recursive: true });
    this.model.install(this.#workbench.data);
    await this.#workbench.start();
    writeFileSync(stamp, hash);
  }

  #startOnDesktop(editor: string, env: Readonly<Record<string, string>>): void {
    const profile = join(this.options.folder, 'desktop');
    const data = join(profile, 'data');
    mkdirSync(join(data, 'User'), { recursive: true });
    this.model.install(data);
    const own = ['--user-data-dir', data, '--extensions-dir', join(profile, 'extensions')];
    const options = { env: { ...process.env, ...env }, shell: process.platform === 'win32' };
    const installed = spawnSync(editor, [...own, '--install-extension', this.options.vsix, '--force'], { ...options, encoding: 'utf8' });
    if (installed.status !== 0) throw new Error(`${editor} could not install the extension: ${installed.error?.message ?? installed.stderr}`);
    spawn(editor, [...own, '--new-window', this.workspace], { ...options, stdio: 'ignore', detached: true }).unref();
  }

  async #stopProxy(): Promise<void> {
    const pid = this.proxyPid();
    if (pid === undefined) return;
    process.kill(pid, 'SIGTERM');
    for (let waited = 0; isRunning(pid) && waited < PROXY_STOP_MS; waited += 50) await new Promise((resolve) => setTimeout(resolve, 50));
    if (isRunning(pid)) process.kill(pid, 'SIGKILL');
  }

  #writePolicy(kept: Kept): void {
    writeFileSync(
      this.policyFile,
      `# The demo's policy. Change it while the demo runs: Countersign takes it up when you save.
version: 1

connections:
  ${CONNECTION}:
    protocol: postgres
    upstream: postgres://${LOGIN}@127.0.0.1:${kept.databasePort}/${DATABASE}
    tls: disable
    password: secret:shop
    sensitive:
      customers.email: partial
      customers.ssn: redact
      customers.card: token

rules:
  - id: no-mass-delete
    match: { effect: [write, delete], bulk: true }
    verdict: deny
    say: Changing every row is a migration. Write one.

  - id: shop-writes
    match: { connection: ${CONNECTION}, effect: [write, delete] }
    verdict: ask
    approvers: [requester]
    preview: dry-run
    expires: 2m
${this.options.rules ?? ''}`,
    );
  }

  #writeWorkspace(): void {
    const prompts = Object.values(PROMPTS).map((prompt) => `- ${prompt}`);
    writeFileSync(
      join(this.workspace, 'README.md'),
      `# The shop

Open the chat (agent mode, "Scripted Model") and say one of these:

${prompts.join('\n')}

The model is scripted, so that no account is needed: what it says is written down beforehand. All else is real: the
editor's agent mode, the tools it calls, Countersign, and the PostgreSQL behind it.

Or open a terminal and type \`psql\`: it reaches the same database, through Countersign.
`,
    );
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

/** An editor of the desktop from the PATH: `code` before `cursor`, or the one that is asked for. */
export function findDesktopEditor(wanted?: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const endings = process.platform === 'win32' ? ['.cmd', '.exe'] : [''];
  return [wanted ?? 'code', ...(wanted === undefined ? ['cursor'] : [])].find((name) =>
    folders.some((folder) => endings.some((ending) => existsSync(join(folder, name + ending)))),
  );
}
