import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { OperationDetail } from '../../../contract/control.ts';
import type { Facts } from '../../../contract/facts.ts';
import { ruleProposal } from '../../../proxy/daemon/ruleProposal.ts';
import { addRule } from '../../../proxy/policy/addRule.ts';
import { type LoadResult, loadPolicy, type PolicyLayer } from '../../../proxy/policy/load.ts';
import { type PolicyInForce, proposeRule } from '../../../proxy/policy/proposeRule.ts';
import { context, facts, mcpFacts, organisation, sqlFacts, tables, user, workspace } from './examples.ts';

const update = (over: Partial<Facts> = {}): Facts =>
  facts({ effect: 'write', verb: 'UPDATE', headline: 'UPDATE orders', sql: sqlFacts({ statement: 'UPDATE', where: true }), ...over });

function inForce(...layers: PolicyLayer[]): PolicyInForce {
  const loaded: LoadResult = loadPolicy(layers);
  if (!loaded.ok) throw new Error(loaded.problems[0]?.message);
  return { policy: loaded.policy, layers, user: 'user.yaml', gateway: false };
}

/** As it was asked under a policy. */
function asked(policy: PolicyInForce, of: Facts, over: Partial<OperationDetail['summary']> = {}, approval?: 'approved' | 'denied'): OperationDetail {
  const protocol = of.mcp ? 'mcp' : 'postgres';
  const verdict = policy.policy.decide(of, context({ protocol }));
  return {
    summary: {
      operation: 'op-1',
      session: 's',
      conversation: 'c',
      at: 1,
      actor: context().actor,
      connection: 'shop',
      protocol,
      headline: of.headline,
      effect: of.effect,
      decision: verdict.decision,
      rule: verdict.rule.id,
      outcome: approval === 'denied' ? 'denied' : 'done',
      masked: 0,
      ...over,
    },
    payload: '',
    params: [],
    facts: of,
    verdict,
    ...(approval && { approval: { answer: approval, why: 'person', waitedMs: 1 } }),
    verified: { ok: true, entries: 1, head: '' },
  };
}

