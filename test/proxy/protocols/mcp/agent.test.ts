import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { Actor } from '../../../../contract/actor.ts';
import { actorOf, clientInfoOf } from '../../../../proxy/protocols/mcp/agent.ts';
import type { ClientIdentity } from '../../../../proxy/protocols/protocol.ts';

const identity = {
  actor: { person: { issuer: 'local', subject: 'ada', groups: [] }, agent: { kind: 'terminal', name: 'a terminal' } },
} as unknown as ClientIdentity;
const named = (info: unknown): string => actorOf(identity, clientInfoOf(info)).agent.name;

describe('what a client says of itself', () => {
  it('never is another person, whatever it brings along', () => {
    const forged = { name: 'Cursor', version: '1', person: { issuer: 'idp', subject: 'root', groups: ['admins'] }, agent: { kind: 'codex', name: 'x' } };
    assert.deepEqual(actorOf(identity, clientInfoOf(forged)), {
      person: identity.actor.person,
      agent: { kind: 'cursor', name: 'Cursor', version: '1' },
    });
  });

  it('is one line of what can be seen: no line ends, escapes or direction marks', () => {
    assert.equal(named({ name: 'Cursor\r\nAPPROVED by ada\u001b[2K' }), 'Cursor APPROVED by ada [2K');
    assert.equal(named({ name: '\u202Eedoc\u202C \u200Bx\ud800' }), 'edoc x');
    assert.equal(named({ name: '\u0007\u200B' }), 'a terminal');
  });

  it('is capped and typed, for any value', () => {
    const info = fc.oneof(
      fc.anything(),
      fc.record({ name: fc.string({ maxLength: 1000, unit: 'binary' }), version: fc.string({ maxLength: 1000, unit: 'binary' }) }),
    );
    fc.assert(
      fc.property(info, (value) => {
        const { agent } = Actor.parse(actorOf(identity, clientInfoOf(value)));
        assert.doesNotMatch(agent.name + (agent.version ?? ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      }),
    );
  });
});
