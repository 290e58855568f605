/** A home, a workspace and a secret store for the tests of protecting. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ProtectDeps } from '../../../extension/mcpServers/protect.ts';
import { Records } from '../../../extension/mcpServers/records.ts';
import type { Source } from '../../../extension/mcpServers/sources.ts';

export interface Stage {
  readonly root: string;
  readonly workspace: string;
  readonly deps: ProtectDeps;
  readonly secrets: Map<string, string>;
  readonly policy: () => string;
  write(name: string, text: string | Buffer, mode?: number): string;
  source(name: string, overrides?: Partial<Source>): Source;
  /** Paths of files below the stage that hold a text. */
  holding(text: string): string[];
  end(): void;
}

export function stage(): Stage {
  const root = mkdtempSync(join(tmpdir(), 'countersign-mcp-'));
  const workspace = join(root, 'workspace');
  const state = join(root, 'state');
  mkdirSync(workspace);
  mkdirSync(state, { mode: 0o700 });
  const secrets = new Map<string, string>();
  const policyFile = join(root, 'config', 'countersign.yaml');
  const deps: ProtectDeps = {
    records: new Records(state),
    launcher: join(state, 'bin', 'countersign-mcp'),
    policyFile,
    secrets: {
      get: async (name) => secrets.get(name),
      put: async (name, value) => void secrets.set(name, value),
      forget: async (name) => void secrets.delete(name),
    },
    env: { SET_TOKEN: 'from-the-environment' },
    home: root,
    taken: () => [],
    ask: async () => new Map(),
  };
  return {
    root,
    workspace,
    deps,
    secrets,
    policy: () => readFileSync(policyFile, 'utf8'),
    write: (name, text, mode = 0o644) => {
      const path = join(workspace, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text, { mode });
      return path;
    },
    source: (name, overrides = {}) =>
      ({
        agent: 'Test',
        file: join(workspace, name),
        readBy: 'other',
        folder: { path: workspace, trusted: true },
        ...(name.endsWith('.toml') ? { format: 'toml' } : { format: 'json', sections: [['servers'], ['mcpServers']], dialect: 'editor' }),
        ...overrides,
      }) as Source,
    holding: (text) =>
      readdirSync(root, { recursive: true, encoding: 'utf8' })
        .map((name) => join(root, name))
        .filter((path) => statSync(path).isFile() && readFileSync(path).includes(text)),
    end: () => rmSync(root, { recursive: true, force: true }),
  };
}
