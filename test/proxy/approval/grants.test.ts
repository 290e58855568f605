import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Scope } from '../../../contract/approval.ts';
import type { Question } from '../../../proxy/approval/approvals.ts';
import { NOBODY_GRACE_MS } from '../../../proxy/approval/queue.ts';
import { offeredScopes } from '../../../proxy/approval/scopes.ts';
import { ada, approve, type Bench, bench, deny, eve, facts, never, question, verdict } from './questions.ts';

/** Asks, and answers yes with a scope. */
async function grant(b: Bench, asked: Question, scope: Scope): Promise<string> {
  const outcome = b.queue.ask(asked, never);
  assert.equal(b.queue.answer(approve(b.queue.pending().at(-1)!, scope), ada), 'accepted');
  await outcome;
  return b.queue.grants().at(-1)!.id;
}

/** Whether a question is let through without a person. */
async function covered({ queue }: Bench, asked: Question): Promise<boolean> {
  const outcome = queue.ask(asked, never);
  const shown = queue.pending().at(-1);
  if (!shown) {
    const granted = await outcome;
    assert.ok(granted.answer === 'approved' && granted.why === 'grant');
    assert.equal(granted.digest, asked.digest, 'bound to its own bytes');
    assert.equal(queue.spend(granted.approval), true);
    assert.equal(queue.spend(granted.approval), false);
    return true;
  }
  queue.answer(deny(shown), ada);
  return false;
}

describe('the scopes offered', () => {
  it('start with exactly this, once', () => {
    assert.deepEqual(offeredScopes(question({ shape: 's' }))[0], { what: 'exact', howLong: 'once' });
  });

  it('are that alone for bulk changes, administration and what was not understood', () => {
    for (const risky of [facts({ bulk: true }), facts({ effect: 'admin' }), facts({ effect: 'unknown' })]) {
      assert.deepEqual(offeredScopes(question({ shape: 's', facts: risky })), [{ what: 'exact', howLong: 'once' }]);
    }
  });

  it('hold a shape only where there is one, and a target only for mild effects', () => {
    const whats = (asked: Question): string[] => [...new Set(offeredScopes(asked).map((s) => s.what))];
    assert.deepEqual(whats(question()), ['exact', 'target']);
    assert.deepEqual(whats(question({ shape: 's' })), ['exact', 'shape', 'target']);
    assert.deepEqual(whats(question({ shape: 's', facts: facts({ effect: 'delete' }) })), ['exact', 'shape']);
    assert.deepEqual(whats(question({ facts: facts({ targets: [] }) })), ['exact']);
  });

  it('cannot be exceeded by an answer', () => {
    const { queue } = bench();
    void queue.ask(question({ facts: facts({ bulk: true }), shape: 's' }), never);
    const shown = queue.pending()[0]!;
    assert.equal(queue.answer(approve(shown, { what: 'shape', howLong: '1h' }), ada), 'not-allowed');
    assert.equal(queue.answer(approve(shown, { what: 'exact', howLong: 'session' }), ada), 'not-allowed');
    assert.equal(queue.pending().length, 1);
    queue.shutdown();
  });
});

