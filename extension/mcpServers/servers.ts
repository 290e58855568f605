/** The MCP servers of every agent on this machine, kept up to date with their files, and putting them behind us. */
import { homedir } from 'node:os';
import path from 'node:path';
import * as vscode from 'vscode';
import { type Machine, userPolicyFile } from '../../contract/daemon.ts';
import { Problem } from '../../contract/problem.ts';
import type { Model } from '../model.ts';
import { ourStateFolder } from '../proxyLink/locate.ts';
import type { SecretStore } from '../secrets/store.ts';
import { askInputs } from './askInputs.ts';
import { installLauncher, launcherPath } from './launcher.ts';
import { type ProtectDeps, type Protected, protect, undo } from './protect.ts';
import { type FileRecord, Records } from './records.ts';
import { type FoundFile, type FoundServer, scan } from './scan.ts';
import { type ReadBy, type Source, sources } from './sources.ts';

/** Editors write in several steps: wait until they have been quiet this long, in milliseconds. */
const QUIET_MS = 250;

export class McpServers implements vscode.Disposable {
  readonly #context: vscode.ExtensionContext;
  readonly #log: vscode.LogOutputChannel;
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #subscription: vscode.Disposable;
  readonly #state = ourStateFolder();
  readonly #deps: ProtectDeps;
  #watchers: vscode.Disposable = { dispose: () => undefined };
  #files: readonly FoundFile[] = [];
  #records: readonly FileRecord[] = [];
  #timer: NodeJS.Timeout | undefined;
  #scanning: Promise<void> = Promise.resolve();

  readonly onDidChange = this.#changed.event;

  constructor(context: vscode.ExtensionContext, model: Model, secrets: SecretStore, log: vscode.LogOutputChannel) {
    this.#context = context;
    this.#log = log;
    const machine: Machine = { platform: process.platform, env: process.env, home: homedir() };
    this.#deps = {
      records: new Records(this.#state),
      launcher: launcherPath(this.#state),
      policyFile: userPolicyFile(machine),
      secrets,
      env: process.env,
      home: homedir(),
      taken: () => (model.snapshot?.connections ?? []).map(({ name }) => name),
      ask: askInputs,
    };
    const soon = (): void => this.#soon();
    const rearrange = (): void => {
      this.#watch();
      soon();
    };
    this.#subscription = vscode.Disposable.from(
      vscode.workspace.onDidChangeWorkspaceFolders(rearrange),
      vscode.workspace.onDidGrantWorkspaceTrust(rearrange),
      // What cannot be watched is looked at when the person comes back.
      vscode.window.onDidChangeWindowState((state) => state.focused && soon()),
    );
    this.#watch();
  }

  get files(): readonly FoundFile[] {
    return this.#files;
  }

  get servers(): FoundServer[] {
    return this.#files.flatMap((file) => [...file.servers]);
  }

  /** What can be undone: files, and the entries in them that go through us. */
  get records(): readonly FileRecord[] {
    return this.#records;
  }

  /** Connections that this editor reaches through an entry of a file that it reads itself. */
  connectionsIn(reader: ReadBy): Set<string> {
    return new Set(this.servers.flatMap(({ source, status }) => (source.readBy === reader && status.kind === 'protected' ? [status.connection] : [])));
  }

  async start(): Promise<void> {
    await this.refresh();
    if (this.#records.length === 0) return;
    const altered = await this.#install();
    if (altered) this.#log.warn('the launcher of protected MCP servers was not as this version leaves it, and was written again');
  }

  refresh(): Promise<void> {
    const done = this.#scanning.then(() => this.#scan());
    this.#scanning = done.catch(() => undefined);
    return done;
  }

  async protect(server: FoundServer): Promise<Protected | undefined> {
    this.#mustBeSaved(server.source.file);
    await this.#install();
    try {
      const done = await protect(server.source, server.entry.path, this.#deps);
      if (done) this.#log.info(`${server.entry.name} in ${server.source.file} goes through the connection ${done.connection}`);
      return done;
    } finally {
      await this.refresh();
    }
  }

  /** @returns sentences about what could not be put back as it was */
  async undo(file: string, paths?: readonly (readonly string[])[]): Promise<string[]> {
    this.#mustBeSaved(file);
    try {
      const problems = await undo(file, paths, this.#deps);
      this.#log.info(`${file} was put back${problems.length > 0 ? ` but for: ${problems.join(' ')}` : ''}`);
      return problems;
    } finally {
      await this.refresh();
    }
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#subscription.dispose();
    this.#watchers.dispose();
    this.#changed.dispose();
  }

  #install(): Promise<boolean> {
    return installLauncher(this.#state, this.#context.asAbsolutePath('dist/bridge.cjs'), process.execPath);
  }

  #mustBeSaved(file: string): void {
    const open = vscode.workspace.textDocuments.find((document) => document.uri.scheme === 'file' && document.uri.fsPath === file);
    if (open?.isDirty) throw new Problem('unsaved', vscode.l10n.t('{0} has changes that are not saved. Save it first.', file));
  }

  #sources(): Source[] {
    const folders = (vscode.workspace.workspaceFolders ?? []).filter((folder) => folder.uri.scheme === 'file');
    const trusted = vscode.workspace.isTrusted;
    // <data>/User[/profiles/<id>]/globalStorage/<extension>
    const profile = path.dirname(path.dirname(this.#context.globalStorageUri.fsPath));
    const [, common] = /^(.*[\\/]User)[\\/]profiles[\\/][^\\/]+$/.exec(profile) ?? [];
    const workspaceFile = vscode.workspace.workspaceFile?.scheme === 'file' ? vscode.workspace.workspaceFile.fsPath : undefined;
    return sources({
      machine: { platform: process.platform, env: process.env, home: homedir() },
      profiles: common === undefined ? [profile, path.join(path.dirname(profile), 'Machine')] : [profile, common],
      cursor: /cursor/i.test(vscode.env.appName),
      folders: folders.map((folder) => ({ path: folder.uri.fsPath, trusted })),
      ...(workspaceFile !== undefined && { workspaceFile }),
      trusted,
    });
  }

  #watch(): void {
    this.#watchers.dispose();
    const watchers = this.#sources().map(({ file }) => {
      const watcher = vscode.workspace.createFileSystemWatcher(new vscode.RelativePattern(vscode.Uri.file(path.dirname(file)), path.basename(file)));
      const soon = (): void => this.#soon();
      return vscode.Disposable.from(watcher, watcher.onDidChange(soon), watcher.onDidCreate(soon), watcher.onDidDelete(soon));
    });
    this.#watchers = vscode.Disposable.from(...watchers);
  }

  #soon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.refresh(), QUIET_MS);
  }

  async #scan(): Promise<void> {
    try {
      const records = await this.#deps.records.all();
      const files = await scan(this.#sources(), records, this.#deps.launcher);
      const same = JSON.stringify(describe(files)) === JSON.stringify(describe(this.#files)) && records.length === this.#records.length;
      this.#records = records;
      this.#files = files;
      if (!same) this.#changed.fire();
    } catch (error) {
      this.#log.error(error instanceof Error ? error : String(error));
    }
  }
}

function describe(files: readonly FoundFile[]): unknown {
  return files.map(({ source, problem, servers }) => [source.file, source.folder?.trusted, problem, servers.map(({ entry, status }) => [entry.path, status])]);
}
