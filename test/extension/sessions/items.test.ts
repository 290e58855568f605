import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { duration, type OperationNode, operationNode, sessionTree } from '../../../extension/sessions/items.ts';
import { english as t } from '../../../extension/translate.ts';
import * as fixtures from '../../support/fixtures.ts';

const NOW = new Date(2026, 10, 20, 12, 0).getTime();
const at = (day: number, hour: number): number => new Date(2026, 10, day, hour).getTime();
/** One of this morning, by a person whose name nobody knows. */
const operation = (change: Parameters<typeof fixtures.operation>[0] = {}): ReturnType<typeof fixtures.operation> =>
  fixtures.operation({
    at: at(20, 10),
    actor: { person: { issuer: 'os', subject: 'ada', groups: [] }, agent: { kind: 'claude-code', name: 'Claude Code' } },
    rows: 50,
    masked: 3,
    ...change,
  });
const node = (change: Parameters<typeof operation>[0]): OperationNode => operationNode(operation(change), 'en', t);

describe('the sessions tree', () => {
  it('groups by day and conversation, days newest first, operations in the order they happened', () => {
    const tree = sessionTree(
      [
        operation({ operation: 'old', at: at(18, 9), conversation: 'c0' }),
        operation({ operation: 'second', at: at(20, 11) }),
        operation({ operation: 'first', at: at(20, 10) }),
        operation({ operation: 'other', at: at(20, 9), conversation: 'c2' }),
        operation({ operation: 'yesterday', at: at(19, 9), conversation: 'c3' }),
      ],
      false,
      NOW,
      'en',
      t,
    );
    assert.deepEqual(
      tree.map((day) => day.label),
      ['Today', 'Yesterday', 'Wednesday, November 18, 2026'],
    );
    const [today] = tree;
    assert.ok(today?.kind === 'day');
    assert.deepEqual(
      today.children.map((c) => c.children.map((o) => o.operation)),
      [['first', 'second'], ['other']],
    );
    assert.equal(today.children[0]?.label, 'ada · Claude Code');
  });

  it('has an id for every node that no other node has, so that it stays open across refreshes', () => {
    const tree = sessionTree([operation(), operation({ operation: 'b' }), operation({ operation: 'c', at: at(19, 1) })], true, NOW, 'en', t);
    const ids: string[] = [];
    for (const day of tree) {
      ids.push(day.id);
      if (day.kind === 'day') for (const c of day.children) ids.push(c.id, ...c.children.map((o) => o.id));
    }
    assert.equal(new Set(ids).size, ids.length);
    assert.equal(tree.at(-1)?.kind, 'more');
  });

  it('says how many operations of a conversation were denied', () => {
    const [today] = sessionTree([operation(), operation({ operation: 'b', outcome: 'denied' })], false, NOW, 'en', t);
    assert.ok(today?.kind === 'day');
    assert.match(today.children[0]?.description ?? '', /2 operations · 1 denied$/);
  });

  it('tells every verdict by its icon and in words, never by colour alone', () => {
    const looks = [
      node({}),
      node({ decision: 'ask', approvedBy: 'Ben' }),
      node({ outcome: 'denied', rule: 'no-mass-delete' }),
      node({ outcome: 'failed' }),
      node({ outcome: 'cancelled' }),
      node({ outcome: 'lost' }),
      operationNode(withoutOutcome(operation({ decision: 'ask' })), 'en', t),
    ];
    assert.equal(new Set(looks.map((l) => l.icon.name)).size, looks.length);
    assert.equal(new Set(looks.map((l) => l.spoken)).size, looks.length);
  });

  it('shows rows, masked values and time, and who approved', () => {
    assert.equal(node({}).description, '50 rows · masked 3 · 12 ms');
    assert.equal(node({ decision: 'ask', approvedBy: 'Ben', masked: 0 }).description, 'approved by Ben · 50 rows · 12 ms');
    assert.match(node({ waitedMs: 41_000 }).tooltip.join('\n'), /Waited 41 s/);
  });

  it('names the rule that denied', () => {
    const denied = operation({ outcome: 'denied', rule: 'no-mass-delete', masked: 0 });
    delete (denied as { rows?: number }).rows;
    assert.equal(operationNode(denied, 'en', t).description, 'denied · no-mass-delete');
  });

  it('writes durations as people read them', () => {
    assert.deepEqual([0.2, 12, 999, 4_120, 41_000, 180_000].map(duration), ['1 ms', '12 ms', '999 ms', '4.1 s', '41 s', '3 min']);
  });
});

function withoutOutcome(summary: ReturnType<typeof operation>): ReturnType<typeof operation> {
  const { outcome: _, ...rest } = summary;
  return rest;
}
