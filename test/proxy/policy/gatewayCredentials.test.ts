import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { McpConnection, PostgresConnection } from '../../../proxy/policy/policy.ts';
import { good, user, wrong } from './examples.ts';

const file = (connection: string) => user(`version: 1\nconnections:\n  it: ${connection}\n`);
const one = (connection: string) => good(file(connection)).connections.get('it');
const ROLE = 'arn:aws:iam::123456789012:role/orders';
const rds = (credential: string, more = 'user: app, via: gateway', host = 'shop.abc.eu-central-1.rds.amazonaws.com'): string =>
  `{ protocol: postgres, upstream: "postgres://${host}/shop", ${more}, credential: { aws: ${credential} } }`;
const mcp = (exchange: string, more = 'via: gateway', headers = ''): string =>
  `{ protocol: mcp, ${more}, upstream: { url: "https://mcp.example/mcp", ${headers} exchange: ${exchange} } }`;
const GOOD = '{ issuer: "https://as.example", client-id: gw, client-secret: "secret:as", audience: issues, scopes: ["issues:read"] }';

describe('a login by a role of AWS', () => {
  it('is read whole, with the region of the database’s own address', () => {
    const { credential } = one(rds(`{ role: "${ROLE}", external-id: team-42, tags: true, ttl: 1h }`)) as PostgresConnection;
    assert.deepEqual(credential, {
      lease: 'aws-rds',
      connection: 'it',
      host: 'shop.abc.eu-central-1.rds.amazonaws.com',
      port: 5432,
      user: 'app',
      region: 'eu-central-1',
      role: ROLE,
      ttlMs: 3_600_000,
      tags: true,
      externalId: 'team-42',
    });
  });

  it('needs a gateway, a region, a user, encryption, and a time that AWS lends for', () => {
    const whole = `{ role: "${ROLE}" }`;
    assert.match(wrong(file(rds(whole, 'user: app'))).join('\n'), /Only a gateway gets logins from AWS/);
    assert.match(wrong(file(rds(whole, 'user: app, via: gateway', 'db.internal'))).join('\n'), /Say in which `region`/);
    assert.match(wrong(file(rds(whole, 'via: gateway'))).join('\n'), /add `user: NAME`/);
    assert.match(wrong(file(rds(whole, 'user: app, via: gateway, tls: disable'))).join('\n'), /must be encrypted/);
    assert.match(wrong(file(rds(`{ role: "${ROLE}", ttl: 5m }`))).join('\n'), /`15m` to `12h`/);
    assert.match(wrong(file(rds('{ role: orders }'))).join('\n'), /Write the role’s ARN/);
  });
});

describe('a token that is exchanged for each person', () => {
  it('is read whole', () => {
    const { upstream } = one(mcp(GOOD)) as McpConnection;
    assert.ok(upstream.transport === 'http');
    assert.deepEqual(upstream.exchange, {
      issuer: 'https://as.example',
      client: { id: 'gw', secret: { from: 'secret', name: 'as' } },
      audience: 'issues',
      scopes: ['issues:read'],
      as: 'person',
    });
  });

  it('needs a gateway, an address that nobody can listen to, a secret that is elsewhere, and no second login', () => {
    assert.match(wrong(file(mcp(GOOD, 'via: local'))).join('\n'), /Only a gateway can vouch/);
    assert.match(wrong(file(mcp('{ issuer: "http://as.example", client-id: gw }'))).join('\n'), /`https:\/\/` address/);
    assert.match(wrong(file(mcp('{ issuer: "https://as.example", client-id: gw, client-secret: hunter2 }'))).join('\n'), /Do not write the secret/);
    assert.match(wrong(file(mcp(GOOD, 'via: gateway', 'headers: { authorization: "secret:x" },'))).join('\n'), /one login for a server/);
  });
});
