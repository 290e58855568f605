import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { stringify } from 'yaml';
import { EFFECTS, type Facts } from '../../../contract/facts.ts';
import { DECISIONS, MASK_KINDS, Verdict } from '../../../contract/verdict.ts';
import { BUILTIN_POLICY } from '../../../proxy/policy/builtin.ts';
import { loadPolicy, type PolicyLayer } from '../../../proxy/policy/load.ts';
import type { DecisionContext } from '../../../proxy/policy/policy.ts';
import { context, facts, mcpFacts, sqlFacts } from './examples.ts';

const names = fc.constantFrom('orders', 'customers', 'billing.invoices', 'Orders', 'pg_stats');
const patterns = fc.constantFrom('orders', 'customers', '*', 'o*', 'billing.*', 'public.*', 'ORDERS', '?rders');
const decision = fc.constantFrom(...DECISIONS);
const few = <T>(item: fc.Arbitrary<T>) => fc.array(item, { minLength: 1, maxLength: 3 });

const match = fc.record(
  {
    effect: few(fc.constantFrom(...EFFECTS)),
    target: few(patterns),
    bulk: fc.boolean(),
    connection: fc.constantFrom('shop', 's*', 'other'),
    sensitive: fc.oneof(fc.boolean(), few(fc.constantFrom('customers.*', 'orders.note'))),
    group: fc.constantFrom('dev', 'dba'),
    sql: fc.record({ where: fc.boolean(), predicates: fc.boolean() }, { requiredKeys: ['where'] }),
    mcp: fc.record({ tool: fc.constantFrom('create_*', '*'), args: fc.constant({ '*': 'a+' }) }, { requiredKeys: ['tool'] }),
  },
  { requiredKeys: [] },
);
const when = fc.constantFrom(
  'op.bulk',
  'op.effect == "write"',
  'mcp.args.path == "a"',
  '!sql.where',
  'conversation.read.exists(t, t.sensitive)',
  'op.targets.all(t, t.name != "orders")',
  '"dev" in actor.person.groups',
);
const terms = fc.record(
  {
    approvers: few(fc.constantFrom('requester', 'group:dba', 'user:bob')),
    expires: fc.constantFrom('10s', '5m', '2h'),
    preview: fc.constantFrom('none', 'dry-run'),
  },
  { requiredKeys: [] },
);
const rule = fc
  .record({ match: fc.option(match, { nil: undefined }), when: fc.option(when, { nil: undefined }), verdict: decision, terms })
  .map(({ match, when, verdict, terms }) => ({
    ...(match && Object.keys(match).length > 0 && { match }),
    ...(when !== undefined && { when }),
    ...(!(match && Object.keys(match).length > 0) && when === undefined && { when: 'true' }),
    verdict,
    ...(verdict === 'ask' && terms),
  }));
const file = fc
  .record({
    defaults: fc.dictionary(fc.constantFrom(...EFFECTS), decision),
    mask: fc.option(fc.constantFrom(...MASK_KINDS), { nil: undefined }),
    detectors: fc.dictionary(fc.constantFrom('email', 'card', 'phone', 'jwt'), fc.constantFrom(...MASK_KINDS, 'off')),
    rules: fc.array(rule, { maxLength: 6 }),
    sensitive: fc.dictionary(fc.constantFrom('customers.email', 'public.customers.email', 'orders.note'), fc.constantFrom(...MASK_KINDS)),
  })
  .map(({ defaults, mask, detectors, rules, sensitive }) => ({
    version: 1,
    defaults: { ...defaults, ...(mask && { mask }), detectors },
    rules: rules.map((one, i) => ({ id: `r${i}`, ...one })),
    sensitive,
  }));

const operation: fc.Arbitrary<Facts> = fc
  .record({
    effect: fc.constantFrom(...EFFECTS),
    targets: fc.array(names, { maxLength: 3 }),
    bulk: fc.boolean(),
    sensitive: fc.subarray(['customers.email', 'orders.note']),
    verb: fc.constantFrom('UPDATE', 'INSERT', 'tools/call'),
    kind: fc.constantFrom('sql', 'mcp', 'none'),
    flag: fc.boolean(),
  })
  .map(({ kind, flag, targets, ...rest }) =>
    facts({
      ...rest,
      targets: targets.map((name) => ({ kind: 'table', name })),
      ...(kind === 'sql' && { sql: sqlFacts({ where: flag, predicates: rest.sensitive }) }),
      ...(kind === 'mcp' && { mcp: mcpFacts({ args: flag ? { path: 'a' } : {} }) }),
    }),
  );
const where: fc.Arbitrary<DecisionContext> = fc
  .boolean()
  .map((read) => context(read ? { conversationRead: [{ target: 'shop/customers', sensitive: true }] } : {}));

const asText = ({ sensitive, ...rest }: { sensitive: Record<string, string> } & Record<string, unknown>, full: boolean): string =>
  stringify(
    {
      ...rest,
      connections: {
        shop: {
          ...(full && { protocol: 'postgres', upstream: 'postgres://localhost/shop' }),
          ...((full || Object.keys(sensitive).length > 0) && { sensitive }),
        },
      },
    },
    { aliasDuplicateObjects: false },
  );
const ASKED = ['off', 'partial', 'hash', 'token', 'redact'];

