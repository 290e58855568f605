/**
 * Scripts of a few lines in the proxy's state folder, whose path stays the same over updates of the extension and the
 * editor. What a rewritten entry starts runs the bridge beside it, which asks the proxy for a login; `countersign` is the
 * command, for the editor's terminals. Neither holds a secret.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';

const FOLDER = 'bin';
const BRIDGE = 'countersign-mcp.cjs';

export function launcherPath(state: string): string {
  return join(state, FOLDER, process.platform === 'win32' ? 'countersign-mcp.cmd' : 'countersign-mcp');
}

/** @param node an executable that runs JavaScript where `ELECTRON_RUN_AS_NODE` is set
 * @returns whether something there was not as it should be */
export async function installLauncher(state: string, bridge: string, node: string): Promise<boolean> {
  const folder = await ours(state);
  const code = await readFile(bridge);
  const bridgeChanged = await put(join(folder, BRIDGE), code, 0o600);
  const launcherChanged = await put(launcherPath(state), script('the bridge to an MCP server that it protects', node, BRIDGE), 0o700);
  return bridgeChanged || launcherChanged;
}

/** `countersign`, for the editor's terminals. @returns the folder that it is in, for their PATH */
export async function installCommand(state: string, bundle: string, node: string): Promise<string> {
  const folder = await ours(state);
  await put(join(folder, process.platform === 'win32' ? 'countersign.cmd' : 'countersign'), script('its command', node, bundle), 0o700);
  return folder;
}

async function ours(state: string): Promise<string> {
  const folder = join(state, FOLDER);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}

export async function removeLauncher(state: string): Promise<void> {
  await rm(join(state, FOLDER), { recursive: true, force: true });
}

async function put(path: string, bytes: Buffer, mode: number): Promise<boolean> {
  const there = await readFile(path).catch(() => undefined);
  if (there?.equals(bytes)) {
    await chmod(path, mode);
    return false;
  }
  const next = `${path}.${randomBytes(6).toString('hex')}`;
  await writeFile(next, bytes, { flag: 'wx', mode });
  await rename(next, path);
  return there !== undefined;
}

/** The editor's own Node where it is still there, else the one on the PATH: an update of the editor moves it. @param code beside the script, or its whole path */
function script(what: string, node: string, code: string): Buffer {
  return Buffer.from(process.platform === 'win32' ? windowsScript(what, node, code) : shellScript(what, node, code));
}

function shellScript(what: string, node: string, code: string): string {
  return [
    '#!/bin/sh',
    `# Written by Countersign: starts ${what}.`,
    'here=$(dirname "$0")',
    `node=${quote(node)}`,
    '[ -x "$node" ] || node=node',
    `ELECTRON_RUN_AS_NODE=1 NODE_OPTIONS= exec "$node" ${isAbsolute(code) ? quote(code) : `"$here/${code}"`} "$@"`,
    '',
  ].join('\n');
}

function windowsScript(what: string, node: string, code: string): string {
  return [
    '@echo off',
    `rem Written by Countersign: starts ${what}.`,
    'setlocal',
    'set ELECTRON_RUN_AS_NODE=1',
    'set NODE_OPTIONS=',
    `set "CS_NODE=${node.replaceAll('%', '%%')}"`,
    'if not exist "%CS_NODE%" set "CS_NODE=node"',
    `"%CS_NODE%" "${isAbsolute(code) ? code.replaceAll('%', '%%') : `%~dp0${code}`}" %*`,
    '',
  ].join('\r\n');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
