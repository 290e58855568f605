import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ruleText } from '../../../webview/operation/ruleText.ts';
import { context, good, mcpFacts, user } from '../../proxy/policy/examples.ts';
import { detail, facts, verdict } from '../../support/fixtures.ts';

/** What the policy decides once the rule is pasted into it, and by which rule. */
function decided(of: Parameters<typeof detail>[0], asked = detail(of)): string {
  const policy = good(user(`version: 1\nrules:\n${ruleText(asked)}`));
  const { decision, rule } = policy.decide(asked.facts, context({ connection: asked.summary.connection, protocol: asked.facts.mcp ? 'mcp' : 'postgres' }));
  return `${decision} by ${rule.id}`;
}

describe('a rule made from an operation', () => {
  it('is one that the policy takes, and decides the operation as it was decided', () => {
    assert.equal(decided({ facts: facts(), verdict: verdict() }), 'ask by orders-update-orders');
    assert.equal(
      decided({ facts: facts({ bulk: true, effect: 'delete', headline: 'DELETE orders' }), verdict: verdict({ decision: 'deny' }) }).split(' ')[0],
      'deny',
    );
    const tool = facts({ effect: 'send', headline: 'create_issue', targets: [{ kind: 'tool', name: 'create_issue' }], mcp: mcpFacts() });
    assert.equal(decided({ facts: tool, verdict: verdict({ decision: 'deny' }) }), 'deny by orders-create-issue');
    const resource = facts({ effect: 'read', headline: 'Read memo://a', targets: [{ kind: 'resource', name: 'memo://a' }], mcp: mcpFacts({ tool: '' }) });
    assert.equal(decided({ facts: resource, verdict: verdict({ decision: 'deny' }) }), 'deny by orders-read-memo-a');
  });

  it('holds whatever names there are, as names: none of them is markup of the policy, or a pattern', () => {
    for (const name of ['yes', 'a"b', 'x: [y', '# z', 'line\nend', '{', 'שלום', '*', 'a'.repeat(300)]) {
      const of = { facts: facts({ targets: [{ kind: 'table', name }], headline: `UPDATE ${name}` }), verdict: verdict({ decision: 'deny' }) };
      assert.match(decided(of), /^deny by /, name);
    }
    // A table that is called `*` is no other table.
    const starred = detail({ facts: facts({ targets: [{ kind: 'table', name: 'a*' }] }), verdict: verdict({ decision: 'deny' }) });
    const policy = good(user(`version: 1\nrules:\n${ruleText(starred)}`));
    assert.equal(policy.decide(facts({ targets: [{ kind: 'table', name: 'accounts' }] }), context({ connection: 'orders' })).decision, 'ask');
  });

  it('allows nothing that it cannot name', () => {
    const asked = detail({ facts: facts({ effect: 'write', targets: [] }), verdict: verdict({ decision: 'allow' }) });
    assert.match(ruleText(asked), /verdict: ask/);
  });
});
