import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { protectToml, restoreToml, tomlEntries } from '../../../extension/mcpServers/tomlFile.ts';

const LAUNCHER = '/state/bin/countersign-mcp';
const launch = { command: LAUNCHER, connection: 'docs' };
const entry = (text: string, name: string) => tomlEntries(text, LAUNCHER).find((found) => found.name === name)?.definition;

const BEFORE = `model = "o" # mine

# documents
[mcp_servers.docs]
command = "npx" # how
args = ["-y", "docs-mcp"]
startup_timeout_sec = 20
# the key
[mcp_servers.docs.env]
API_KEY = "sk-verysecret"

[mcp_servers.docs.tools.search]
approval_mode = "approve"

[mcp_servers.crm]
url = "https://crm.example/mcp"
bearer_token_env_var = "CRM_TOKEN"
`;

describe('servers in Codex’s config.toml', () => {
  it('are read as Codex reads them', () => {
    const docs = entry(BEFORE, 'docs');
    assert.ok(docs?.kind === 'stdio');
    assert.deepEqual(docs.env.get('API_KEY'), ['sk-verysecret']);
    const crm = entry(BEFORE, 'crm');
    assert.ok(crm?.kind === 'http');
    assert.deepEqual(crm.headers.get('Authorization'), ['Bearer ', { env: 'CRM_TOKEN' }]);
    assert.equal(entry('[mcp_servers]\na = { command = "x" }\n', 'a')?.kind, 'unclear');
    assert.throws(() => tomlEntries('[mcp_servers.a\n', LAUNCHER), /not valid TOML/);
  });

  it('are rewritten in place, with comments and other settings kept and the secrets gone', () => {
    const { text, taken } = protectToml(BEFORE, ['mcp_servers', 'docs'], launch);
    assert.equal(
      text,
      `model = "o" # mine

# documents
[mcp_servers.docs]
command = "${LAUNCHER}"
args = ["docs"]
startup_timeout_sec = 20
# the key

[mcp_servers.docs.tools.search]
approval_mode = "approve"

[mcp_servers.crm]
url = "https://crm.example/mcp"
bearer_token_env_var = "CRM_TOKEN"
`,
    );
    assert.equal(entry(text, 'docs')?.kind, 'ours');
    assert.deepEqual(entry(restoreToml(`${text}# more\n`, ['mcp_servers', 'docs'], taken), 'docs'), entry(BEFORE, 'docs'));
  });

  it('say the same after protecting and restoring, however the table is laid out', () => {
    const line = fc.constantFrom<string[]>(
      'cwd = "/x"',
      'env = { A = "b" }',
      'tool_timeout_sec = 5',
      '# note',
      '',
      'enabled = true',
      '  args = [\n  "a", # one\n]',
      'env_vars = ["HOME"]',
    );
    const below = fc.constantFrom(
      '',
      '[mcp_servers.docs.env]\nB = "c"\n',
      '[mcp_servers.docs.env]\n',
      '[other]\nx = 1\n',
      '[mcp_servers."docs".env]\nB = """\nm\n"""\n',
    );
    fc.assert(
      fc.property(
        fc.uniqueArray(line, { maxLength: 6 }),
        fc.nat(6),
        below,
        fc.constantFrom('\n', '\r\n'),
        fc.constantFrom('', '\n# end'),
        (lines, at, table, eol, end) => {
          const all = [...lines];
          if (all.some((l) => l.startsWith('env =')) && table.includes('env')) return;
          all.splice(Math.min(at, all.length), 0, 'command = "npx"');
          const before = `a = 1\n[mcp_servers.docs]\n${all.join('\n')}\n${table}${end}`.replaceAll('\n', eol);
          const path = ['mcp_servers', 'docs'];
          const { text, taken } = protectToml(before, path, launch);
          assert.equal(entry(text, 'docs')?.kind, 'ours', `${before}\n---\n${text}`);
          assert.deepEqual(entry(restoreToml(text, path, taken), 'docs'), entry(before, 'docs'), `${before}\n---\n${text}`);
        },
      ),
      { numRuns: 300 },
    );
  });
});
