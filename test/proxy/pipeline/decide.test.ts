import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Facts } from '../../../contract/facts.ts';
import type { Decision, Verdict } from '../../../contract/verdict.ts';
import { Conversation } from '../../../proxy/pipeline/conversation.ts';
import { decide } from '../../../proxy/pipeline/decide.ts';
import type { Operation } from '../../../proxy/pipeline/operation.ts';
import type { Session } from '../../../proxy/pipeline/session.ts';
import type { Policy } from '../../../proxy/policy/policy.ts';

const facts: Facts = { effect: 'read', verb: 'SELECT', targets: [], bulk: false, sensitive: [], headline: 'SELECT', notes: [] };
const operation = (parts: Operation['parts']): Operation => ({ parts }) as unknown as Operation;
const session = (): Session =>
  ({ request: { actor: {}, connection: 'c', protocol: 'p', surface: 's', conversation: new Conversation('con') } }) as unknown as Session;

function policyOf(decision: Decision, cacheable: boolean): { policy: Policy; asked: () => number } {
  let asked = 0;
  const verdict: Verdict = {
    decision,
    rule: { id: 'r', layer: 'user' },
    because: '',
    policyVersion: 'v',
    approvers: [],
    quorum: 1,
    expiresMs: 1,
    preview: 'none',
  };
  const policy = { cacheable: (_protocol: string, effect: string) => cacheable && effect === 'read', decide: () => (asked++, verdict) } as unknown as Policy;
  return { policy, asked: () => asked };
}

it('uses a verdict again for the same facts of the same session, where no rule looks at anything else', () => {
  const { asked, policy } = policyOf('allow', true);
  const one = session();
  const parts: Operation['parts'] = [facts];
  for (let i = 0; i < 3; i++) assert.equal(decide(policy, one, operation(parts)).decision, 'allow');
  assert.equal(asked(), 1);
  decide(policy, session(), operation(parts));
  decide(policy, one, operation([facts]));
  assert.equal(asked(), 3, 'another session, and another list of facts, are decided anew');
});

it('forgets verdicts with the policy that gave them', () => {
  const one = session();
  const parts: Operation['parts'] = [facts];
  assert.equal(decide(policyOf('allow', true).policy, one, operation(parts)).decision, 'allow');
  assert.equal(decide(policyOf('deny', true).policy, one, operation(parts)).decision, 'deny');
});

it('decides each time where a rule may look at the conversation or at arguments', () => {
  const { asked, policy } = policyOf('allow', false);
  const one = session();
  const parts: Operation['parts'] = [facts];
  for (let i = 0; i < 3; i++) decide(policy, one, operation(parts));
  assert.equal(asked(), 3);
});

it('decides each time where one part of several has an effect that may not be kept', () => {
  const { asked, policy } = policyOf('allow', true);
  const one = session();
  const parts: Operation['parts'] = [facts, { ...facts, effect: 'write' }];
  for (let i = 0; i < 3; i++) decide(policy, one, operation(parts));
  assert.equal(asked(), 6);
});
