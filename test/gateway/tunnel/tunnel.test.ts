import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Problem } from '../../../contract/problem.ts';
import { MESSAGE, TUNNEL_PROTOCOL } from '../../../contract/tunnel.ts';
import { selfSigned } from '../../../proxy/protocols/postgres/certificate.ts';
import { soon } from '../../support/soon.ts';
import { corporateProxy, listen, network } from './network.ts';
import { echo, endOf, OPENING, testTunnel, testUplink } from './tunnels.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-tunnel-'));
after(() => rmSync(folder, { recursive: true, force: true }));

describe('a tunnel', () => {
  it('carries streams as the person of its token, whatever the other side says', async () => {
    const t = await testTunnel();
    const { uplink, until } = testUplink(t.url, t.token('ada'));
    await until('ready');
    const stream = uplink.open({ ...OPENING, person: { issuer: 'os', subject: 'root' } } as never);
    assert.equal(await echo(stream, 'hello'), 'hello');
    assert.equal(t.streams[0]?.person, 'ada');
    assert.ok(!('person' in (t.streams[0]?.opening ?? {})));
    await new Promise<void>((resolve) => {
      const look = (): void => (uplink.offered.length > 0 ? resolve() : void setTimeout(look, 5));
      look();
    });
    assert.deepEqual(
      uplink.offered.map(({ name }) => name),
      ['orders'],
    );
    await uplink.stop('done');
    await t.stop();
  });

  it('goes on after the network was cut, with every byte once and in order', async () => {
    const t = await testTunnel();
    const net = await network(t.port);
    const { uplink, until } = testUplink(new URL(`http://127.0.0.1:${net.port}`), t.token('ada'));
    await until('ready');
    const stream = uplink.open(OPENING);
    const sent = randomBytes(6_000_000);
    const got: Buffer[] = [];
    let size = 0;
    let cuts = 0;
    const all = new Promise<void>((resolve, reject) => {
      stream.once('error', reject);
      stream.on('data', (chunk: Buffer) => {
        got.push(chunk);
        size += chunk.length;
        if (size === sent.length) resolve();
        // In the middle, four times.
        else if (size > (cuts + 1) * 1_000_000 && cuts < 4) {
          cuts++;
          net.cut();
        }
      });
    });
    stream.write(sent);
    await all;
    assert.ok(Buffer.concat(got).equals(sent));
    assert.ok(net.made >= 2, `${net.made} connections were made`);
    assert.equal(t.server.size, 1);
    await uplink.stop('done');
    await net.stop();
    await t.stop();
  });

  it('ends what is open with a sentence when the network stays away, and comes back by itself', async () => {
    const t = await testTunnel({ resumeMs: 200 });
    const net = await network(t.port);
    const { uplink, until } = testUplink(new URL(`http://127.0.0.1:${net.port}`), t.token('ada'), { resumeMs: 150 });
    await until('ready');
    const stream = uplink.open(OPENING);
    await echo(stream, 'hello');
    net.cut(true);
    const ended = await endOf(stream);
    assert.equal(ended.code, 'gateway-lost');
    assert.match(ended.message, /could not be reached for too long. Connect again/);
    assert.match(await until('unreachable'), /cannot be reached/);
    const refused = await endOf(uplink.open(OPENING));
    assert.match(refused.message, /cannot be reached/);
    assert.equal((await endOf(t.streams[0]?.stream as never)).code, 'lost');
    net.mend();
    await until('ready');
    assert.equal(await echo(uplink.open(OPENING), 'again'), 'again');
    await uplink.stop('done');
    await net.stop();
    await t.stop();
  });

  it('says that it cannot reach a gateway that is not there', async () => {
    const t = await testTunnel();
    const { url } = t;
    await t.stop();
    const { uplink, until } = testUplink(url, t.token('ada'));
    assert.match(await until('unreachable'), /ECONNREFUSED.*tried again by itself/);
    await uplink.stop('done');
  });

  it('is cut when its token expires, and comes back with a new one', async () => {
    const t = await testTunnel();
    const { uplink, until, setToken } = testUplink(t.url, t.token('ada', { lifeMs: 2_000 }));
    await until('ready');
    const stream = uplink.open(OPENING);
    await echo(stream, 'hello');
    const ended = await endOf(stream);
    assert.equal(ended.code, 'gateway-token-expired');
    assert.match(ended.message, /has expired. Sign in again/);
    assert.match(await until('signed-out'), /has expired/);
    setToken(t.token('ada'));
    await until('ready');
    await uplink.stop('done');
    await t.stop();
  });

  it('lives on when its token is renewed in time, and only by the same person', async () => {
    const t = await testTunnel();
    const { uplink, until, setToken } = testUplink(t.url, t.token('ada', { lifeMs: 2_000 }));
    await until('ready');
    const stream = uplink.open(OPENING);
    await echo(stream, 'hello');
    setToken(t.token('ada', { lifeMs: 60_000 }));
    // Longer than the first was good for, with the leeway that a token has.
    await sleep(4_200);
    assert.equal(await echo(stream, 'still'), 'still');
    setToken(t.token('eve', { lifeMs: 120_000 }));
    assert.match((await endOf(stream)).message, /Another person signed in/);
    await uplink.stop('done');
    await t.stop();
  });

  it('is cut at once when its token is revoked, and not let in again', async () => {
    const t = await testTunnel();
    const token = t.token('ada');
    const ada = testUplink(t.url, token);
    const bob = testUplink(t.url, t.token('bob'));
    await ada.until('ready');
    await bob.until('ready');
    const [a, b] = [ada.uplink.open(OPENING), bob.uplink.open(OPENING)];
    await Promise.all([echo(a, 'a'), echo(b, 'b')]);
    t.revoke(token);
    assert.equal(
      t.server.cut(({ person }) => person.subject === 'ada', 'revoked', 'An administrator ended your sign-in. Sign in again.'),
      1,
    );
    assert.match((await endOf(a)).message, /administrator ended/);
    assert.match(await ada.until('signed-out'), /administrator ended/);
    ada.setToken(token);
    assert.match(await ada.until('signed-out'), /./);
    assert.equal(await echo(b, 'still'), 'still');
    await Promise.all([ada.uplink.stop('done'), bob.uplink.stop('done')]);
    await t.stop();
  });

  it('is cut before it has said anything, too: a sign-in that was ended in that moment opens nothing', async () => {
    const t = await testTunnel();
    const token = t.token('ada');
    const socket = new WebSocket(`ws://127.0.0.1:${t.port}/tunnel`, TUNNEL_PROTOCOL, { headers: { Authorization: `Bearer ${token.token.reveal()}` } });
    const said: string[] = [];
    socket.on('message', (data: Buffer) => said.push(data.toString()));
    await new Promise((resolve) => socket.once('open', resolve));
    t.revoke(token);
    t.server.cut(({ person }) => person.subject === 'ada', 'revoked', 'An administrator ended your sign-in. Sign in again.');
    socket.send(Buffer.concat([Buffer.of(MESSAGE.control), Buffer.from(JSON.stringify({ type: 'hello', version: '1' }))]));
    await soon(() => assert.notEqual(socket.readyState, WebSocket.OPEN));
    assert.equal(t.server.size, 0);
    assert.doesNotMatch(said.join(), /welcome/);
    await t.stop();
  });

  it('is one of so many of a person, also when they come all at once or say nothing', async () => {
    const t = await testTunnel();
    const headers = { Authorization: `Bearer ${t.token('mallory').token.reveal()}` };
    const sockets = Array.from({ length: 80 }, () => new WebSocket(`ws://127.0.0.1:${t.port}/tunnel`, TUNNEL_PROTOCOL, { headers }));
    const statuses = await Promise.all(
      sockets.map(
        (socket) =>
          new Promise<number>((resolve) => {
            socket.on('error', () => {});
            socket.once('open', () => resolve(101));
            socket.once('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0));
          }),
      ),
    );
    assert.deepEqual([statuses.filter((s) => s === 101).length, statuses.filter((s) => s === 429).length], [50, 30]);
    for (const socket of sockets) socket.terminate();
    const { uplink, until } = testUplink(t.url, t.token('mallory'));
    await until('ready');
    await uplink.stop('done');
    await t.stop();
  });

  it('says who is signed out, and takes the token when there is one', async () => {
    const t = await testTunnel();
    const { uplink, until, setToken } = testUplink(t.url, undefined);
    assert.match(await until('signed-out'), /not signed in/);
    setToken(t.token('ada'));
    await until('ready');
    setToken(undefined);
    await until('signed-out');
    await uplink.stop('done');
    await t.stop();
  });

  it('waits while the store or the identity provider is away, rather than sign anyone out', async () => {
    let broken: Problem | undefined = new Problem('store-down', 'The gateway’s store is out of reach.');
    const t = await testTunnel({ broken: () => broken });
    const { uplink, until } = testUplink(t.url, t.token('ada'));
    assert.match(await until('unreachable'), /store is out of reach/);
    broken = undefined;
    await until('ready');
    await uplink.stop('done');
    await t.stop();
  });

  it('sends new streams elsewhere when the gateway drains, and lets the open ones end', async () => {
    const t = await testTunnel();
    const { uplink, until } = testUplink(t.url, t.token('ada'));
    await until('ready');
    const old = uplink.open(OPENING);
    await echo(old, 'hello');
    const drained = t.server.drain('This gateway is being updated.', 60_000);
    // No other replica here: new ones are refused with the gateway's sentence, the old one goes on.
    assert.match(await until('unreachable'), /being updated/);
    assert.equal(await echo(old, 'still'), 'still');
    old.end();
    old.resume();
    await drained;
    assert.equal(t.server.size, 0);
    await uplink.stop('done');
    await t.stop();
  });
});

describe('the way to a gateway', () => {
  it('is encrypted and checked against the authority that was named', async () => {
    const tls = selfSigned(Date.now());
    const ca = join(folder, 'ca.pem');
    writeFileSync(ca, tls.cert);
    const t = await testTunnel({ tls });
    const trusting = testUplink(t.url, t.token('ada'), { ca });
    await trusting.until('ready');
    assert.equal(await echo(trusting.uplink.open(OPENING), 'hello'), 'hello');
    const other = testUplink(t.url, t.token('ada'));
    assert.match(await other.until('certificate'), /authority that this machine does not trust/);
    await Promise.all([trusting.uplink.stop('done'), other.uplink.stop('done')]);
    await t.stop();
  });

  it('says that a certificate has expired, and comes back when it is renewed', async () => {
    const expired = selfSigned(Date.now() - 3 * 366 * 86_400_000);
    const fresh = selfSigned(Date.now());
    const ca = join(folder, 'both.pem');
    writeFileSync(ca, expired.cert + fresh.cert);
    const t = await testTunnel({ tls: expired });
    const { uplink, until } = testUplink(t.url, t.token('ada'), { ca });
    assert.match(await until('certificate'), /has expired. Whoever runs it must renew it/);
    (t.http as unknown as { setSecureContext(context: object): void }).setSecureContext(fresh);
    await until('ready');
    await uplink.stop('done');
    await t.stop();
  });

  it('leads through a corporate HTTP proxy, with its login, except where NO_PROXY says so', async () => {
    const t = await testTunnel();
    const corporate = await corporateProxy('ada:p@ss');
    const HTTP_PROXY = `http://ada:p%40ss@127.0.0.1:${corporate.port}`;
    const through = testUplink(t.url, t.token('ada'), { env: { HTTP_PROXY } });
    await through.until('ready');
    assert.equal(await echo(through.uplink.open(OPENING), 'hello'), 'hello');
    assert.deepEqual(corporate.asked, [`127.0.0.1:${t.port} 200`]);
    const straight = testUplink(t.url, t.token('ada'), { env: { HTTP_PROXY, NO_PROXY: '10.0.0.0/8, 127.0.0.0/8' } });
    await straight.until('ready');
    const nobody = testUplink(t.url, t.token('ada'), { env: { HTTP_PROXY: `http://127.0.0.1:${corporate.port}` } });
    assert.match(await nobody.until('refused'), /wants a login/);
    assert.equal(corporate.asked.length, 2 + corporate.asked.filter((line) => line.endsWith('407')).length - 1);
    await Promise.all([through.uplink.stop('done'), straight.uplink.stop('done'), nobody.uplink.stop('done')]);
    await corporate.stop();
    await t.stop();
  });

  it('is never unencrypted to another machine', async () => {
    const { uplink, until } = testUplink(new URL('http://gateway.example'), {
      token: new (await import('../../../contract/secret.ts')).Secret('t'),
      expiresAt: Date.now() + 10_000,
    });
    assert.match(await until('refused'), /not encrypted. Write https/);
    await uplink.stop('done');
  });
});

describe('whoever is not a proxy', () => {
  it('is turned away: no token, a forged one, a web page, another protocol', async () => {
    const t = await testTunnel();
    const good = t.token('ada').token.reveal();
    let said = '';
    const ask = (headers: Record<string, string>, path = '/tunnel'): Promise<number> =>
      new Promise((resolve, reject) => {
        const request = httpRequest({
          port: t.port,
          host: '127.0.0.1',
          path,
          headers: {
            Connection: 'Upgrade',
            Upgrade: 'websocket',
            'Sec-WebSocket-Version': '13',
            'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
            ...headers,
          },
        });
        request.once('response', (response) => {
          said = '';
          response.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
          response.once('end', () => resolve(response.statusCode ?? 0));
        });
        request.once('upgrade', (_response, socket) => {
          socket.destroy();
          resolve(101);
        });
        request.once('error', (cause: NodeJS.ErrnoException) => (cause.code === 'ECONNRESET' ? resolve(0) : reject(cause)));
        request.end();
      });
    const bearer = { Authorization: `Bearer ${good}` };
    const protocol = { 'Sec-WebSocket-Protocol': TUNNEL_PROTOCOL };
    assert.equal(await ask({ ...bearer, ...protocol }), 101);
    assert.equal(await ask(protocol), 401);
    assert.equal(await ask({ ...protocol, Authorization: 'Bearer forged' }), 401);
    assert.equal(await ask({ ...protocol, ...bearer, Origin: 'https://evil.example' }), 403);
    assert.equal(await ask({ ...protocol, ...bearer, Origin: 'null' }), 403);
    // Whoever reads it is told which side is behind.
    for (const [version, sentence] of [
      ['countersign.tunnel.99', /gateway is older than your Countersign.*whoever runs the gateway to update/],
      ['countersign.tunnel.0', /gateway is newer than your Countersign.*Update Countersign here/],
      ['graphql-ws', /takes tunnels of Countersign alone/],
    ] as const) {
      assert.equal(await ask({ ...bearer, 'Sec-WebSocket-Protocol': version }), 400, version);
      assert.match(said, sentence);
    }
    assert.equal(await ask({ ...bearer, ...protocol }, '/tunnel?x'), 0);
    // A proxy hands it on to its person, as it hands on what a gateway of before says.
    const another = createServer().on('upgrade', (_request, socket) =>
      socket.end(`HTTP/1.1 400 Refused\r\nContent-Length: ${said.length}\r\nConnection: close\r\n\r\n${said}`),
    );
    assert.equal(await ask({ ...bearer, 'Sec-WebSocket-Protocol': 'countersign.tunnel.99' }), 400);
    const { uplink, until } = testUplink(new URL(`http://127.0.0.1:${await listen(another)}`), t.token('ada'));
    assert.match(await until('refused'), /gateway is older than your Countersign/);
    await uplink.stop('done');
    another.closeAllConnections();
    another.close();
    await t.stop();
  });

  it('is thrown out for what a proxy would not say, and harms nobody else', async () => {
    const t = await testTunnel();
    const good = testUplink(t.url, t.token('bob'));
    await good.until('ready');
    const stream = good.uplink.open(OPENING);
    await echo(stream, 'hello');
    const control = (said: unknown): Buffer => Buffer.concat([Buffer.of(MESSAGE.control), Buffer.from(JSON.stringify(said))]);
    const hello = control({ type: 'hello', version: '1' });
    const cases: readonly (readonly Buffer[])[] = [
      [Buffer.from('x')],
      [control({ type: 'token', token: 'x' })],
      [control({ type: 'hello', version: '1', edge: 'site' })],
      [hello, hello],
      [hello, Buffer.of(9)],
      [hello, Buffer.of(MESSAGE.data, 0, 0, 0, 5, 0, 0, 0, 0, 1)],
      [hello, Buffer.of(MESSAGE.ack, 255, 255, 255, 255)],
      [hello, Buffer.of(MESSAGE.data, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0x7b, 0x7d)],
    ];
    for (const [i, messages] of cases.entries()) {
      const socket = new WebSocket(`ws://127.0.0.1:${t.port}/tunnel`, TUNNEL_PROTOCOL, {
        headers: { Authorization: `Bearer ${t.token('mallory').token.reveal()}` },
      });
      socket.on('error', () => {});
      socket.once('open', () => {
        for (const message of messages) socket.send(message);
      });
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`case ${i} was let stay`)), 20_000);
        socket.once('close', () => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    assert.equal(await echo(stream, 'still'), 'still');
    await soon(() => assert.equal(t.server.size, 1));
    await good.uplink.stop('done');
    await t.stop();
  });

  it('cannot take over a link by its id, nor with another person’s token', async () => {
    const t = await testTunnel();
    const { uplink, until } = testUplink(t.url, t.token('ada'));
    await until('ready');
    const stream = uplink.open(OPENING);
    await echo(stream, 'hello');
    const welcome = (token: string, resume: object): Promise<{ resumed: boolean; link: { id: string; secret: string } }> =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(`ws://127.0.0.1:${t.port}/tunnel`, TUNNEL_PROTOCOL, { headers: { Authorization: `Bearer ${token}` } });
        socket.once('open', () =>
          socket.send(Buffer.concat([Buffer.of(MESSAGE.control), Buffer.from(JSON.stringify({ type: 'hello', version: '1', resume }))])),
        );
        socket.once('message', (data: Buffer) => {
          resolve(JSON.parse(data.toString('utf8', 1)));
          socket.terminate();
        });
        socket.once('error', reject);
      });
    const own = await welcome(t.token('ada').token.reveal(), { id: 'none', secret: 'none', received: 0 });
    assert.equal(own.resumed, false);
    const id = (t.logged.find(({ event }) => event === 'tunnel.opened')?.fields as { link: string } | undefined)?.link ?? '';
    assert.notEqual(id, '');
    assert.equal((await welcome(t.token('ada').token.reveal(), { id, secret: 'guess', received: 0 })).resumed, false);
    assert.equal((await welcome(t.token('eve').token.reveal(), { id: own.link.id, secret: own.link.secret, received: 0 })).resumed, false);
    assert.equal(await echo(stream, 'still'), 'still');
    await uplink.stop('done');
    await t.stop();
  });
});
