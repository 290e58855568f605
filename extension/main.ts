/** Wires the extension: what must be there at once, one table of commands, and the rest after `activate` has returned. */
import { randomUUID } from 'node:crypto';
import * as vscode from 'vscode';
import type { Snapshot } from '../contract/control.ts';
import { Disposables } from './disposables.ts';
import { COMMANDS, type CommandName, WALKTHROUGH } from './ids.ts';
import { Model } from './model.ts';
import { notify } from './notify.ts';
import { ProxyLink } from './proxyLink/link.ts';
import type { Running } from './running.ts';
import { StatusBar } from './statusBar.ts';
import { stopProxy } from './stopProxy.ts';

/** What other extensions get: nothing that decides. */
export interface Api {
  readonly version: string;
  /** How long `activate` took, in milliseconds. */
  readonly activationMs: number;
  /** Resolves when every surface is up; the proxy may still be starting. */
  readonly ready: Promise<void>;
  /** State of the link to the proxy: `starting`, `on`, `off` or `failed`. */
  readonly state: () => string;
  /** What the proxy last said; only in a test host, for the suite that runs there. */
  readonly inspect?: () => Snapshot | undefined;
}

type Handler = (running: Running, ...args: unknown[]) => unknown;

/** Not one of these answers an approval: a command can be run by an agent, an answer is a person's act in the view. */
const HANDLERS: Readonly<Record<CommandName, Handler>> = {
  showApprovals: (r, ask) => r.approvals.show({ focus: true, ...(typeof ask === 'string' && { ask }) }),
  filterSessions: async (r) => (await import('./sessions/filterBox.ts')).filterSessions(r.sessions),
  clearFilter: (r) => r.sessions.setFilter(''),
  refreshSessions: (r) => r.sessions.refresh(),
  moreSessions: (r) => r.sessions.showMore(),
  openOperation: (r, operation) => r.operations.open(operation),
  copyAddress: async (r, item) => (await import('./connections/commands.ts')).copyAddress(r.model, item),
  enterSecret: async (r, item) => (await import('./connections/commands.ts')).enterSecret(r.model, r.secrets, item),
  forgetSecret: async (r) => (await import('./connections/commands.ts')).forgetSecret(r.secrets),
  showOutput: (r, item) => r.output.show(item),
  signIn: async (r, item) => (await import('./connections/signIn.ts')).signIn(r.model, r.link, item),
  signOut: async (r, item) => (await import('./connections/signIn.ts')).signOut(r.model, r.link, item),
  requestAccess: async (r, item) => (await import('./gateway/requestCommand.ts')).requestAccess(r.model, r.gateway, item),
  gatewaySignIn: (r) => r.gateway.createSession(),
  gatewaySignOut: (r) => r.gateway.signOut(),
  importSecrets: async (r) => (await import('./secrets/importSecrets.ts')).importByPicker(r.secrets, r.log),
  protectServer: async (r, item) => (await import('./mcpServers/commands.ts')).protectServer(r.servers, item),
  protectAll: async (r, item) => (await import('./mcpServers/commands.ts')).protectAll(r.servers, item),
  undoProtection: async (r, item) => (await import('./mcpServers/commands.ts')).undoProtection(r.servers, item),
  undoAllProtection: async (r) => (await import('./mcpServers/commands.ts')).undoAllProtection(r.servers),
  openConfig: async (r, item) => (await import('./mcpServers/commands.ts')).openConfig(r.servers, item),
  reviewDefinitions: (r, node) => r.definitions.review(node),
  acceptDefinitions: (r, uri) => r.definitions.answer(uri, true),
  rejectDefinitions: (r, uri) => r.definitions.answer(uri, false),
  openPolicy: async (r) => (await import('./policy/policyFiles.ts')).openPolicy(r.model),
  start: (r) => r.link.turnOn(),
  stop: (r) => stopProxy(r.link, r.model),
  restart: (r) => r.link.restart('restarted by the person'),
  takeOver: (r) => r.link.takeOver(),
  verify: async (r, session) => (await import('./verifyRecord.ts')).verifyRecord(r.link, r.gateway.sessions, session, r.log),
  showLog: (r) => r.log.show(),
  doctor: async (r) => (await import('./doctor/doctor.ts')).runDoctor(r.doctor, r.doctorPage),
  walkthrough: (r) => vscode.commands.executeCommand('workbench.action.openWalkthrough', `${r.context.extension.id}#${WALKTHROUGH}`, false),
  toolApproval: async (r) => (await import('./agents/toolApproval.ts')).reviewToolApproval(r.access),
};

let link: ProxyLink | undefined;

export function activate(context: vscode.ExtensionContext): Api {
  const began = performance.now();
  const { version } = context.extension.packageJSON as { version: string };
  const owner = new Disposables();
  context.subscriptions.push(owner);
  const log = owner.add(vscode.window.createOutputChannel('Countersign', { log: true }));
  const opened = owner.add(
    new ProxyLink({
      log,
      secrets: context.secrets,
      script: context.asAbsolutePath('dist/proxy.cjs'),
      startLog: vscode.Uri.joinPath(context.logUri, 'proxy-start.log').fsPath,
      version,
      hello: { extensionVersion: version, window: randomUUID(), editor: vscode.env.appName },
    }),
  );
  link = opened;
  const model = owner.add(new Model(opened));
  owner.add(new StatusBar(model));

  const { promise: running, resolve, reject } = Promise.withResolvers<Running>();
  for (const [name, handler] of Object.entries(HANDLERS)) {
    owner.add(
      vscode.commands.registerCommand(COMMANDS[name as CommandName], async (...args: unknown[]) => report(log, async () => handler(await running, ...args))),
    );
  }
  const activationMs = performance.now() - began;
  log.info(`version ${version}, activated in ${activationMs.toFixed(1)} ms`);
  setImmediate(() => {
    import('./running.ts').then(({ startRunning }) => startRunning({ context, log, link: opened, model, version, activationMs }, owner)).then(resolve, reject);
  });
  running.catch((error: unknown) => log.error(error instanceof Error ? error : String(error)));
  const ready = running.then(() => undefined);
  const testing = context.extensionMode === vscode.ExtensionMode.Test;
  return { version, activationMs, ready, state: () => opened.state.kind, ...(testing && { inspect: () => model.snapshot }) };
}

export async function deactivate(): Promise<void> {
  await link?.close();
  link = undefined;
}

/** A command that fails says so in one sentence; the rest is in the log. */
async function report(log: vscode.LogOutputChannel, run: () => unknown): Promise<unknown> {
  try {
    return await run();
  } catch (error) {
    log.error(error instanceof Error ? error : String(error));
    const show = vscode.l10n.t('Show Log');
    void notify.error(error instanceof Error ? error.message : String(error), show).then((picked) => picked === show && log.show());
    return undefined;
  }
}
