import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { guardedLookup, isForbidden } from '../../../../../proxy/protocols/mcp/upstream/addresses.ts';
import { HttpClient } from '../../../../../proxy/protocols/mcp/upstream/httpExchange.ts';

describe('an address that a name must not lead to', () => {
  for (const address of [
    '169.254.169.254',
    '169.254.170.2',
    '100.100.100.200',
    '168.63.129.16',
    '127.0.0.1',
    '127.9.9.9',
    '0.0.0.0',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    'fe80::1',
    'fe80::1%eth0',
    'ff02::1',
    'fd00:ec2::254',
    'fd20:ce::254',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    '::169.254.169.254',
    '::ffff:0:169.254.169.254',
    '64:ff9b::169.254.169.254',
    '64:ff9b:1::a9fe:a9fe',
    '2002:a9fe:a9fe::1',
    '2002:7f00:1::',
    '2001:0:4136:e378:8000:63bf:5601:5601',
    'not an address',
  ]) {
    it(`is ${address}`, () => assert.equal(isForbidden(address), true));
  }

  for (const address of [
    '93.184.215.14',
    '10.0.0.7',
    '192.168.1.1',
    '2606:2800:21f:cb07::1',
    'fd12:3456::1',
    '64:ff9b::808:808',
    '2002:808:808::1',
    '::ffff:8.8.8.8',
  ]) {
    it(`is not ${address}`, () => assert.equal(isForbidden(address), false));
  }
});

describe('a name', () => {
  it('is looked up under guard, but an address that the policy spells out is what its writer meant', () => {
    assert.equal(guardedLookup(new URL('http://127.0.0.1:1/')), undefined);
    assert.equal(guardedLookup(new URL('http://169.254.169.254/')), undefined);
    assert.equal(guardedLookup(new URL('http://localhost:1/')), undefined);
    assert.ok(guardedLookup(new URL('https://mcp.example/')));
    assert.ok(guardedLookup(new URL('https://localhost.example/')));
  });

  it('that leads to this machine is not connected to, whichever way it is looked up', async () => {
    const lookup = guardedLookup(new URL('https://mcp.example/'));
    assert.ok(lookup);
    for (const all of [true, false]) {
      // The system knows one name that leads here; a rebound one leads here in the same way.
      const outcome = await new Promise((resolve) => lookup('localhost', { all }, (cause, address) => resolve(cause ?? address)));
      assert.match(String(outcome), /localhost leads to an address inside this machine/);
    }
  });
});

describe('a redirect', () => {
  async function redirecting(location: (port: number) => string): Promise<{ readonly outcome: Promise<unknown>; readonly seen: string[] }> {
    const seen: string[] = [];
    const server = createServer((request, response) => {
      seen.push(`${request.headers.host} ${request.url}`);
      if (request.url === '/there') response.end('arrived');
      else response.writeHead(307, { Location: location((server.address() as AddressInfo).port) }).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const http = new HttpClient();
    const sent = http.send({
      method: 'POST',
      url: new URL(`http://127.0.0.1:${port}/mcp`),
      headers: { Authorization: 'Bearer ours' },
      body: '{}',
      signal: AbortSignal.timeout(5_000),
    });
    const outcome = sent
      .then(({ status }) => status)
      .finally(() => {
        http.close();
        server.closeAllConnections();
        server.close();
      });
    return { outcome, seen };
  }

  it('is followed within its origin', async () => {
    const { outcome } = await redirecting(() => '/there');
    assert.equal(await outcome, 200);
  });

  it('to another origin is refused, and nothing is sent there: not even the same host by another name or a metadata address', async () => {
    for (const to of [(port: number) => `http://localhost:${port}/there`, () => 'http://169.254.169.254/latest/meta-data', () => 'https://127.0.0.1/there']) {
      const { outcome, seen } = await redirecting(to);
      await assert.rejects(outcome, /redirects to .*Nothing was sent there/);
      assert.equal(seen.length, 1);
    }
  });

  it('in a circle ends', async () => {
    const { outcome } = await redirecting(() => '/mcp');
    await assert.rejects(outcome, /redirects \(307\) where it must answer/);
  });
});
