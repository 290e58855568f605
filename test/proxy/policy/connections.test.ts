import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConnectionConfig } from '../../../proxy/policy/policy.ts';
import { good, user, warned, wrong } from './examples.ts';

const file = (connection: string) => user(`version: 1\nconnections:\n  it: ${connection}\n`);
const one = (connection: string): ConnectionConfig => {
  const config = good(file(connection)).connections.get('it');
  assert.ok(config);
  return config;
};
const postgres = (rest: string): string => `{ protocol: postgres, ${rest} }`;
const minting = (grants: string): string =>
  postgres(`upstream: "postgres://db/shop", user: a, credential: { mint: postgres-role, admin: "env:A", grants: { ${grants} } }`);
const mcp = (upstream: string): string => `{ protocol: mcp, upstream: ${upstream} }`;

describe('a PostgreSQL connection', () => {
  it('is read whole', () => {
    assert.deepEqual(
      one(
        postgres(
          'upstream: "postgres://app@db.internal:6543/shop", tls: { mode: verify-full, ca: /etc/ca.pem }, password: "secret:shop", port: 55432, sensitive: { customers.email: partial }',
        ),
      ),
      {
        name: 'it',
        protocol: 'postgres',
        via: 'local',
        upstream: { host: 'db.internal', port: 6543, database: 'shop', user: 'app' },
        tls: { mode: 'verify-full', ca: '/etc/ca.pem' },
        password: { from: 'secret', name: 'shop' },
        port: 55432,
        sensitive: new Map([['customers.email', 'partial']]),
      },
    );
  });

  it('names the edge that opens the way to it', () => {
    assert.equal(one(postgres('upstream: "postgres://db/shop", via: gateway, edge: plant-1')).edge, 'plant-1');
    assert.equal(one('{ protocol: mcp, via: gateway, edge: plant-1, upstream: { url: "https://mcp.example/" } }').edge, 'plant-1');
  });

  it('has a role made for each session where it says so', () => {
    const credential = (rest: string): unknown => {
      const config = one(postgres(`upstream: "postgres://owner@db/shop", credential: { mint: postgres-role, admin: "secret:shop-owner"${rest} }`));
      return config.protocol === 'postgres' && config.credential;
    };
    const admin = { from: 'secret', name: 'shop-owner' };
    assert.deepEqual(credential(''), { mint: 'postgres-role', admin, ttlMs: 900_000 });
    assert.deepEqual(credential(', ttl: 30s, grants: {}'), { mint: 'postgres-role', admin, ttlMs: 30_000, grants: new Map() });
    assert.deepEqual(credential(', grants: { orders: [select, update], "Billing.Cards": { select: [id, "Last 4"], update: [note], delete: all } }'), {
      mint: 'postgres-role',
      admin,
      ttlMs: 900_000,
      grants: new Map([
        [
          'public.orders',
          new Map([
            ['select', 'all'],
            ['update', 'all'],
          ]),
        ],
        [
          'Billing.Cards',
          new Map<string, unknown>([
            ['select', ['id', 'Last 4']],
            ['update', ['note']],
            ['delete', 'all'],
          ]),
        ],
      ]),
    });
  });

  it('is encrypted and checked unless it is on this machine', () => {
    const mode = (address: string): unknown => {
      const config = one(postgres(`upstream: "${address}"`));
      return config.protocol === 'postgres' && [config.upstream.host, config.tls.mode];
    };
    assert.deepEqual(mode('postgres://db/shop'), ['db', 'verify-full']);
    assert.deepEqual(mode('postgres://localhost/shop'), ['localhost', 'disable']);
    assert.deepEqual(mode('postgresql://127.0.0.1:5433/shop'), ['127.0.0.1', 'disable']);
    assert.deepEqual(mode('postgres://[::1]/shop'), ['::1', 'disable']);
    assert.deepEqual(mode('postgres://localhost.evil.example/shop'), ['localhost.evil.example', 'verify-full']);
  });

  it('holds no secret, and says where to put it instead', () => {
    assert.match(wrong(file(postgres('upstream: "postgres://u:hunter2@db/shop"')))[0] ?? '', /^3:39 Do not write a password into this file/);
    assert.match(wrong(file(postgres('upstream: "postgres://db/shop", password: hunter2')))[0] ?? '', /Do not write a secret.*`secret:NAME`/);
    for (const problem of [
      ...wrong(file(postgres('upstream: "postgres://u:hunter2@db/shop"'))),
      ...wrong(file(postgres('upstream: "postgres://db/s", password: hunter2'))),
    ]) {
      assert.doesNotMatch(problem, /hunter2/);
    }
  });

  it('is refused with a sentence where it cannot work', () => {
    const cases: [string, RegExp][] = [
      [postgres('upstream: db'), /not an address/],
      [postgres('upstream: "mysql://db/shop"'), /begins with `postgres:/],
      [postgres('upstream: "postgres://db"'), /does not name a database/],
      [postgres('upstream: "postgres:///shop"'), /cannot be read/],
      [postgres('upstream: "postgres://db/shop%00"'), /cannot be read/],
      [postgres('upstream: "postgres://db/%zz"'), /cannot be read/],
      [postgres('upstream: "postgres://db/shop?sslmode=disable"'), /Settings in the address.*`tls:`/],
      [postgres('upstream: "postgres://db/shop", tls: prefer'), /`tls` cannot be `prefer`/],
      [postgres('upstream: "postgres://db/shop", tls: { mode: require, ca: x }'), /only with `mode: verify-full`/],
      [postgres('upstream: "postgres://db/shop", password: "env:A B"'), /letters, digits and `_`/],
      [postgres('upstream: "postgres://db/shop", password: "file:relative"'), /whole path/],
      [postgres('upstream: "postgres://db/shop", port: 80'), /at least 1024/],
      [postgres('upstream: "postgres://db/shop", edge: plant'), /Edges belong to a gateway.*`via: gateway`/],
      [postgres('upstream: "postgres://db/shop", via: gateway, edge: "Plant 1"'), /An edge’s name/],
      [postgres('upstream: "postgres://db/shop", user: a, credential: { mint: role, admin: "env:A" }'), /`mint` cannot be `role`/],
      [postgres('upstream: "postgres://db/shop", user: a, credential: { mint: postgres-role }'), /`admin` is missing/],
      [postgres('upstream: "postgres://db/shop", user: a, credential: { mint: postgres-role, admin: hunter2 }'), /Do not write a secret/],
      [postgres('upstream: "postgres://db/shop", user: a, credential: { mint: postgres-role, admin: "env:A", ttl: 25h }'), /at most a day/],
      [
        postgres('upstream: "postgres://db/shop", user: a, password: "env:P", credential: { mint: postgres-role, admin: "env:A" }'),
        /no session logs in as `user`/,
      ],
      [postgres('upstream: "postgres://db/shop", credential: { mint: postgres-role, admin: "env:A" }'), /Say who creates the roles/],
      [minting('orders: [truncate]'), /cannot be `truncate`/],
      [minting('orders: []'), /cannot be empty/],
      [minting('orders: {}'), /grants nothing/],
      [minting('orders: { delete: [id] }'), /`delete` cannot be/],
      [minting('orders: { select: [] }'), /cannot be empty/],
      [minting('orders: { drop: all }'), /`drop` is not known here/],
      [minting('"*": [select]'), /without wildcards/],
      [minting('a.b.c: [select]'), /without wildcards/],
      [minting('orders: [select], public.orders: [update]'), /granted twice/],
      [postgres('upstream: "postgres://db/shop", sensitive: { email: redact }'), /`table.column`/],
      [postgres('upstream: "postgres://db/shop", sensitive: { "customers.*": redact }'), /without wildcards/],
      [postgres('upstream: "postgres://db/shop", sensitive: { customers.email: mask }'), /Here, say `redact`/],
      ['{ upstream: "postgres://db/shop" }', /does not say its `protocol`/],
      ['{ protocol: mysql }', /`protocol` cannot be `mysql`/],
      ['just text', /must be a mapping/],
    ];
    for (const [connection, expected] of cases) assert.match(wrong(file(connection)).join('\n'), expected, connection);
  });
});

describe('an MCP connection', () => {
  it('is a program or an address', () => {
    assert.deepEqual(one(mcp('{ command: [npx, -y, server], env: { TOKEN: "secret:github", MODE: fast }, cwd: /srv }')), {
      name: 'it',
      protocol: 'mcp',
      via: 'local',
      sensitive: new Map(),
      upstream: {
        transport: 'stdio',
        command: ['npx', '-y', 'server'],
        env: new Map<string, unknown>([
          ['TOKEN', { from: 'secret', name: 'github' }],
          ['MODE', 'fast'],
        ]),
        cwd: '/srv',
      },
    });
    const http = one(mcp('{ url: "https://mcp.example/x", headers: { Authorization: "env:MCP_TOKEN" } }'));
    assert.deepEqual(http.protocol === 'mcp' && http.upstream, {
      transport: 'http',
      url: 'https://mcp.example/x',
      headers: new Map([['Authorization', { from: 'env', name: 'MCP_TOKEN' }]]),
    });
  });

  it('is refused with a sentence where it cannot work', () => {
    const cases: [string, RegExp][] = [
      [mcp('{ command: npx }'), /`command` must be a list.*\[npx, -y, some-server\]/],
      [mcp('{ command: [] }'), /`command` cannot be empty/],
      [mcp('npx'), /`upstream` must be a mapping/],
      [mcp('{ url: "http://mcp.example/" }'), /reached by `https:/],
      [mcp('{ url: "https://u:p@mcp.example/" }'), /Do not write a login/],
      [mcp('{ url: "ftp://mcp.example/" }'), /reached by `https:/],
      [mcp('{ url: "https://mcp.example/", headers: { "A B": x } }'), /HTTP header/],
      [mcp('{ url: "https://mcp.example/", headers: { A: "x\\r\\nB: y" } }'), /line breaks/],
      [mcp('{ command: [a], env: { "A=B": x } }'), /letters, digits/],
      ['{ protocol: mcp, via: gateway, edge: plant, upstream: { command: [a] } }', /runs no program/],
      ['{ protocol: mcp, edge: plant, upstream: { url: "https://mcp.example/" } }', /Edges belong to a gateway/],
      ['{ protocol: mcp, upstream: { command: [a] }, sensitive: { a.b: redact } }', /columns of a database/],
    ];
    for (const [connection, expected] of cases) assert.match(wrong(file(connection)).join('\n'), expected, connection);
  });

  it('is warned about where it seems to hold a secret', () => {
    assert.match(warned(file(mcp('{ command: [a], env: { GITHUB_TOKEN: ghp_x } }')))[0] ?? '', /looks like a secret/);
    assert.deepEqual(warned(file(mcp('{ command: [a], env: { GITHUB_TOKEN: "secret:gh" } }'))), []);
  });
});
