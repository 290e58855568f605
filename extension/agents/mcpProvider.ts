/** Offers the proxy's MCP endpoints to the editor's own agent. */
import * as vscode from 'vscode';
import { MCP_PROVIDER, SETTINGS } from '../ids.ts';
import type { Access } from './access.ts';

/** How long a start waits for the proxy to come up, in milliseconds. */
const WAIT_MS = 15_000;

/** Registers with editors that can; `undefined` elsewhere. */
export function registerMcpServers(access: Access): vscode.Disposable | undefined {
  if (typeof vscode.lm?.registerMcpServerDefinitionProvider !== 'function') return undefined;
  const changed = new vscode.EventEmitter<void>();
  return vscode.Disposable.from(
    changed,
    access.onDidChange(() => changed.fire()),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration(SETTINGS.mcp)) changed.fire();
    }),
    vscode.lm.registerMcpServerDefinitionProvider(MCP_PROVIDER, {
      onDidChangeMcpServerDefinitions: changed.event,
      provideMcpServerDefinitions: () => {
        if (!vscode.workspace.getConfiguration().get(SETTINGS.mcp, true)) return [];
        // Without the token: the editor keeps these on disk. It comes when the server is started.
        return access.offered.map((server) => new vscode.McpHttpServerDefinition(server.label, vscode.Uri.parse(server.url), {}, server.version));
      },
      resolveMcpServerDefinition: async (definition: vscode.McpHttpServerDefinition, token) => {
        const current = access.current ?? (await next(access, token));
        const server = current?.mcp.find((candidate) => candidate.label === definition.label);
        if (server === undefined) throw new Error(vscode.l10n.t('Countersign is not running, so its tools cannot be reached. See the status bar.'));
        return new vscode.McpHttpServerDefinition(server.label, vscode.Uri.parse(server.url), server.headers, server.version);
      },
    }),
  );
}

/** The next access there is; undefined when it does not come in time or nobody waits any more. */
function next(access: Access, token: vscode.CancellationToken): Promise<Access['current']> {
  return new Promise((resolve) => {
    const done = (value: Access['current']): void => {
      clearTimeout(timer);
      subscription.dispose();
      resolve(value);
    };
    const timer = setTimeout(() => done(undefined), WAIT_MS);
    const subscription = vscode.Disposable.from(
      access.onDidChange((value) => value && done(value)),
      token.onCancellationRequested(() => done(undefined)),
    );
  });
}
