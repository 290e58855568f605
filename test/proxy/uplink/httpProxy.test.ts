import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Problem } from '../../../contract/problem.ts';
import { proxyFor, proxyLogin } from '../../../proxy/uplink/httpProxy.ts';

const GATEWAY = new URL('https://gateway.corp.example');

describe('the HTTP proxy of the environment', () => {
  it('is found in either case, and only for what it is for', () => {
    assert.equal(proxyFor(GATEWAY, {}), undefined);
    assert.equal(proxyFor(GATEWAY, { HTTPS_PROXY: 'http://p:3128' })?.host, 'p:3128');
    assert.equal(proxyFor(GATEWAY, { https_proxy: 'p:3128' })?.host, 'p:3128');
    assert.equal(proxyFor(GATEWAY, { ALL_PROXY: 'http://p:3128' })?.host, 'p:3128');
    assert.equal(proxyFor(GATEWAY, { HTTP_PROXY: 'http://p:3128' }), undefined);
  });

  it('is left out for names, networks and ports that NO_PROXY lists', () => {
    const goesThrough = (NO_PROXY: string, url = GATEWAY): boolean => proxyFor(url, { HTTPS_PROXY: 'http://p', NO_PROXY }) !== undefined;
    for (const list of ['*', 'corp.example', '.corp.example', '*.corp.example', 'gateway.corp.example', 'x, GATEWAY.corp.example:443', 'a b,example'])
      assert.equal(goesThrough(list), false, list);
    for (const list of ['', 'orp.example', 'gateway.corp.example:8443', 'corp.example.evil', '10.0.0.0/8', 'gateway'])
      assert.equal(goesThrough(list), true, list);
    const address = new URL('https://10.1.2.3:8443');
    for (const list of ['10.0.0.0/8', '10.1.2.3', '10.1.2.3:8443', '127.0.0.1,10.1.0.0/16']) assert.equal(goesThrough(list, address), false, list);
    for (const list of ['10.2.0.0/16', '1.2.3', '.2.3', '10.1.2.3:443', '10.0.0.0/99']) assert.equal(goesThrough(list, address), true, list);
    assert.equal(goesThrough('fd00::/8', new URL('https://[fd00::1]')), false);
  });

  it('is refused with a sentence that does not repeat its password', () => {
    assert.throws(
      () => proxyFor(GATEWAY, { HTTPS_PROXY: 'socks5://ada:hunter2@p' }),
      (cause) => cause instanceof Problem && /HTTPS_PROXY/.test(cause.message) && !cause.message.includes('hunter2'),
    );
  });

  it('gets its login from the address', () => {
    assert.equal(proxyLogin(new URL('http://p')), undefined);
    assert.equal(proxyLogin(new URL('http://ada:p%40ss@p')), `Basic ${Buffer.from('ada:p@ss').toString('base64')}`);
  });
});
