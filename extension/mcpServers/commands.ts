import { homedir } from 'node:os';
import path from 'node:path';
import * as vscode from 'vscode';
import { COMMANDS } from '../ids.ts';
import { notify } from '../notify.ts';
import { openAt } from '../panelActions.ts';
import { summary } from './definition.ts';
import type { FoundServer } from './scan.ts';
import type { McpServers } from './servers.ts';

/** Names in a question; more are left out. */
const NAMES_SHOWN = 8;

/** A file as a person calls it: from the workspace or the home folder on. */
export function shortPath(file: string): string {
  const folder = vscode.workspace.workspaceFolders?.find(({ uri }) => uri.scheme === 'file' && file.startsWith(uri.fsPath + path.sep));
  if (folder) return vscode.workspace.asRelativePath(vscode.Uri.file(file));
  const home = homedir();
  return file.startsWith(home + path.sep) ? `~${file.slice(home.length)}` : file;
}

export async function protectServer(servers: McpServers, argument: unknown): Promise<void> {
  const open = unprotected(servers);
  const given = serverOf(argument, servers);
  if (given === undefined && open.length === 0) {
    await notify.information(vscode.l10n.t('Every MCP server that Countersign knows of goes through it.'));
    return;
  }
  const server = given ?? (await pick(open, vscode.l10n.t('Put which MCP server behind Countersign?')));
  if (server) await protectThese(servers, [server]);
}

/** All, or those of one file where a tree item says which. */
export async function protectAll(servers: McpServers, argument: unknown): Promise<void> {
  const file = serverOf(argument, servers)?.source.file;
  const these = unprotected(servers).filter(({ source }) => file === undefined || source.file === file);
  if (these.length === 0) return await protectServer(servers, undefined);
  await protectThese(servers, these);
}

