import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadPolicy, type PolicyLayer } from '../../../proxy/policy/load.ts';

function load(...texts: readonly string[]) {
  const layers = ['organisation', 'user', 'workspace'] as const;
  const result = loadPolicy(
    texts.map((text, i): PolicyLayer => ({ layer: layers[i] ?? 'workspace', file: `${layers[i]}.yaml`, text: `version: 1\n${text}`, trusted: true })),
  );
  assert.ok(result.ok, JSON.stringify(result));
  return { rules: result.policy.maskPlan('orders').tokens, warnings: result.warnings.map(({ message }) => message) };
}

const ORDERS = (tokens: string): string => `connections:
  orders: { protocol: postgres, upstream: 'postgres://localhost/orders', sensitive: { customers.email: token }, tokens: ${tokens} }`;
const LOWER = (tokens: string): string => `connections: { orders: { tokens: ${tokens} } }`;

describe('where a policy lets tokens come back', () => {
  it('is read with schemas filled in and connections named', () => {
    const { rules } = load(ORDERS('{ newsletter.address: [customers.email, crm/hr.people.mail, card], customers.ssn: off, Customers.Email: own }'));
    assert.deepEqual(rules === 'off' || [...(rules ?? [])], [
      ['public.newsletter.address', ['orders/public.customers.email', 'crm/hr.people.mail', 'orders/card']],
      ['public.customers.ssn', 'off'],
      ['public.customers.email', 'own'],
    ]);
    assert.equal(load(ORDERS('off')).rules, 'off');
  });

  it('is only taken away by a lower layer', () => {
    const above = ORDERS('{ newsletter.address: [customers.email, card], customers.email: off }');
    assert.deepEqual(load(above, LOWER('off')).rules, 'off');
    const narrowed = load(above, LOWER('{ newsletter.address: [card], customers.email: own, customers.ssn: off }'));
    assert.deepEqual(narrowed.warnings, []);
    assert.deepEqual(narrowed.rules === 'off' || [...(narrowed.rules ?? [])], [
      ['public.newsletter.address', ['orders/card']],
      ['public.customers.email', 'off'],
      ['public.customers.ssn', 'off'],
    ]);
    const widened = load(above, LOWER('{ newsletter.address: [card, customers.ssn], customers.phone: [customers.email] }'));
    assert.equal(widened.warnings.length, 2);
    assert.match(widened.warnings[0] ?? '', /can only take away/);
    assert.deepEqual(widened.rules, load(above).rules);
    assert.deepEqual(load(ORDERS('off'), LOWER('{ customers.email: own }')).rules, 'off');
    assert.deepEqual(
      load(above, LOWER('{ newsletter.address: off }'), LOWER('{ newsletter.address: own }')).rules,
      load(above, LOWER('{ newsletter.address: off }')).rules,
    );
  });

  it('names arguments on an MCP server, and says what cannot be read', () => {
    const text = (tokens: string): string =>
      `version: 1\nconnections: { mail: { protocol: mcp, upstream: { url: 'https://mail.example/mcp' }, tokens: ${tokens} } }`;
    const good = loadPolicy([{ layer: 'user', file: 'c.yaml', text: text('{ send_mail.to: [orders/customers.email] }') }]);
    assert.ok(good.ok);
    assert.deepEqual(good.policy.maskPlan('mail').tokens, new Map([['send_mail.to', ['orders/public.customers.email']]]));
    for (const tokens of ['on', '{ send_mail.to: orders/customers.email }', '{ send_mail.to: ["*"] }', '[send_mail.to]'])
      assert.equal(loadPolicy([{ layer: 'user', file: 'c.yaml', text: text(tokens) }]).ok, false, tokens);
  });
});
