/**
 * Everything `npm start` brings up, and takes down again: a PostgreSQL with a shop, a scripted model, a policy, and a real
 * editor with the packaged extension in it. State lives in one folder, so that a second start is quick and keeps the data.
 */
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { EditorWindow } from './editorWindow.ts';
import { type Kept, keep } from './kept.ts';
import { type RunningPostgres, startPostgres } from './postgres.ts';
import { ScriptedModel } from './scriptedModel.ts';
import { createShop, DATABASE } from './shop.ts';
import { CONNECTION, PROMPTS, STORY, TEAM_PROMPT } from './story.ts';
import { gatewaySettings, OPEN_ADDRESSES_AS_THEY_ARE, Team } from './team.ts';
import type { Workbench } from './workbench.ts';

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
  /** With a gateway and a second person: `startTeam` brings them up. */
  readonly team?: boolean;
}

export class Demo {
  readonly options: DemoOptions;
  readonly home: string;
  readonly policyFile: string;
  readonly workspace: string;
  readonly model = new ScriptedModel(STORY);
  #postgres: RunningPostgres | undefined;
  #window: EditorWindow | undefined;
  #team: Team | undefined;
  #teamStarting: Promise<void> | undefined;
  #kept: Kept | undefined;

  constructor(options: DemoOptions) {
    this.options = options;
    this.home = join(options.folder, 'state');
    this.policyFile = join(options.folder, 'countersign.yaml');
    this.workspace = join(options.folder, 'workspace');
  }

  get workbench(): Workbench {
    if (!this.#window) throw new Error('the demo has not been started');
    return this.#window.workbench;
  }

  get team(): Team {
    if (!this.#team) throw new Error('the team’s part has not been started');
    return this.#team;
  }

  /** The database itself, past the proxy: for checking what really happened. */
  get database(): { readonly port: number; readonly user: string; readonly password: string; readonly database: string } {
    if (!this.#kept) throw new Error('the demo has not been started');
    return { port: this.#kept.databasePort, user: LOGIN, password: this.#kept.loginPassword, database: DATABASE };
  }

  /** Every port that the demo took for itself. */
  get ports(): readonly number[] {
    const { databasePort, editorPort, secondEditorPort, gatewayPort, identityPort } = this.#kept ?? {};
    return [databasePort, editorPort, secondEditorPort, gatewayPort, identityPort].filter((port) => port !== undefined);
  }

  get postgres(): RunningPostgres {
    if (!this.#postgres) throw new Error('the demo has not been started');
    return this.#postgres;
  }

  async start(): Promise<void> {
    const env = await this.prepare();
    this.options.say('Starting the editor…');
    await this.#window?.start(env);
  }

  /** The gateway and the second window: after the first one, which is what a person waits for. */
  startTeam(): Promise<void> {
    this.#teamStarting = (async () => {
      const { folder, vsix, say, desktop } = this.options;
      const extensions = join(folder, 'editor', 'extensions');
      this.#team = new Team({ folder, kept: await this.#keep(), vsix, say, extensions, ...(desktop !== undefined && { desktop }) });
      await this.#team.start();
    })();
    return this.#teamStarting;
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
    this.#window = this.#editor(kept);
    return {
      COUNTERSIGN_HOME: this.home,
      COUNTERSIGN_POLICY: this.policyFile,
      COUNTERSIGN_SECRETS_FILE: secrets,
      ...(this.options.team && OPEN_ADDRESSES_AS_THEY_ARE),
      ...this.options.env,
    };
  }

  async startDatabase(): Promise<void> {
    const kept = this.#kept ?? (await this.#keep());
    this.#postgres = await startPostgres({ folder: join(this.options.folder, 'postgres'), port: kept.databasePort, password: kept.adminPassword });
  }

  /** A proxy that a window's extension started, if one runs. */
  proxyPid(): number | undefined {
    return this.#window?.proxyPid() ?? this.#team?.window.proxyPid();
  }

  /** Takes down all of it: editor, proxy, model, database. */
  async stop(): Promise<void> {
    await Promise.all([this.#window?.stop(), this.#team?.stop()]);
    // Where it was still starting, what came up after that goes too.
    await this.#teamStarting?.catch(() => undefined);
    await this.#team?.stop();
    this.model.stop();
    await this.#postgres?.stop();
    rmSync(join(this.options.folder, 'secrets.json'), { force: true });
  }

  async #keep(): Promise<Kept> {
    this.#kept ??= await keep(this.options.folder);
    return this.#kept;
  }

  #editor(kept: Kept): EditorWindow {
    const { folder, vsix, desktop, settings, development, team } = this.options;
    return new EditorWindow({
      folder,
      home: this.home,
      workspace: this.workspace,
      port: kept.editorPort,
      vsix,
      model: this.model,
      ...(desktop !== undefined && { desktop }),
      ...(settings && { settings }),
      ...(development !== undefined && { development }),
      ...(team && { machine: gatewaySettings(kept) }),
    });
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
    const prompts = [...Object.values(PROMPTS), ...(this.options.team ? [TEAM_PROMPT] : [])].map((prompt) => `- ${prompt}`);
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

/** An editor of the desktop from the PATH: `code` before `cursor`, or the one that is asked for. */
export function findDesktopEditor(wanted?: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const endings = process.platform === 'win32' ? ['.cmd', '.exe'] : [''];
  return [wanted ?? 'code', ...(wanted === undefined ? ['cursor'] : [])].find((name) =>
    folders.some((folder) => endings.some((ending) => existsSync(join(folder, name + ending)))),
  );
}
