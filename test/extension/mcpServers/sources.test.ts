import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Surroundings, sources } from '../../../extension/mcpServers/sources.ts';

const around = (platform: string, change: Partial<Surroundings> = {}): Surroundings => ({
  machine: {
    platform,
    env: platform === 'win32' ? { APPDATA: 'C:\\Users\\ada\\AppData\\Roaming' } : {},
    home: platform === 'win32' ? 'C:\\Users\\ada' : '/home/ada',
  },
  profiles: [],
  cursor: false,
  folders: [],
  trusted: true,
  ...change,
});
const files = (a: Surroundings) => sources(a).map(({ file }) => file);

describe('the places where agents keep their MCP servers', () => {
  it('are each folder’s, whether it is trusted or not, and the person’s own', () => {
    const found = sources(
      around('linux', {
        folders: [
          { path: '/w/a', trusted: true },
          { path: '/w/b', trusted: false },
        ],
        profiles: ['/data/User', '/data/User/profiles/x'],
      }),
    );
    const paths = found.map(({ file }) => file);
    for (const name of ['.vscode/mcp.json', '.cursor/mcp.json', '.mcp.json'])
      for (const folder of ['/w/a', '/w/b']) assert.ok(paths.includes(`${folder}/${name}`), name);
    for (const path of [
      '/data/User/mcp.json',
      '/data/User/profiles/x/mcp.json',
      '/home/ada/.cursor/mcp.json',
      '/home/ada/.claude.json',
      '/home/ada/.codex/config.toml',
      '/home/ada/.config/Code/User/mcp.json',
      '/home/ada/.gemini/settings.json',
      '/home/ada/.codeium/windsurf/mcp_config.json',
    ])
      assert.ok(paths.includes(path), path);
    assert.deepEqual(
      found.filter(({ folder }) => folder?.trusted === false).every(({ file }) => file.startsWith('/w/b/')),
      true,
    );
  });

  it('are written as each system writes them', () => {
    assert.ok(files(around('win32')).includes('C:\\Users\\ada\\AppData\\Roaming\\Code\\User\\mcp.json'));
    assert.ok(files(around('win32')).includes('C:\\Users\\ada\\.codex\\config.toml'));
    assert.ok(files(around('darwin')).includes('/home/ada/Library/Application Support/Code/User/mcp.json'));
    assert.ok(
      files({ ...around('linux'), machine: { platform: 'linux', home: '/h', env: { CODEX_HOME: '/c', CLAUDE_CONFIG_DIR: '/d' } } }).includes('/c/config.toml'),
    );
  });

  it('are each named once, also where the home folder is the workspace', () => {
    const all = files(around('linux', { folders: [{ path: '/home/ada', trusted: true }] }));
    assert.equal(new Set(all).size, all.length);
    assert.ok(all.includes('/home/ada/.cursor/mcp.json'));
  });
});