describe('adding a lower layer', () => {
  it('never makes a verdict or a mask milder', () => {
    fc.assert(
      fc.property(
        fc.option(file, { nil: undefined }),
        file,
        fc.boolean(),
        fc.array(fc.tuple(operation, where), { minLength: 5, maxLength: 20 }),
        (upper, lower, asUser, operations) => {
          const above: PolicyLayer[] = upper ? [{ layer: asUser ? 'organisation' : 'user', file: 'above', text: asText(upper, true) }] : [];
          const below: PolicyLayer = {
            layer: upper && asUser ? 'user' : 'workspace',
            file: 'below',
            text: asText(Object.keys(lower.sensitive).length > 0 ? lower : { ...lower, sensitive: { 'a.b': 'redact' } }, false),
            trusted: true,
          };
          const before = loadPolicy(above);
          const after = loadPolicy([...above, below]);
          assert.ok(before.ok && after.ok, JSON.stringify([before, after]));
          for (const [one, given] of operations) {
            const a = before.policy.decide(one, given);
            const b = after.policy.decide(one, given);
            Verdict.parse(b);
            assert.ok(DECISIONS.indexOf(b.decision) >= DECISIONS.indexOf(a.decision), `${a.decision} by ${a.rule.id} became ${b.decision} by ${b.rule.id}`);
            if (a.decision !== 'ask' || b.decision !== 'ask') continue;
            assert.ok(
              b.approvers.every((who) => a.approvers.includes(who)),
              `approvers ${a.approvers.join()} became ${b.approvers.join()}`,
            );
            assert.ok(b.expiresMs <= a.expiresMs);
            assert.ok(a.preview === 'dry-run' || b.preview === 'none');
          }
          const planBefore = before.policy.maskPlan('shop');
          const planAfter = after.policy.maskPlan('shop');
          for (const [column, mask] of planBefore.columns) assert.ok(ASKED.indexOf(planAfter.columns.get(column) ?? 'off') >= ASKED.indexOf(mask));
          for (const id of ['email', 'card', 'phone', 'jwt', 'secret']) {
            const rank = (plan: typeof planBefore): number => ASKED.indexOf(plan.detectors.get(id) ?? plan.otherwise);
            assert.ok(rank(planAfter) >= rank(planBefore), id);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('leaves a policy that explains what it decides', () => {
    fc.assert(
      fc.property(file, operation, where, (upper, one, given) => {
        const result = loadPolicy([{ layer: 'user', file: 'user', text: asText(upper, true) }]);
        assert.ok(result.ok);
        const { verdict, rules } = result.policy.explain(one, given);
        assert.deepEqual(verdict, result.policy.decide(one, given));
        assert.ok(rules.some((rule) => rule.ref === verdict.rule && rule.matched !== 'no'));
      }),
    );
  });
});

describe('reading', () => {
  const layers = (text: string): PolicyLayer[] => [
    { layer: 'user', file: 'u', text },
    { layer: 'workspace', file: 'w', text, trusted: false },
  ];

  it('never throws, whatever the text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void loadPolicy(layers(text))));
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'ab:{}[],-|>\n "\'#&*!%@`?\t1'.split('')), maxLength: 200 }), (text) => void loadPolicy(layers(text))),
    );
  });

  it('never throws, whatever the data', () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        (value) => void loadPolicy(layers(JSON.stringify({ version: 1, ...(typeof value === 'object' && !Array.isArray(value) && value) }))),
      ),
    );
    const keys = fc.constantFrom(
      'version',
      'rules',
      'connections',
      'defaults',
      'match',
      'when',
      'id',
      'verdict',
      'upstream',
      'protocol',
      'sensitive',
      'mcp',
      'args',
      'sql',
      '__proto__',
      'constructor',
      'toString',
    );
    const values = fc.oneof(
      fc.constantFrom('postgres', 'mcp', 'ask', 'deny', 'secret:', 'env:=', 'file:x', 'op.bulk', 'postgres://%', 'http://[', '', null, 1, true),
      fc.string(),
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof({ maxDepth: 5 }, values, fc.dictionary(keys, tie('tree'), { maxKeys: 5 }), fc.array(tie('tree'), { maxLength: 3 })),
    }));
    fc.assert(
      fc.property(fc.dictionary(keys, tree), (value) => void loadPolicy(layers(JSON.stringify({ ...value, version: 1 })))),
      { numRuns: 500 },
    );
  });

  it('never throws on a good file with a piece cut out or doubled, and places every problem within it', () => {
    fc.assert(
      fc.property(fc.nat(BUILTIN_POLICY.length), fc.nat(40), fc.boolean(), (from, length, double) => {
        const piece = BUILTIN_POLICY.slice(from, from + length);
        const text = `${BUILTIN_POLICY.slice(0, from)}${double ? piece + piece : ''}${BUILTIN_POLICY.slice(from + length)}`;
        const result = loadPolicy([{ layer: 'user', file: 'u', text }]);
        const lines = text.split('\n');
        for (const problem of [...(result.ok ? [] : result.problems), ...result.warnings]) {
          assert.ok(problem.line <= lines.length && problem.column <= (lines[problem.line - 1]?.length ?? 0) + 1, JSON.stringify(problem));
          assert.ok(problem.message.length > 10);
        }
      }),
      { numRuns: 300 },
    );
  });
});