async function protectThese(servers: McpServers, these: readonly FoundServer[]): Promise<void> {
  const done: string[] = [];
  const missing: string[] = [];
  const problems: string[] = [];
  for (const server of these) {
    try {
      const result = await servers.protect(server);
      if (result === undefined) continue;
      done.push(result.connection);
      missing.push(...result.missing);
    } catch (error) {
      problems.push(`${server.entry.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (problems.length > 0) void notify.error(vscode.l10n.t('Not protected: {0}', problems.join(' ')));
  if (done.length === 0) return;
  const undoIt = vscode.l10n.t('Undo');
  const enter = vscode.l10n.t('Enter Secret');
  const text =
    missing.length > 0
      ? vscode.l10n.t('{0} goes through Countersign, and still needs a secret that was not set here.', done.join(', '))
      : vscode.l10n.t('{0} goes through Countersign now. Restart the agent, or its MCP server, to use it.', done.join(', '));
  void notify.information(text, ...(missing.length > 0 ? [enter] : []), undoIt).then((picked) => {
    if (picked === undoIt) return vscode.commands.executeCommand(COMMANDS.undoProtection, done);
    return picked === enter ? vscode.commands.executeCommand(COMMANDS.enterSecret, done.at(-1)) : undefined;
  });
}

/** Takes back the entries of the connections that are named or picked. */
export async function undoProtection(servers: McpServers, argument: unknown): Promise<void> {
  const names = connectionsOf(argument);
  const all = servers.records.flatMap((record) => record.entries.map((entry) => ({ file: record.file, agent: record.agent, entry })));
  let these = all.filter(({ entry }) => names.includes(entry.connection));
  if (these.length === 0) {
    if (all.length === 0) {
      await notify.information(vscode.l10n.t('Countersign has rewritten no MCP server, so there is nothing to undo.'));
      return;
    }
    const picked = await vscode.window.showQuickPick(
      all.map((one) => ({ label: one.entry.path.at(-1) ?? '', description: `${one.agent} · ${shortPath(one.file)}`, one })),
      { placeHolder: vscode.l10n.t('Put back which MCP server as it was before?') },
    );
    if (picked === undefined) return;
    these = [picked.one];
  }
  if (!(await sureToUndo(these.map(({ entry }) => entry.path.at(-1) ?? entry.connection)))) return;
  const problems: string[] = [];
  for (const [file, entries] of Map.groupBy(these, ({ file }) => file)) {
    problems.push(
      ...(await servers.undo(
        file,
        entries.map(({ entry }) => entry.path),
      )),
    );
  }
  await tellUndone(these.length, problems);
}

export async function undoAllProtection(servers: McpServers): Promise<void> {
  const { records } = servers;
  const names = records.flatMap(({ entries }) => entries.map(({ connection, path: place }) => place.at(-1) ?? connection));
  if (names.length > 0 && !(await sureToUndo(names))) return;
  const problems: string[] = [];
  let count = 0;
  for (const { file, entries } of records) {
    try {
      problems.push(...(await servers.undo(file)));
      count += entries.length;
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  await tellUndone(count, problems);
}

/** A command can be run by an agent; that servers go unwatched again is a person's choice, in the editor's own dialog. */
async function sureToUndo(names: readonly string[]): Promise<boolean> {
  const undoIt = vscode.l10n.t('Undo Protection');
  const shown = names.slice(0, NAMES_SHOWN).join(', ') + (names.length > NAMES_SHOWN ? ', …' : '');
  const picked = await vscode.window.showWarningMessage(
    vscode.l10n.t('Undo the protection of {0}?', shown),
    {
      modal: true,
      detail: vscode.l10n.t('Agents reach it directly again, with its secret in their configuration: nothing of it is asked about, masked or recorded.'),
    },
    undoIt,
  );
  return picked === undoIt;
}

async function tellUndone(count: number, problems: readonly string[]): Promise<void> {
  if (problems.length > 0) void notify.warning(problems.join(' '));
  else void notify.information(vscode.l10n.t('Put back as it was: {0}. Countersign no longer sees these servers.', count));
}

export async function openConfig(servers: McpServers, argument: unknown): Promise<void> {
  const server = serverOf(argument, servers) ?? (await pick(servers.servers, vscode.l10n.t('Open the configuration of which MCP server?')));
  if (server === undefined) return;
  const uri = vscode.Uri.file(server.source.file);
  const document = await vscode.workspace.openTextDocument(uri);
  const at = document.getText().indexOf(server.source.format === 'json' ? JSON.stringify(server.entry.name) : `mcp_servers.${server.entry.name}`);
  const position = document.positionAt(Math.max(0, at));
  await openAt(uri, position.line + 1, position.character + 1);
}

function unprotected(servers: McpServers): FoundServer[] {
  return servers.servers.filter(({ source, status }) => status.kind === 'unprotected' && source.folder?.trusted !== false);
}

async function pick(these: readonly FoundServer[], placeHolder: string): Promise<FoundServer | undefined> {
  const picked = await vscode.window.showQuickPick(
    these.map((server) => ({
      label: server.entry.name,
      description: `${server.source.agent} · ${shortPath(server.source.file)}`,
      detail: summary(server.entry.definition),
      server,
    })),
    { placeHolder },
  );
  return picked?.server;
}

/** A tree item's server, as it stands now: what an argument says of itself is not believed. */
function serverOf(argument: unknown, servers: McpServers): FoundServer | undefined {
  if (typeof argument !== 'object' || argument === null || !('id' in argument)) return undefined;
  return servers.servers.find((server) => serverId(server) === argument.id);
}

export function serverId({ source, entry }: FoundServer): string {
  return `mcp:${source.file}:${entry.path.join('/')}`;
}

function connectionsOf(argument: unknown): string[] {
  if (Array.isArray(argument)) return argument.filter((name): name is string => typeof name === 'string');
  if (typeof argument !== 'object' || argument === null || !('connection' in argument)) return [];
  const { connection } = argument;
  return typeof connection === 'object' && connection !== null && 'name' in connection && typeof connection.name === 'string' ? [connection.name] : [];
}
