import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, it, describe as suite } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { Secret } from '../../../../contract/secret.ts';
import { freePort } from '../../../../demo/freePort.ts';
import { CODE, FieldReader, FrameWriter } from '../../../../proxy/protocols/postgres/frames.ts';
import { postgres } from '../../../../proxy/protocols/postgres/serve.ts';
import { LOGIN } from '../../../support/engine.ts';
import { CANARY, PASSWORD } from '../../../support/postgres.ts';
import { until } from '../../../support/soon.ts';
import { errorOf, front, NO_PSQL, type Proxied, proxied, RawClient, startupPacket } from './proxied.ts';

const request = (code: number): Buffer => new FrameWriter(8).int32(8).int32(code).take();

async function refusal(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  return work.then(
    () => assert.fail('it was let in'),
    (cause: Error & { code?: string }) => ({ code: cause.code ?? '', message: cause.message }),
  );
}

suite('logging in to a PostgreSQL connection', { timeout: 300_000 }, () => {
  let p: Proxied;
  before(async () => {
    p = await proxied();
  });
  after(() => p.stop());

  it('refuses a wrong password and an unknown user alike, with 28P01', async () => {
    const wrong = await refusal(p.client({ password: 'wrong' }));
    const unknown = await refusal(p.client({ user: 'nobody' }));
    assert.equal(wrong.code, '28P01');
    assert.equal(unknown.code, '28P01');
    assert.equal(wrong.message, 'password authentication failed for user "agent"');
    assert.equal(unknown.message, 'password authentication failed for user "nobody"');
    assert.equal(p.t.sessions.size, 0);
  });

  it('does not let the upstream login in: agents have logins of their own', async () => {
    assert.equal((await refusal(p.client({ user: 'postgres', password: PASSWORD }))).code, '28P01');
  });

  it('refuses start-up parameters that would change what is read, or who one is', async () => {
    const cases: readonly (readonly [Record<string, string>, string, RegExp])[] = [
      [{ replication: 'database' }, '0A000', /Replication is refused/],
      [{ replication: 'true' }, '0A000', /Replication is refused/],
      [{ client_encoding: 'LATIN1' }, '0A000', /client_encoding LATIN1 is refused/],
      [{ standard_conforming_strings: 'off' }, '0A000', /standard_conforming_strings/],
      [{ options: '-c standard_conforming_strings=off' }, '0A000', /standard_conforming_strings/],
      [{ options: '--client-encoding=SJIS' }, '0A000', /client_encoding/],
      [{ options: '-c role=postgres' }, '42501', /role/],
      [{ role: 'postgres' }, '42501', /role/],
      [{ session_authorization: 'postgres' }, '42501', /session_authorization/],
      [{ options: '-d 5' }, '22023', /options/],
      [{ session_preload_libraries: 'x' }, '0A000', /session_preload_libraries/],
      [{ database: 'template1' }, '3D000', /serves database/],
    ];
    for (const [parameters, code, sentence] of cases) {
      const client = await inside(p, parameters);
      const error = (await client.until('E')).at(-1);
      assert.ok(error);
      assert.equal(errorOf(error).get('C'), code, JSON.stringify(parameters));
      assert.match(errorOf(error).get('M') ?? '', sentence);
      await client.ended();
    }
  });

  it('passes harmless start-up parameters on', async () => {
    const client = await inside(p, {
      application_name: 'tool',
      options: '-c statement_timeout=1234 -c search_path=public',
      client_encoding: 'utf-8',
      DateStyle: 'ISO, DMY',
    });
    await client.until('Z');
    client.send(front.query('SHOW statement_timeout; SHOW DateStyle; SHOW application_name'));
    const rows = (await client.until('Z')).filter((m) => m.type === 'D').map((m) => m.body.toString('utf8', 6));
    assert.deepEqual(rows, ['1234ms', 'ISO, DMY', 'tool']);
    client.stream.destroy();
  });

  it('answers GSSENCRequest with N and SSLRequest with a TLS that works', async () => {
    const socket = connect(p.port, '127.0.0.1');
    socket.write(request(CODE.gss));
    assert.equal((await once(socket)).toString(), 'N');
    socket.write(request(CODE.ssl));
    assert.equal((await once(socket)).toString(), 'S');
    const secure = connectTls({ socket, rejectUnauthorized: false });
    await new Promise((resolve) => secure.once('secureConnect', resolve));
    const certificate = secure.getPeerX509Certificate();
    assert.ok(certificate);
    assert.ok(certificate.verify(certificate.publicKey), 'it is signed by itself');
    assert.match(certificate.subjectAltName ?? '', /127\.0\.0\.1/);
    const raw = new RawClient(secure);
    raw.send(startupPacket({ user: LOGIN.user }));
    const [challenge] = await raw.until('R');
    assert.match(challenge?.body.toString() ?? '', /SCRAM-SHA-256\0\0$/);
    assert.doesNotMatch(challenge?.body.toString() ?? '', /PLUS/);
    secure.destroy();
  });

  it('does not take bytes sent in clear before TLS for bytes sent through it', async () => {
    const socket = connect(p.port, '127.0.0.1');
    socket.write(Buffer.concat([request(CODE.ssl), startupPacket({ user: LOGIN.user })]));
    const answered = await once(socket);
    assert.notEqual(answered.toString(), 'S');
    socket.destroy();
  });

  it('refuses nonsense in place of a start-up packet, and never hangs on it', async () => {
    for (const bytes of [
      Buffer.alloc(8),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from([0, 0, 0, 7, 0, 3, 0]),
      Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0]),
      startupPacket({ user: 'x' }, 2 << 16),
      startupPacket({}),
    ]) {
      const raw = await RawClient.tcp(p.port);
      raw.send(bytes);
      await raw.ended();
    }
    assert.equal(p.t.sessions.size, 0);
  });

  it('negotiates a newer minor protocol version down', async () => {
    const client = await inside(p, { user: 'x', '_pq_.anything': '1' }, (3 << 16) | 2);
    const messages = await client.until('Z');
    const [negotiated] = messages;
    assert.equal(negotiated?.type, 'v');
    const reader = new FieldReader(negotiated?.body ?? Buffer.alloc(0), 0, negotiated?.body.length ?? 0);
    assert.deepEqual([reader.int32(), reader.int32(), reader.text()], [3 << 16, 1, '_pq_.anything']);
    client.stream.destroy();
  });

  it('listens on loopback alone', () => {
    assert.match(p.served.address, /^postgres:\/\/127\.0\.0\.1:\d+\//);
    assert.doesNotMatch(p.served.address, /agent|@/);
  });

  it('serves clients inside the proxy without a login, through the same code', async () => {
    const client = await p.inside();
    assert.deepEqual((await client.query('SELECT email FROM customers WHERE id = 1')).rows, [{ email: 'c•••@secret.example' }]);
    await client.end();
  });

  it('says that a secret is missing, and serves as soon as it comes', async () => {
    const other = await proxied('', { database: p.db });
    other.t.secrets.delete('upstream');
    other.served.retry?.();
    await until('the want of a secret', () => other.served.state.state === 'needs-secret');
    assert.ok(other.served.state.state === 'needs-secret');
    assert.equal(other.served.state.secret, 'upstream');
    assert.match((await refusal(other.client())).message, /needs the secret "upstream"/);
    other.t.secrets.set('upstream', new Secret(PASSWORD));
    other.served.retry?.();
    await until('it to be served', () => other.served.state.state === 'ready');
    await other.client();
    other.t.secrets.set('upstream', new Secret('changed'));
    other.served.retry?.();
    await until('its failure', () => other.served.state.state === 'failed');
    assert.match(problemOf(other), /password authentication failed/);
    await other.stop();
  });

  it('says that the database is out of reach, on a connection attempt and in its state', async () => {
    const { t } = p;
    const connection = t.policy().connections.get('orders');
    assert.ok(connection?.protocol === 'postgres');
    const served = await postgres.serve({ ...connection, upstream: { ...connection.upstream, port: await freePort() } }, t.host);
    await until('its failure', () => served.state.state === 'failed');
    const raw = await RawClient.tcp(served.environment?.port ?? 0);
    raw.stream.destroy();
    const inside = new RawClient(served.connect?.(t.identity()) as RawClient['stream']);
    inside.startup({ user: 'x' });
    const error = (await inside.until('E')).at(-1);
    assert.match((error && errorOf(error).get('M')) ?? '', /no connection to the database/);
    await served.stop('done');
  });

  it('names who holds a port that is taken', async () => {
    const connection = p.t.policy().connections.get('orders');
    assert.ok(connection?.protocol === 'postgres');
    await assert.rejects(postgres.serve({ ...connection, port: p.port }, p.t.host), { code: 'port-taken', message: /is taken by another program/ });
  });

  it('denies the session itself where policy says so, and records that', async () => {
    const denied = await proxied('rules:\n  - { id: closed, match: { verb: [CONNECT] }, verdict: deny, say: Not today. }\n', { database: p.db });
    const error = await refusal(denied.client());
    assert.equal(error.code, '42501');
    assert.match(error.message, /Denied by rule closed: Not today\./);
    const direct = await p.db.direct();
    const entries = await denied.t.entries();
    assert.ok(entries.some((e) => e.type === 'operation.outcome' && e.outcome === 'denied'));
    assert.ok(entries.some((e) => e.type === 'session.close'));
    await direct.end();
    await denied.stop();
  });

  it('ends every session with a sentence when it stops, and frees the port', async () => {
    const other = await proxied('', { database: p.db });
    const raw = await other.raw();
    const port = other.port;
    await other.served.stop('the policy changed');
    const error = (await raw.until('E')).at(-1);
    assert.match((error && errorOf(error).get('M')) ?? '', /the policy changed/);
    await raw.ended();
    await assert.rejects(RawClient.tcp(port));
    await other.stop();
  });

  it('shows psql a sentence for a wrong login', { skip: NO_PSQL }, async () => {
    const { code, out } = await p.psql(['-c', 'SELECT 1'], '', { PGPASSWORD: 'wrong' });
    assert.equal(code, 2);
    assert.match(out, /password authentication failed/);
    assert.doesNotMatch(out, CANARY);
  });
});

function problemOf(p: Proxied): string {
  const { state } = p.served;
  return 'problem' in state ? state.problem : '';
}

async function inside(p: Proxied, parameters: Readonly<Record<string, string>>, version?: number): Promise<RawClient> {
  const client = new RawClient(p.served.connect?.(p.t.identity()) as RawClient['stream']);
  client.startup({ user: 'inside', ...parameters }, version);
  return client;
}

function once(stream: NodeJS.ReadableStream): Promise<Buffer> {
  return new Promise((resolve) => {
    stream.once('data', (chunk: Buffer) => resolve(chunk));
  });
}
