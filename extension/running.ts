/** Everything that need not be there when `activate` returns: views, the link, and what hangs on them. */
import * as vscode from 'vscode';
import { Access } from './agents/access.ts';
import { CursorServers, cursorMcp } from './agents/cursorMcp.ts';
import { registerMcpServers } from './agents/mcpProvider.ts';
import { TerminalEnvironment } from './agents/terminal.ts';
import { watchToolApproval } from './agents/toolApproval.ts';
import { Notices } from './approvals/notices.ts';
import { ApprovalsView } from './approvals/view.ts';
import { OutputPages } from './connections/output.ts';
import { ConnectionsTree } from './connections/tree.ts';
import { Disposables } from './disposables.ts';
import { type DoctorDeps, DoctorPage } from './doctor/doctor.ts';
import { GatewayLink } from './gateway/gatewayLink.ts';
import { VIEWS } from './ids.ts';
import { installCommand } from './mcpServers/launcher.ts';
import { Offers } from './mcpServers/offers.ts';
import { McpServers } from './mcpServers/servers.ts';
import type { Model } from './model.ts';
import { Definitions } from './pins/definitions.ts';
import { PolicyFiles } from './policy/policyFiles.ts';
import { Proposals } from './policy/proposals.ts';
import type { ProxyLink } from './proxyLink/link.ts';
import { ourStateFolder } from './proxyLink/locate.ts';
import { importFromEnvironment } from './secrets/importSecrets.ts';
import { SecretStore } from './secrets/store.ts';
import { OperationPanels } from './sessions/operationPanels.ts';
import { SessionsTree } from './sessions/tree.ts';
import { WorkspaceFolders } from './workspaceFolders.ts';

export interface Base {
  readonly context: vscode.ExtensionContext;
  readonly log: vscode.LogOutputChannel;
  readonly link: ProxyLink;
  readonly model: Model;
  readonly version: string;
  readonly activationMs: number;
}

export interface Running extends Base {
  readonly approvals: ApprovalsView;
  readonly sessions: SessionsTree;
  readonly operations: OperationPanels;
  readonly secrets: SecretStore;
  readonly gateway: GatewayLink;
  readonly access: Access;
  readonly servers: McpServers;
  readonly definitions: Definitions;
  readonly output: OutputPages;
  readonly doctorPage: DoctorPage;
  readonly doctor: DoctorDeps;
}

export async function startRunning(base: Base, owner: Disposables): Promise<Running> {
  const { context, log, link, model } = base;
  const secrets = owner.add(new SecretStore(context, link, log));
  const gateway = owner.add(new GatewayLink(context, link, model, log));
  const approvals = owner.add(new ApprovalsView(context.extensionUri, link, model, gateway.team, new Proposals(link), log));
  owner.add(vscode.window.registerWebviewViewProvider(VIEWS.approvals, approvals));
  owner.add(new Notices(model, approvals));
  const sessions = owner.add(new SessionsTree(link, model, gateway, log));
  const operations = owner.add(
    new OperationPanels(
      context.extensionUri,
      link,
      model,
      gateway.sessions,
      log,
      vscode.Uri.joinPath(context.globalStorageUri, 'wrong-masks.md').fsPath,
      sessions.onDidRecord,
    ),
  );
  const servers = owner.add(new McpServers(context, model, secrets, log));
  owner.add(new ConnectionsTree(model, approvals, servers));
  owner.add(new Offers(servers, link, context.globalState));
  const definitions = owner.add(new Definitions(model, link));
  const access = owner.add(new Access(link, model, log));
  // What a file of this editor's own names already is not offered a second time.
  owner.add(servers.onDidChange(() => access.leaveOut(servers.connectionsIn(/cursor/i.test(vscode.env.appName) ? 'cursor' : 'vscode'))));
  const terminal = owner.add(new TerminalEnvironment(context.environmentVariableCollection, access, commandFolder(context, log)));
  const mcp = registerMcpServers(access);
  if (mcp) owner.add(mcp);
  const cursor = cursorMcp(vscode);
  if (cursor) owner.add(new CursorServers(cursor, access, log));
  owner.add(new PolicyFiles(link, model));
  owner.add(new WorkspaceFolders(link, log));
  const output = owner.add(new OutputPages(model, link));
  const doctorPage = owner.add(new DoctorPage());
  const doctor: DoctorDeps = { link, model, access, terminal, secrets, servers, gateway, version: base.version, activationMs: base.activationMs };

  await importFromEnvironment(secrets, log);
  await gateway.start();
  await link.open();
  await servers.start();
  await watchToolApproval();
  return { ...base, approvals, sessions, operations, secrets, gateway, access, servers, definitions, output, doctorPage, doctor };
}

async function commandFolder(context: vscode.ExtensionContext, log: vscode.LogOutputChannel): Promise<string | undefined> {
  try {
    return await installCommand(ourStateFolder(), context.asAbsolutePath('dist/countersign.cjs'), process.execPath);
  } catch (cause) {
    log.warn(`terminals have no countersign command: ${cause instanceof Error ? cause.message : String(cause)}`);
    return undefined;
  }
}
