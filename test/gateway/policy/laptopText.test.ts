import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { laptopText } from '../../../gateway/policy/laptopText.ts';
import { loadPolicy } from '../../../proxy/policy/load.ts';

const TEXT = `version: 1
defaults: { write: ask, detectors: { email: partial } }
connections:
  orders:
    protocol: postgres
    via: gateway
    upstream: postgres://app@db.internal:5432/orders?
    user: app_owner
    credential: { mint: postgres-role, admin: secret:orders-owner, grants: { customers: [select] } }
    sensitive: { customers.email: partial }
    tls: { mode: verify-full, ca: /etc/inside/ca.pem }
  leased: { protocol: postgres, via: gateway, upstream: postgres://lease.internal/leased, credential: { vault: database/creds/leased } }
  tickets:
    protocol: mcp
    via: gateway
    upstream: { url: https://tickets.internal/mcp, headers: { Authorization: secret:tickets } }
  scratch: { protocol: postgres, upstream: postgres://scratch.internal/scratch, password: env:SCRATCH, sensitive: { people.ssn: redact } }
  files: { protocol: mcp, upstream: { command: [files-mcp, secret:files] }, pin: ask, hints: believe, share: person }
rules:
  - { id: refunds, match: { connection: orders, effect: write }, verdict: ask, approvers: 'group:payments' }
  - { id: both, match: { connection: [orders, tickets], effect: delete }, verdict: ask, approvers: 'group:payments-leads' }
  - { id: any-order, match: { connection: 'order*', effect: schema }, verdict: deny }
  - { id: scratch-and-orders, match: { connection: [orders, scratch], effect: schema }, verdict: deny }
  - { id: everywhere, match: { effect: admin }, verdict: ask, approvers: 'group:dba', min: 2, fresh-login: true }
  - { id: by-condition, when: 'connection.name == "orders" && op.effect == "send"', verdict: deny }
`.replace('orders?', 'orders');

describe('the policy as it is cut for laptops', () => {
  it('holds no address, no login, no program, no file, and no rule that only the gateway enforces', () => {
    const cut = laptopText(TEXT);
    for (const secret of [
      'internal',
      'secret:',
      'env:',
      'app_owner',
      'orders-owner',
      'grants',
      'vault',
      'creds',
      'files-mcp',
      'command',
      'ca.pem',
      'Authorization',
      'payments',
      'believe',
      'share',
    ])
      assert.ok(!cut.includes(secret), `${secret} in\n${cut}`);
  });

  it('holds every rule that may speak of a laptop’s own connection, masks, and the names of what is shared', () => {
    const loaded = loadPolicy([
      { layer: 'organisation', file: 'cut', text: laptopText(TEXT), signed: { person: { issuer: 'x', subject: 'ada', groups: [] } } },
    ]);
    assert.ok(loaded.ok, JSON.stringify(loaded));
    const { rules, connections } = loaded.policy;
    assert.deepEqual(
      rules.filter(({ ref }) => ref.layer === 'organisation').map(({ ref }) => ref.id),
      ['any-order', 'scratch-and-orders', 'everywhere', 'by-condition'],
    );
    assert.deepEqual(
      [...connections.values()].map(({ name, via }) => [name, via]),
      [
        ['orders', 'gateway'],
        ['leased', 'gateway'],
        ['tickets', 'gateway'],
      ],
    );
    const orders = connections.get('orders');
    assert.ok(orders?.protocol === 'postgres');
    assert.deepEqual([orders.upstream.database, orders.sensitive.get('customers.email')], ['orders', 'partial']);
    assert.deepEqual(loaded.warnings, []);
  });

  it('names no shared connection to whoever may not use it', () => {
    const cut = laptopText(TEXT, ['tickets']);
    assert.match(cut, /tickets/);
    assert.doesNotMatch(cut, /leased/);
    assert.match(laptopText(TEXT, []), /scratch/);
  });

  it('is the same policy when it is cut again', () => {
    assert.equal(laptopText(laptopText(TEXT)), laptopText(TEXT));
  });
});
