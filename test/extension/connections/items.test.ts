import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { connectionTree } from '../../../extension/connections/items.ts';
import { outputText } from '../../../extension/connections/outputText.ts';
import { english as t } from '../../../extension/translate.ts';
import { connection } from '../../support/fixtures.ts';

describe('the connections tree', () => {
  it('says what is protected, how it stands, where it is reached and what is masked', () => {
    const [item] = connectionTree([connection()], t);
    assert.ok(item?.kind === 'connection');
    assert.equal(item.description, 'PostgreSQL · this machine · ready');
    assert.ok(item.tooltip.includes('login: static login, kept by the editor'));
    assert.deepEqual(
      item.children.map((c) => [c.label, c.description]),
      [
        ['postgres://127.0.0.1:28100/orders', 'address'],
        ['static login, kept by the editor', 'login'],
        ['customers.email', 'masked: partial'],
      ],
    );
  });

  it('puts what is wrong first and offers to enter a missing secret', () => {
    const [item] = connectionTree([connection({ state: 'needs-secret', secret: 'orders', problem: 'Enter the secret "orders".' })], t);
    assert.ok(item?.kind === 'connection');
    assert.equal(item.context, 'connection.needsSecret');
    assert.equal(item.children[0]?.label, 'Enter the secret "orders".');
  });

  it('leads to what a server’s process wrote, where it wrote something', () => {
    const [quiet] = connectionTree([connection({ protocol: 'mcp' })], t);
    const [item] = connectionTree([connection({ protocol: 'mcp', output: true, state: 'failed', problem: 'It has ended.' })], t);
    assert.ok(item?.kind === 'connection' && quiet?.kind === 'connection');
    assert.equal(item.context, 'connection+output');
    assert.deepEqual(
      item.children.slice(0, 2).map(({ kind, label }) => [kind, label]),
      [
        ['fact', 'It has ended.'],
        ['output', 'What the server wrote'],
      ],
    );
    assert.ok(!quiet.children.some(({ kind }) => kind === 'output'));
    const line = { at: 0, process: 7 } as const;
    const lines = [{ ...line, by: 'server', text: 'cannot find # its file' } as const, { ...line, by: 'countersign', text: 'ended (exit code 3)' } as const];
    assert.match(outputText('files', { lines }, t), /files.*\n.*masked\.\n\n\S+.* \[7\] cannot find # its file\n.* \[7\] — ended \(exit code 3\)\n$/);
    assert.match(outputText('files', { lines: [] }, t), /written nothing/);
  });

  it('tells every state by its icon and in words', () => {
    const items = (['ready', 'starting', 'needs-secret', 'failed'] as const).map((state) => connectionTree([connection({ state })], t)[0]);
    assert.equal(new Set(items.map((i) => (i?.kind === 'connection' ? i.icon.name : ''))).size, 4);
    assert.equal(new Set(items.map((i) => i?.description)).size, 4);
  });
});