describe('a grant for a shape', () => {
  const given = question({ shape: 's1' });

  it('lets the same shape through, counts, and never what differs', async () => {
    const b = bench();
    await grant(b, given, { what: 'shape', howLong: '15m' });
    assert.equal(await covered(b, question({ shape: 's1', digest: 'other' })), true);
    assert.equal(b.queue.grants()[0]?.used, 1);
    const others: Question[] = [
      question({ shape: 's2' }),
      question(),
      question({ shape: 's1', connection: 'billing' }),
      question({ shape: 's1', conversation: 'con_2' }),
      question({ shape: 's1', actor: { person: eve, agent: given.actor.agent } }),
      question({ shape: 's1', actor: { person: ada, agent: { kind: 'cursor', name: 'Cursor' } } }),
      question({ shape: 's1', verdict: verdict({ rule: { id: 'stricter', layer: 'organisation' } }) }),
      question({ shape: 's1', verdict: verdict({ policyVersion: 'p2' }) }),
      question({ shape: 's1', facts: facts({ bulk: true }) }),
    ];
    for (const other of others) {
      if (other.actor.person !== ada) {
        void b.queue.ask(other, never);
        assert.equal(b.queue.pending().length, 1);
        b.queue.answer(deny(b.queue.pending()[0]!), eve);
      } else assert.equal(await covered(b, other), false, JSON.stringify(other));
    }
    assert.equal(b.queue.grants()[0]?.used, 1);
  });

  it('for a session holds in that session alone, until it ends', async () => {
    const b = bench();
    await grant(b, given, { what: 'shape', howLong: 'session' });
    assert.equal(await covered(b, question({ shape: 's1' })), true);
    assert.equal(await covered(b, question({ shape: 's1', session: 'ses_2' })), false);
    b.queue.sessionEnded('ses_1');
    assert.deepEqual(b.queue.grants(), []);
    assert.equal(await covered(b, question({ shape: 's1' })), false);
  });

  it('for a time holds in the conversation, until the time is over', async () => {
    const b = bench();
    await grant(b, given, { what: 'shape', howLong: '15m' });
    assert.equal(await covered(b, question({ shape: 's1', session: 'ses_2' })), true);
    b.clock.advance(15 * 60_000 - 1);
    assert.equal(await covered(b, question({ shape: 's1' })), true);
    const before = b.changes;
    b.clock.advance(1);
    assert.ok(b.changes > before, 'the list is said to have changed');
    assert.deepEqual(b.queue.grants(), []);
    assert.equal(await covered(b, question({ shape: 's1' })), false);
  });

  it('also answers what waits behind it', async () => {
    const { queue } = bench();
    const asked = ['a', 'b', 'c'].map((digest) => queue.ask(question({ shape: 's1', digest }), never));
    const other = queue.ask(question({ shape: 's2', digest: 'd' }), never);
    queue.answer(approve(queue.pending()[0]!, { what: 'shape', howLong: 'session' }), ada);
    assert.deepEqual(
      (await Promise.all(asked)).map((o) => [o.answer, o.why]),
      [
        ['approved', 'person'],
        ['approved', 'grant'],
        ['approved', 'grant'],
      ],
    );
    assert.deepEqual(
      queue.pending().map((p) => p.digest),
      ['d'],
    );
    queue.shutdown();
    await other;
  });
});

describe('a grant for a target', () => {
  it('lets the same effect on the same target through, and nothing that adds to it', async () => {
    const b = bench();
    await grant(b, question({ facts: facts({ sensitive: ['orders.note'] }) }), { what: 'target', howLong: '1h' });
    assert.equal(b.queue.grants()[0]?.covers, 'any write on orders');
    assert.equal(await covered(b, question({ digest: 'x', facts: facts({ verb: 'INSERT' }) })), true);
    const sql = { statement: 'UPDATE', where: true, functions: ['lo_import'], returned: [], predicates: [], written: [], session: false };
    for (const more of [
      facts({ effect: 'delete' }),
      facts({ effect: 'read' }),
      facts({ bulk: true }),
      facts({ targets: [] }),
      facts({
        targets: [
          { kind: 'table', name: 'orders' },
          { kind: 'table', name: 'customers' },
        ],
      }),
      facts({ targets: [{ kind: 'function', name: 'orders' }] }),
      facts({ sensitive: ['orders.card'] }),
      facts({ sql }),
      facts({ sql: { ...sql, functions: [], session: true } }),
    ]) {
      assert.equal(await covered(b, question({ digest: 'x', facts: more })), false, JSON.stringify(more));
    }
  });
});

describe('ending a grant', () => {
  it('names the sessions that it let through, and voids approvals that it gave but were not spent', async () => {
    const b = bench();
    const id = await grant(b, question({ shape: 's1' }), { what: 'shape', howLong: '1h' });
    const outcome = await b.queue.ask(question({ shape: 's1', session: 'ses_2' }), never);
    assert.equal(b.queue.endGrant(id), true);
    assert.deepEqual(b.cut, [['ses_1', 'ses_2']]);
    assert.equal(b.queue.spend(outcome.approval), false);
    assert.equal(b.queue.endGrant(id), false);
    assert.equal(await covered(b, question({ shape: 's1' })), false);
  });

  it('happens by itself when the policy changes or nobody is there to see it', async () => {
    for (const end of [(b: Bench) => b.queue.policyChanged('p2'), (b: Bench) => (b.queue.setAudience(0), b.clock.advance(NOBODY_GRACE_MS))]) {
      const b = bench();
      await grant(b, question({ shape: 's1' }), { what: 'shape', howLong: '1h' });
      end(b);
      assert.deepEqual(b.queue.grants(), []);
    }
  });
});
