import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Conversations } from '../../gateway/conversations.ts';
import type { Principal } from '../../gateway/identity/principal.ts';

const person = (id: string): Principal => ({
  kind: 'person',
  id,
  person: { issuer: 'https://idp.example', subject: id, groups: [] },
  basis: `log_${id}`,
  expiresAt: 0,
  roles: ['developer'],
  authTime: 0,
  client: 'editor',
  via: 'bearer',
});
const agent = { kind: 'claude-code', name: 'Claude Code' } as const;

describe('what a conversation has read', () => {
  it('is not forgotten because somebody else names ever new ones', () => {
    const all = new Conversations();
    const { conversation } = all.identity(person('ada'), 'terminal', { agent, run: 'run' });
    conversation.sensitiveAnswer('orders', 'customers', ['email'], 1, 0);
    for (let i = 0; i < 21_000; i++) all.identity(person('eve'), 'terminal', { agent, run: `run-${i}` });
    assert.deepEqual(all.ownerOf(conversation.id), { person: 'ada', basis: 'log_ada' });
    assert.equal(all.identity(person('ada'), 'terminal', { agent, run: 'run' }).conversation, conversation);
  });

  it('is forgotten with what was unused longest of its own person, and nothing piles up', () => {
    const all = new Conversations();
    const first = all.identity(person('eve'), 'terminal', { agent, run: 'first' }).conversation;
    const used = all.identity(person('eve'), 'terminal', { agent, run: 'used' }).conversation;
    for (let i = 0; i < 1_100; i++) {
      all.identity(person('eve'), 'terminal', { agent, run: `run-${i}` });
      assert.equal(all.identity(person('eve'), 'terminal', { agent, run: 'used' }).conversation, used);
    }
    assert.throws(() => all.ownerOf(first.id), /nobody who is signed in/);
  });
});
