import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Secret } from '../../../contract/secret.ts';
import type { EdgeTarget } from '../../../contract/tunnel.ts';
import { Allowed, allowRule } from '../../../gateway/edge/process/allow.ts';
import { Dials } from '../../../gateway/edge/process/dials.ts';
import type { Edge } from '../../../gateway/edge/process/edge.ts';
import { Uplink } from '../../../proxy/uplink/uplink.ts';
import { soon } from '../../support/soon.ts';
import { type Client as Person, type Stage, stage } from '../stage.ts';
import { quiet } from '../stores.ts';
import { listen } from '../tunnel/network.ts';
import { endOf, testTunnel, testUplink } from '../tunnel/tunnels.ts';
import { assertion, bring, type Keys, newKeys, startEdge } from './edges.ts';

/** Counts who connects: what an edge must not be led to, or may. */
async function counted(): Promise<{ readonly port: number; readonly connections: () => number; readonly server: Server }> {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.on('error', () => {});
    socket.end('hello');
  });
  return { server, port: await listen(server), connections: () => connections };
}

describe('an edge', () => {
  let on: Stage;
  let root: Person;
  let inside: Awaited<ReturnType<typeof counted>>;
  let edge: Edge;
  /** An attacker who has a key of the edge `other`. */
  let other: Keys;
  const uplinks: Uplink[] = [];
  /** Why the gateway has broken tunnels off. */
  const broken: string[] = [];

  const token = async (name: string): Promise<string> => {
    const { body, status } = await root.call('POST', '/v1/edges', { name });
    assert.equal(status, 200, JSON.stringify(body));
    return body.token as string;
  };
  const views = async (): Promise<{ name: string; state: string; keys: { id: string; revokedAt?: number }[]; processes: unknown[] }[]> =>
    (await root.call('GET', '/v1/edges')).body.edges as never;
  const connected = (name: string): number => on.gateways[0]!.edgeLinks.all.filter((link) => link.edge === name).length;
  /** Opens a tunnel with a bearer token, and says hello as an edge of that name. */
  const come = (bearer: () => Promise<string>, name: string | undefined, onStream = (): void => {}): Uplink => {
    const uplink = new Uplink({
      url: new URL(on.url),
      token: async () => ({ token: new Secret(await bearer()), expiresAt: Date.now() + 3_600_000 }),
      version: '1.2.3',
      env: {},
      clock: { now: () => Date.now() },
      log: quiet,
      random: Math.random,
      changed: () => {},
      ...(name !== undefined && { edge: { name, onStream, heard: () => {} } }),
    });
    uplinks.push(uplink);
    uplink.start();
    return uplink;
  };

  before(async () => {
    on = await stage({ log: { ...quiet, warn: (event, fields) => void (event === 'tunnel.broken' && broken.push(String(fields?.why))) } });
    root = await on.signIn('root');
    inside = await counted();
    edge = await startEdge({ gateway: on.url, token: await token('plant'), allow: [`127.0.0.1:${inside.port}`] });
    other = newKeys();
    assert.equal((await bring(on.url, await token('other'), other)).status, 200);
    const text = `version: 1
connections:
  shop: { protocol: postgres, via: gateway, edge: plant, upstream: 'postgres://app@127.0.0.1:${inside.port}/shop', tls: disable }
`;
    assert.equal((await root.call('PUT', '/v1/policy', { text, comment: 'behind an edge', over: 0 })).status, 200);
    await soon(() => assert.equal(edge.notReady, undefined));
  });

  after(async () => {
    for (const uplink of uplinks) await uplink.stop('the test is over');
    await edge.stop('the test is over');
    inside.server.close();
    await on.stop();
  });

  it('proves itself by its own key, once a time, and nobody else is taken for it', async () => {
    const stranger = newKeys();
    const good = await assertion(on.url, other);
    const claims = JSON.parse(Buffer.from(good.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>;
    const b64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const hs256 = `${b64({ alg: 'HS256', kid: other.id, typ: 'edge+jwt' })}.${b64(claims)}`;
    const publicPem = other.publicKey.export({ type: 'spki', format: 'pem' });
    const now = Math.floor(Date.now() / 1000);
    const bad: Record<string, string> = {
      'a key that nobody has let in': await assertion(on.url, stranger),
      'another key under its name': await assertion(on.url, { ...stranger, id: other.id }),
      'for another gateway': await assertion('https://other.example', other),
      'of another type': await assertion(on.url, other, {}, { typ: 'at+jwt' }),
      expired: await assertion(on.url, other, { iat: now - 200, exp: now - 140 }),
      'for a day': await assertion(on.url, other, { exp: now + 86_400 }),
      'by somebody else': await assertion(on.url, other, { sub: stranger.id }),
      'without a name of its own': await assertion(on.url, other, { jti: undefined }),
      unsigned: `${b64({ alg: 'none', kid: other.id, typ: 'edge+jwt' })}.${b64(claims)}.`,
      'with the public key as a secret': `${hs256}.${createHmac('sha256', publicPem).update(hs256).digest('base64url')}`,
    };
    for (const [what, bearer] of Object.entries(bad)) {
      const uplink = come(async () => bearer, 'other');
      await soon(() => assert.equal(uplink.state.state, 'signed-out', what));
    }
    assert.equal(connected('other'), 0);
    const first = come(async () => good, 'other');
    await soon(() => assert.equal(first.state.state, 'ready'));
    // What was seen on the way is worth nothing afterwards.
    const replayed = come(async () => good, 'other');
    await soon(() => assert.match(JSON.stringify(replayed.state), /used before/));
    assert.equal(connected('other'), 1);
    await first.stop('done');
    // And it opens a tunnel, and nothing of the API.
    assert.equal((await on.client(await assertion(on.url, other)).call('GET', '/v1/me')).status, 401);
    assert.equal((await on.client(await assertion(on.url, other)).call('GET', '/v1/edges')).status, 401);
  });

  it('joins with a token once: a stolen one is of no use afterwards, and says that it was tried', async () => {
    const join = await token('third');
    const mine = newKeys();
    const thief = newKeys();
    assert.equal((await bring(on.url, join, newKeys(), thief)).status, 401, 'a key that whoever brings it does not hold');
    assert.equal((await bring(on.url, join, other)).status, 401, 'a key that is another edge’s');
    assert.equal((await bring(on.url, join, mine)).body.edge, 'third');
    assert.equal((await bring(on.url, join, mine)).body.edge, 'third', 'the answer was lost: the same key may ask again');
    const stolen = await bring(on.url, join, thief);
    assert.equal(stolen.status, 401);
    assert.match(stolen.body.sentence ?? '', /used already, by another key/);
    const olga = await on.signIn('olga');
    const { body } = await olga.call('GET', '/v1/audit?chain=gateway&limit=1000');
    assert.match(JSON.stringify(body), /edge\.token-used-again/);
    assert.ok(!JSON.stringify(body).includes(join), 'a token stands nowhere');
    const late = await token('third');
    await on.gateways[0]!.db.query('UPDATE edge_tokens SET expires_at = ms() - 1 WHERE used_at IS NULL');
    assert.match((await bring(on.url, late, thief)).body.sentence ?? '', /run out/);
    assert.equal((await bring(on.url, `csjoin_${randomBytes(32).toString('base64url')}`, thief)).status, 401);
    assert.equal((await views()).find(({ name }) => name === 'third')?.keys.length, 1);
  });

  it('guesses no token: who tries too often is sent away', async () => {
    // The limit is per address and shared with other proofs: what is left of it is used up here.
    let status = 0;
    for (let i = 0; i < 40 && status !== 429; i++) status = (await bring(on.url, 'csjoin_guess', newKeys())).status;
    assert.equal(status, 429);
    await on.gateways[0]!.db.query("DELETE FROM rate_limits WHERE key LIKE 'badProof%'");
  });

  it('serves as itself alone, and asks for nothing', async () => {
    const asPlant = come(async () => await assertion(on.url, other), 'plant');
    await soon(() => assert.match(JSON.stringify(asPlant.state), /for the edge other alone/));
    const asPerson = come(async () => await assertion(on.url, other), undefined);
    await soon(() => assert.match(JSON.stringify(asPerson.state), /for the edge other alone/));
    const ada = await on.signIn('ada');
    const asEdge = come(async () => ada.token, 'plant');
    await soon(() => assert.match(JSON.stringify(asEdge.state), /not an edge’s/));
    // A stream that an edge opens ends its link: the gateway asks, the edge does not.
    const asking = come(async () => await assertion(on.url, other), 'other');
    await soon(() => assert.equal(asking.state.state, 'ready'));
    const stream = asking.open({ connection: 'shop', kind: 'bytes', surface: 'terminal', agent: { kind: 'script', name: 'x' }, conversation: 'x' });
    await endOf(stream);
    assert.ok(broken.includes('a stream opened by a side that may open none'), broken.join());
    await asking.stop('done');
    assert.equal(on.gateways[0]!.core.sessions.size, 0);
  });

  it('is out of reach for a laptop: no opening leads past the gateway’s engine', async () => {
    const ada = await on.signIn('ada');
    const before = inside.connections();
    for (const opening of [
      { kind: 'dial', connection: 'shop', host: '127.0.0.1', port: inside.port },
      { kind: 'dial', connection: 'shop', host: '127.0.0.1', port: inside.port, surface: 'terminal', agent: { kind: 'script', name: 'x' }, conversation: 'x' },
    ]) {
      const uplink = come(async () => ada.token, undefined);
      await soon(() => assert.equal(uplink.state.state, 'ready'));
      broken.length = 0;
      await endOf(uplink.open(opening as never));
      assert.deepEqual(broken, ['an opening that is none']);
      await uplink.stop('done');
    }
    // Nor can it say how an edge stands.
    const uplink = come(async () => ada.token, undefined);
    await soon(() => assert.equal(uplink.state.state, 'ready'));
    const kept = uplink.open({ connection: 'shop', kind: 'bytes', surface: 'terminal', agent: { kind: 'script', name: 'x' }, conversation: 'x' });
    uplink.say({ type: 'edge', host: 'x', draining: true, problems: {} });
    await endOf(kept);
    assert.ok(broken.includes('what an edge says, by who is none'), broken.join());
    await uplink.stop('done');
    assert.equal(inside.connections(), before);
    assert.equal(connected('plant'), 1);
  });

  it('is cut at once when its key is revoked, and does not come back', async () => {
    const keys = newKeys();
    assert.equal((await bring(on.url, await token('fourth'), keys)).status, 200);
    const uplink = come(async () => await assertion(on.url, keys), 'fourth');
    await soon(() => assert.equal(connected('fourth'), 1));
    assert.equal((await root.call('POST', `/v1/edges/${keys.id}/revoke`, {})).status, 200);
    await soon(() => assert.equal(connected('fourth'), 0));
    await soon(() => assert.match(JSON.stringify(uplink.state), /revoked/));
    const again = come(async () => await assertion(on.url, keys), 'fourth');
    await soon(() => assert.match(JSON.stringify(again.state), /revoked/));
    assert.equal((await bring(on.url, await token('fourth'), keys)).status, 401, 'a revoked key joins nothing');
    // A whole edge, with the token that waits for somebody.
    const left = await token('fourth');
    assert.equal((await root.call('POST', '/v1/edges/fourth/revoke', {})).status, 200);
    assert.equal((await bring(on.url, left, newKeys())).status, 401);
    assert.equal((await root.call('POST', '/v1/edges/fourth/revoke', {})).status, 404);
  });

  it('changes its key, and goes on', async () => {
    const before = edge.identity.keyId;
    await edge.changeKey();
    assert.notEqual(edge.identity.keyId, before);
    const mine = (await views()).find(({ name }) => name === 'plant')!;
    assert.deepEqual(mine.keys.map(({ id }) => id).toSorted(), [before, edge.identity.keyId].toSorted());
    assert.equal(edge.notReady, undefined);
    // What is open is renewed by another key of the same edge; and by no other edge's.
    const second = newKeys();
    assert.equal((await bring(on.url, await token('other'), second)).status, 200);
    let by = other;
    const uplink = come(async () => await assertion(on.url, by), 'other');
    await soon(() => assert.equal(uplink.state.state, 'ready'));
    const link = (): { id: string; key: string } | undefined => on.gateways[0]!.edgeLinks.all.find((one) => one.edge === 'other');
    const id = link()?.id;
    by = second;
    uplink.tokenChanged();
    await soon(() => assert.equal(link()?.key, second.id));
    assert.equal(link()?.id, id);
    const foreign = newKeys();
    assert.equal((await bring(on.url, await token('fifth'), foreign)).status, 200);
    by = foreign;
    uplink.tokenChanged();
    await soon(() => assert.equal(link(), undefined));
  });
});

describe('a gateway that was taken over', () => {
  it('leads an edge nowhere but where the edge’s own list says', async () => {
    const good = await counted();
    const secret = await counted();
    const links: { dial(opening: object): ReturnType<Uplink['open']>; say(control: object): boolean }[] = [];
    const t = await testTunnel({ edges: { came: (link) => void links.push(link as never), gone: () => {}, heard: () => {} } });
    const targets: EdgeTarget[] = [];
    const lookups: string[] = [];
    const rules = [`127.0.0.1:${good.port}`, `orders.internal:${good.port}`, `rebound.internal:${secret.port}`, `*.db.internal:${secret.port}`].map(allowRule);
    const allowed = new Allowed(
      rules.filter((rule) => typeof rule !== 'string'),
      async (name) => {
        lookups.push(name);
        return name === 'orders.internal' ? ['127.0.0.1'] : ['169.254.169.254', '127.0.0.1'];
      },
    );
    const dials = new Dials({ edge: 'plant', allowed, log: quiet, counted: () => {}, passed: () => {} });
    const { uplink, until } = testUplink(t.url, t.token('plant', { edge: 'plant' }), {
      edge: { name: 'plant', onStream: (opening, stream) => dials.take(opening, stream, targets), heard: () => {} },
    });
    await until('ready');
    const dial = async (host: string, port: number, announced = true): Promise<string> => {
      const target = { connection: 'shop', host, port };
      targets.splice(0, targets.length, ...(announced ? [target] : []));
      const stream = links[0]!.dial({ kind: 'dial', ...target });
      return await new Promise((resolve) => {
        stream.once('error', (cause: Error & { code?: string }) => resolve(cause.code ?? ''));
        stream.once('data', () => resolve('connected'));
      });
    };
    assert.equal(await dial('127.0.0.1', good.port), 'connected');
    assert.equal(await dial('orders.internal', good.port), 'connected');
    const before = good.connections();
    for (const [host, port] of [
      ['127.0.0.1', secret.port],
      ['localhost', secret.port],
      ['::ffff:127.0.0.1', secret.port],
      ['2130706433', secret.port],
      ['127.1', secret.port],
      ['rebound.internal', secret.port],
      ['x.db.internal', secret.port],
      ['.db.internal', secret.port],
      ['orders.internal.evil.example', good.port],
      ['169.254.169.254', 80],
      ['/var/run/postgresql', good.port],
      ['orders.internal\u0000', good.port],
    ] as const)
      assert.equal(await dial(host, port), 'edge-refused', host);
    // Not even there, for a connection that the gateway never named.
    assert.equal(await dial('127.0.0.1', good.port, false), 'edge-refused');
    assert.equal(secret.connections(), 0);
    assert.equal(good.connections(), before);
    assert.ok(!lookups.includes('localhost'), 'what cannot be allowed is not looked up');
    await uplink.stop('done');
    await t.stop();
    good.server.close();
    secret.server.close();
  });
});

describe('the list of an edge', () => {
  it('holds names, networks and sockets with their ports, and nothing that allows nearly everything', () => {
    for (const text of [
      'orders.internal:5432',
      '*.db.example:5432',
      '10.20.0.0/16:5432-5440',
      '[fd00:1::]:5432',
      '[fd00:1::/64]:5432',
      '/var/run/postgresql:5432',
    ])
      assert.equal(typeof allowRule(text), 'object', text);
    for (const text of [
      'orders',
      'orders:0',
      'orders:70000',
      'orders:5440-5432',
      '*:5432',
      '*.com:5432',
      '0.0.0.0/0:5432',
      '10.0.0.0/33:1',
      '10.0.0.0/:1',
      '[::]/0:1',
      'a b:1',
      ':5432',
    ])
      assert.equal(typeof allowRule(text), 'string', text);
  });

  it('takes a name for its addresses where it names networks, all of them', async () => {
    const rules = ['10.20.0.0/16:5432'].map(allowRule).filter((rule) => typeof rule !== 'string');
    const answers: Record<string, string[]> = { in: ['10.20.1.1'], half: ['10.20.1.1', '10.21.1.1'] };
    const allowed = new Allowed(rules, async (name) => answers[name] ?? []);
    assert.deepEqual(await allowed.places({ host: 'in', port: 5432 }), [{ host: '10.20.1.1', port: 5432 }]);
    assert.deepEqual(await allowed.places({ host: 'half', port: 5432 }), []);
    assert.deepEqual(await allowed.places({ host: 'in', port: 5433 }), []);
    assert.equal(allowed.judge({ host: '10.20.255.1', port: 5432 }), 'yes');
    assert.equal(allowed.judge({ host: '10.21.0.1', port: 5432 }), 'no');
    assert.equal(allowed.judge({ host: 'in', port: 5432 }), 'maybe');
  });
});
