import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { groupedTree } from '../../../extension/connections/groups.ts';
import type { FoundFile, FoundServer, ServerStatus } from '../../../extension/mcpServers/scan.ts';
import { english as t } from '../../../extension/translate.ts';
import { connection } from '../../support/fixtures.ts';

function file(status: ServerStatus, trusted = true): FoundFile {
  const source = {
    agent: 'Cursor',
    file: '/w/.cursor/mcp.json',
    readBy: 'cursor',
    format: 'json',
    sections: [],
    dialect: 'editor',
    folder: { path: '/w', trusted },
  } as const;
  const definition = { kind: 'stdio', command: ['npx'], args: [['-y'], [{ env: 'X' }]], env: new Map([['TOKEN', ['hush']]]) } as const;
  return { source, servers: [{ source, entry: { name: 'fs', path: ['mcpServers', 'fs'], definition }, status }] };
}

const tree = (files: readonly FoundFile[], connections = [connection()]) =>
  groupedTree({ connections, files, shortPath: () => '.cursor/mcp.json', idOf: (server: FoundServer) => server.entry.name }, t);
const only = (status: ServerStatus, trusted = true) => {
  const group = tree([file(status, trusted)]).find(({ label }) => label === 'Not protected');
  assert.ok(group?.kind === 'group');
  const [server] = group.children;
  assert.ok(server?.kind === 'server');
  return server;
};

describe('what is protected, and what is not', () => {
  it('is one list as long as everything is', () => {
    const [item] = tree([file({ kind: 'protected', connection: 'orders' })]);
    assert.ok(item?.kind === 'connection');
    assert.match(item.context, /\+rewritten$/);
    assert.ok(item.children.some(({ label, description }) => label === '.cursor/mcp.json' && description === 'rewritten for Cursor'));
  });

  it('is two as soon as something goes past us, which can be protected there and then', () => {
    assert.deepEqual(
      tree([file({ kind: 'unprotected', changed: false })]).map(({ label }) => label),
      ['Protected', 'Not protected'],
    );
    const server = only({ kind: 'unprotected', changed: false });
    assert.equal(server.description, 'MCP in .cursor/mcp.json');
    assert.equal(server.context, 'mcp.unprotected');
    assert.ok(server.tooltip.includes('npx -y ${X}'));
    assert.doesNotMatch(JSON.stringify(server), /hush/, 'variables are not shown: they hold secrets');
  });

  it('says when something rewrote an entry, when one cannot be protected and why, and when its connection is gone', () => {
    assert.match(only({ kind: 'unprotected', changed: true }).description, /rewritten by something else/);
    const unclear = only({ kind: 'unclear', why: 'It has "env" twice.', changed: false });
    assert.equal(unclear.context, 'mcp.unclear');
    assert.ok(unclear.tooltip.includes('It has "env" twice.'));
    assert.match(only({ kind: 'protected', connection: 'gone' }).description, /its connection is gone/);
  });

  it('offers nothing for an untrusted workspace but to trust it', () => {
    const server = only({ kind: 'unprotected', changed: false }, false);
    assert.equal(server.context, 'mcp.unclear');
    assert.match(server.description, /workspace not trusted/);
  });

  it('names a file that cannot be read', () => {
    const broken: FoundFile = { ...file({ kind: 'unprotected', changed: false }), servers: [], problem: 'It is not valid JSON (line 3).' };
    const [, group] = tree([broken]);
    assert.ok(group?.kind === 'group' && group.children[0]?.kind === 'server');
    assert.ok(group.children[0].tooltip.includes('It is not valid JSON (line 3).'));
  });
});