describe('a rule that is proposed', () => {
  const bare = inForce();

  it('lets through what was asked, and nothing that is wider by a hair', () => {
    const proposed = proposeRule(bare, asked(bare, update()));
    assert.ok(proposed.ok);
    const loaded = loadPolicy([user(proposed.after)]);
    assert.ok(loaded.ok);
    const decision = (of: Facts, over = {}): string => loaded.policy.decide(of, context({ protocol: 'postgres', ...over })).decision;
    assert.equal(decision(update()), 'allow');
    assert.notEqual(decision(update({ bulk: true })), 'allow');
    assert.notEqual(decision(update({ sql: sqlFacts({ statement: 'UPDATE', where: false }) })), 'allow');
    assert.notEqual(decision(update({ sql: sqlFacts({ statement: 'INSERT', where: true }) })), 'allow');
    assert.notEqual(decision(update({ targets: tables('orders', 'customers') })), 'allow');
    assert.notEqual(decision(update({ sensitive: ['orders.card'] })), 'allow');
    assert.notEqual(decision(update({ effect: 'execute' })), 'allow');
    assert.notEqual(decision(update(), { connection: 'other' }), 'allow');
    assert.match(proposed.covers, /UPDATE of orders on shop with a condition \(WHERE\) without asking/);
  });

  it('says why it would not help, where something else would go on asking', () => {
    const why = (policy: PolicyInForce, of = update()): string => {
      const proposed = proposeRule(policy, asked(policy, of));
      return proposed.ok ? 'it helps' : proposed.why;
    };
    const text = 'version: 1\nrules: [{ id: mine, match: { effect: write }, verdict: ask }]\n';
    assert.match(why(inForce(user(text))), /The rule mine asks each time/);
    assert.match(why(inForce(organisation('version: 1\n'))), /organisation’s policy/);
    assert.match(why(inForce(user('version: 1\n'), workspace('version: 1\ndefaults: { write: ask }\n'))), /would go on asking/);
    assert.match(why(bare, facts({ effect: 'unknown', headline: 'x' })), /looked at each time/);
    assert.match(why(bare, update({ targets: tables('a*') })), /no name/);
    const tool = (secrets: string[]): Facts => facts({ effect: 'send', headline: 'create_issue', targets: [], mcp: mcpFacts({ secrets }) });
    assert.equal(why(bare, tool([])), 'it helps');
    assert.notEqual(why(bare, tool(['card'])), 'it helps');
  });

  it('never takes the id of a rule that is there: a guard of that id would be gone', () => {
    const text = 'version: 1\nrules:\n  - { id: allow-shop-update-orders, match: { connection: other }, verdict: deny }\n';
    const policy = inForce(user(text));
    const proposed = proposeRule(policy, asked(policy, update()));
    assert.ok(proposed.ok && proposed.rule.includes('id: allow-shop-update-orders-2'));
    assert.ok(proposed.after.startsWith(text));
    assert.equal(proposed.line, 4);
  });

  it('is held against what was recorded: what a person approved, what was denied, what needed no answer', async () => {
    const policy = inForce();
    const recorded = new Map<string, OperationDetail>(
      [
        asked(policy, update(), { operation: 'op-1' }, 'approved'),
        asked(policy, update(), { operation: 'op-2' }, 'approved'),
        asked(policy, update(), { operation: 'op-3' }, 'denied'),
        asked(policy, update({ bulk: true }), { operation: 'op-4' }, 'approved'),
        asked(policy, update(), { operation: 'op-5', connection: 'shop2' }, 'approved'),
      ].map((one) => [one.summary.operation, one]),
    );
    const record = {
      operations: () => ({ operations: [...recorded.values()].map(({ summary }) => summary), more: false }),
      operation: (id: string) => recorded.get(id) ?? null,
    };
    const proposal = await ruleProposal('op-1', policy, record);
    assert.ok(proposal?.helps);
    const { approved, denied, allowed, latest } = proposal.history;
    assert.deepEqual([approved, denied, allowed], [2, 1, 0]);
    assert.deepEqual(
      latest.map(({ operation, became }) => [operation, became]),
      [
        ['op-1', 'approved'],
        ['op-2', 'approved'],
        ['op-3', 'denied'],
      ],
    );
    assert.equal(await ruleProposal('gone', policy, record), null);
  });
});

describe('adding a rule to a file', () => {
  const rule = { id: 'x', match: { effect: 'write' }, verdict: 'allow' };
  const block = '  - id: x\n    match:\n      effect: write\n    verdict: allow\n';

  it('leaves every other character alone, however the rules are written', () => {
    const cases: readonly (readonly [string, string])[] = [
      ['', `version: 1\nrules:\n${block}`],
      ['version: 1 # mine', `version: 1 # mine\nrules:\n${block}`],
      ['version: 1\nrules: [] # none\nconnections: {}\n', `version: 1\nrules: # none\n${block}connections: {}\n`],
      ['version: 1\nrules:\nconnections: {}\n', `version: 1\nrules:\n${block}connections: {}\n`],
      [
        'version: 1\nrules:\n- { id: a, when: "true", verdict: ask }\n\n# about defaults\ndefaults: {}\n',
        `version: 1\nrules:\n- { id: a, when: "true", verdict: ask }\n${block.replaceAll(/^ {2}/gm, '')}\n# about defaults\ndefaults: {}\n`,
      ],
    ];
    for (const [before, after] of cases) assert.equal(addRule(before, rule)?.text, after, before);
  });

  it('adds nothing to what it does not understand', () => {
    for (const text of ['- a', 'version: 1\nrules: [{ id: a, verdict: ask }]\n', 'version: [', 'version: 1\nrules: 7\n'])
      assert.equal(addRule(text, rule), undefined, text);
  });
});
