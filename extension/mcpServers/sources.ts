/** Every place where an agent keeps its MCP servers, as far as we know them. Pure: paths in, paths out. */
import { posix, win32 } from 'node:path';
import type { Machine } from '../../contract/daemon.ts';
import type { Dialect } from './definition.ts';
import type { Section } from './jsonFile.ts';

/** Which editor reads a file by itself: it need not be offered the same server a second time. */
export type ReadBy = 'vscode' | 'cursor' | 'other';

interface SourceBase {
  /** Whose configuration it is: `Claude Code`. */
  readonly agent: string;
  readonly file: string;
  readonly readBy: ReadBy;
  /** The workspace folder it belongs to; absent: the person's own. */
  readonly folder?: { readonly path: string; readonly trusted: boolean };
}
export type Source = SourceBase & ({ readonly format: 'json'; readonly sections: readonly Section[]; readonly dialect: Dialect } | { readonly format: 'toml' });

export interface Surroundings {
  readonly machine: Machine;
  /** The `User` folder of this editor's profile, and of its default profile where that is another one. */
  readonly profiles: readonly string[];
  /** Whether this editor is Cursor. */
  readonly cursor: boolean;
  readonly folders: readonly { readonly path: string; readonly trusted: boolean }[];
  /** The `.code-workspace` file that is open. */
  readonly workspaceFile?: string;
  readonly trusted: boolean;
}

const MCP_SERVERS: Section = ['mcpServers'];
const SERVERS: Section = ['servers'];

export function sources(around: Surroundings): Source[] {
  const { machine, folders } = around;
  const paths = machine.platform === 'win32' ? win32 : posix;
  const join = (...parts: string[]): string => paths.join(...parts);
  const json = (agent: string, file: string, sections: readonly Section[], dialect: Dialect, readBy: ReadBy = 'other'): Source => ({
    agent,
    file,
    sections,
    dialect,
    readBy,
    format: 'json',
  });
  const found: Source[] = [];
  for (const folder of folders) {
    const at = (...path: string[]): string => join(folder.path, ...path);
    const own: Source[] = [
      json('VS Code', at('.vscode', 'mcp.json'), [SERVERS], 'editor', 'vscode'),
      json('Cursor', at('.cursor', 'mcp.json'), [MCP_SERVERS], 'editor', 'cursor'),
      json('Claude Code', at('.mcp.json'), [MCP_SERVERS], 'braces'),
      json('Claude Code', at('.claude', 'settings.json'), [MCP_SERVERS], 'braces'),
      json('Claude Code', at('.claude', 'settings.local.json'), [MCP_SERVERS], 'braces'),
      json('Gemini CLI', at('.gemini', 'settings.json'), [MCP_SERVERS], 'shell'),
      { agent: 'Codex', file: at('.codex', 'config.toml'), readBy: 'other', format: 'toml' },
    ];
    found.push(...own.map((source) => ({ ...source, folder })));
  }
  if (around.workspaceFile !== undefined) {
    const workspace = json('VS Code', around.workspaceFile, [['settings', 'mcp', 'servers']], 'editor', 'vscode');
    found.push({ ...workspace, folder: { path: paths.dirname(around.workspaceFile), trusted: around.trusted } });
  }
  const { home, env, platform } = machine;
  const own = (...path: string[]): string => join(home, ...path);
  for (const profile of around.profiles) {
    found.push(json(around.cursor ? 'Cursor' : 'VS Code', join(profile, 'mcp.json'), [SERVERS], 'editor', around.cursor ? 'cursor' : 'vscode'));
    found.push(json('Cline', join(profile, 'globalStorage', 'saoudrizwan.claude-dev', 'settings', 'cline_mcp_settings.json'), [MCP_SERVERS], 'none'));
  }
  for (const [agent, name] of EDITORS) found.push(json(agent, join(configFolder(machine), name, 'User', 'mcp.json'), [SERVERS], 'editor'));
  found.push(
    json('Cursor', own('.cursor', 'mcp.json'), [MCP_SERVERS], 'editor', 'cursor'),
    json('Claude Code', join(env.CLAUDE_CONFIG_DIR || home, '.claude.json'), [MCP_SERVERS, ['projects', '*', 'mcpServers']], 'braces'),
    json('Claude Code', own('.claude', 'settings.json'), [MCP_SERVERS], 'braces'),
    json('Claude Desktop', join(configFolder(machine), 'Claude', 'claude_desktop_config.json'), [MCP_SERVERS], 'none'),
    json('Copilot CLI', own('.copilot', 'mcp-config.json'), [MCP_SERVERS], 'braces'),
    json('Windsurf', own('.codeium', 'windsurf', 'mcp_config.json'), [MCP_SERVERS], 'editor'),
    json('Gemini CLI', own('.gemini', 'settings.json'), [MCP_SERVERS], 'shell'),
    { agent: 'Codex', file: join(env.CODEX_HOME || own('.codex'), 'config.toml'), readBy: 'other', format: 'toml' },
  );
  // A file is one file, by whatever way it was found; on Windows and macOS case makes no other.
  const seen = new Set<string>();
  return found.filter(({ file }) => {
    const key = platform === 'linux' ? file : file.toLowerCase();
    return !seen.has(key) && seen.add(key);
  });
}

const EDITORS = [
  ['VS Code', 'Code'],
  ['VS Code Insiders', 'Code - Insiders'],
  ['VSCodium', 'VSCodium'],
] as const;

function configFolder({ platform, env, home }: Machine): string {
  if (platform === 'win32') return env.APPDATA || win32.join(home, 'AppData', 'Roaming');
  if (platform === 'darwin') return posix.join(home, 'Library', 'Application Support');
  return env.XDG_CONFIG_HOME || posix.join(home, '.config');
}
