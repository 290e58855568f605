/** Calls to a gateway with a certificate of the team's own authority. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { call, follow } from '../../../extension/gateway/api.ts';
import { begin } from '../../../extension/gateway/oauth.ts';
import { trusting } from '../../../extension/gateway/trust.ts';
import { selfSigned } from '../../../proxy/protocols/postgres/certificate.ts';
import { temporaryFolder } from '../../gateway/stores.ts';

describe('an authority that the settings name', () => {
  const ca = join(temporaryFolder(), 'ca.pem');
  const seen: string[] = [];
  let server: Server;
  let gateway: URL;

  before(async () => {
    const tls = selfSigned(Date.now());
    writeFileSync(ca, tls.cert);
    server = createServer(tls, (request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? ''} ${body}`);
        if (request.url?.startsWith('/.well-known/')) {
          const { origin } = gateway;
          const metadata = { issuer: `${origin}/`, authorization_endpoint: `${origin}/oauth/authorize`, token_endpoint: `${origin}/oauth/token` };
          return response.setHeader('content-type', 'application/json').end(JSON.stringify({ ...metadata, response_types_supported: ['code'] }));
        }
        if (request.url === '/v1/events') {
          response.writeHead(200, { 'content-type': 'text/event-stream' });
          response.write('event: ready\ndata: {}\n\n');
          return setTimeout(() => response.end('event: approval\ndata: {}\n\n'), 20);
        }
        if (request.url === '/v1/me/sign-out') return response.setHeader('content-type', 'application/json').end('{}');
        return response.writeHead(302, { location: 'https://elsewhere.example/' }).end();
      });
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    gateway = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });

  it('is what signing in, calls and the stream of events go by', async () => {
    const attempt = await begin(gateway, 'http://127.0.0.1:1/callback', trusting(ca));
    assert.equal(new URL(attempt.page).origin, gateway.origin);
    const access = { gateway, token: 'the-token', fetch: trusting(ca) };
    assert.deepEqual(await call('signOut', access, { body: {} }), {});
    assert.ok(seen.includes('POST /v1/me/sign-out Bearer the-token {}'), seen.join('\n'));
    const heard: string[] = [];
    await follow(access, new AbortController().signal, (event) => heard.push(event));
    assert.deepEqual(heard, ['ready', 'approval']);
  });

  it('is needed: without it nothing is sent, and the sentence says what to set', async () => {
    const before = seen.length;
    await assert.rejects(begin(gateway, 'http://127.0.0.1:1/callback'), { code: 'gateway-certificate', message: /countersign\.gateway\.ca/ });
    await assert.rejects(call('signOut', { gateway, token: 'the-token' }, { body: {} }), { code: 'gateway-certificate' });
    assert.equal(seen.length, before);
  });

  it('sends a token nowhere else: no redirect is followed, and a file that cannot be read is said', async () => {
    await assert.rejects(call('me', { gateway, token: 'the-token', fetch: trusting(ca) }), { code: 'gateway-unreachable' });
    await assert.rejects(call('me', { gateway, token: 'the-token', fetch: trusting(`${ca}.gone`) }), { code: 'gateway-certificate', message: /ENOENT/ });
  });

  it('ends what is under way when it is told to', async () => {
    const stop = new AbortController();
    const running = follow({ gateway, token: 'the-token', fetch: trusting(ca) }, stop.signal, () => stop.abort());
    await running;
  });
});
