import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Secret } from '../../../contract/secret.ts';
import type { Serving } from '../../../proxy/daemon/serving.ts';
import { surfaceAccess } from '../../../proxy/daemon/views.ts';
import type { ClientLogins } from '../../../proxy/identity/clients.ts';

const served = (name: string, via: 'local' | 'gateway', port: number): unknown => ({
  config: { name, via, protocol: 'postgres' },
  served: { environment: { host: '127.0.0.1', port, database: 'shop' } },
});

describe('what a window’s terminals are given', () => {
  const clients = { issueLogin: () => ({ user: 'window', password: new Secret('login') }) } as unknown as ClientLogins;
  const given = (...all: unknown[]): Record<string, string> =>
    surfaceAccess('window', { serving: { all } as unknown as Serving, clients, httpPort: undefined }).environment;

  it('points to this machine’s own database without a word, whatever the team shares and wherever it stands', () => {
    const environment = given(served('production', 'gateway', 2), served('shop', 'local', 1));
    assert.equal(environment.PGPORT, '1');
    assert.match(environment.COUNTERSIGN_DSN_PRODUCTION ?? '', /^postgres:\/\/window:login@127\.0\.0\.1:2\/shop$/);
    assert.match(environment.COUNTERSIGN_DSN_SHOP ?? '', /127\.0\.0\.1:1/);
  });

  it('points to a shared one where there is no other', () => {
    assert.equal(given(served('production', 'gateway', 2)).PGPORT, '2');
  });
});
