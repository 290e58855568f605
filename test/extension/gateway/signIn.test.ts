/** Signing in from the editor against a real gateway with a real identity provider; a browser that follows redirects stands for the person's. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { freePort } from '../../../demo/freePort.ts';
import { type AccountState, accountLine, GatewayAccount, type Storage } from '../../../extension/gateway/account.ts';
import { call } from '../../../extension/gateway/api.ts';
import { listenForAnswer } from '../../../extension/gateway/loopback.ts';
import { begin, gatewayAddress, renew, revoke, type Tokens } from '../../../extension/gateway/oauth.ts';
import { english } from '../../../extension/translate.ts';
import { Browser } from '../../gateway/browser.ts';
import { type Stage, stage } from '../../gateway/stage.ts';
import { soon } from '../../support/soon.ts';

const PAGE = { title: 'Countersign', done: 'You are signed in.', stranger: 'Not yours.' };

async function signIn(on: Stage, user: string): Promise<Tokens> {
  on.idp.user = user;
  const back = await listenForAnswer(PAGE);
  try {
    const attempt = await begin(new URL(on.url), back.address);
    const answer = back.answer(attempt.state);
    const page = await new Browser().allow(attempt.page);
    assert.match(page.text, /You are signed in/);
    return await attempt.finish(await answer);
  } finally {
    back.close();
  }
}

class Kept implements Storage {
  text: string | undefined;
  stores = 0;
  get = () => Promise.resolve(this.text);
  store = (value: string) => {
    this.text = value;
    this.stores++;
    return Promise.resolve();
  };
  delete = () => {
    this.text = undefined;
    return Promise.resolve();
  };
}

const accountOn = (storage: Storage): GatewayAccount =>
  new GatewayAccount({ storage, t: english, log: () => undefined, changed: () => undefined, random: () => 0 });
const kindOf = (account: GatewayAccount): string => account.state.kind;
const ada = { issuer: 'https://idp.example', subject: 'ada', name: 'Ada', groups: [] };
const sentenceOf = (state: AccountState): string => accountLine(state, english) ?? '';

describe('signing in from the editor', () => {
  let on: Stage;
  let nowhere: URL;
  before(async () => {
    nowhere = new URL(`http://127.0.0.1:${await freePort()}/`);
    on = await stage({ identity: { tokenLifetime: 3 } });
  });
  after(async () => await on.stop());

  it('brings tokens of the person, which call the API', async () => {
    const tokens = await signIn(on, 'ada');
    const me = await call('me', { gateway: new URL(on.url), token: tokens.access });
    assert.equal(me.person.subject, 'ada');
    assert.equal(me.person.name, 'Ada');
    assert.ok(tokens.expiresAt > Date.now());
  });

  it('takes no answer but the one to what was begun: not another state, not twice, not from another gateway', async () => {
    on.idp.user = 'ada';
    const back = await listenForAnswer(PAGE);
    const attempt = await begin(new URL(on.url), back.address);
    let settled = false;
    const answer = back.answer(attempt.state).finally(() => {
      settled = true;
    });
    const stranger = await fetch(`${back.address}?code=stolen&state=another&iss=${encodeURIComponent(on.url)}`);
    assert.equal(stranger.status, 400);
    assert.match(await stranger.text(), /Not yours/);
    assert.equal((await fetch(back.address, { method: 'POST' })).status, 404);
    assert.equal(settled, false);
    await new Browser().allow(attempt.page);
    const real = await answer;
    for (const [name, value] of [
      ['state', 'another'],
      ['iss', 'https://evil.example'],
      ['code', 'another-code'],
    ] as const) {
      const forged = new URL(real);
      forged.searchParams.set(name, value);
      await assert.rejects(attempt.finish(forged), /was stopped|has ended/, name);
    }
    const without = new URL(real);
    without.searchParams.delete('iss');
    await assert.rejects(attempt.finish(without), /was stopped/);
    assert.ok((await attempt.finish(real)).access);
    await assert.rejects(attempt.finish(real), /has ended/);
    back.close();
  });

  it('says who refused, and what to do where no gateway answers', async () => {
    on.idp.user = undefined;
    const back = await listenForAnswer(PAGE);
    const attempt = await begin(new URL(on.url), back.address);
    const page = await new Browser().allow(attempt.page);
    assert.notEqual(page.status, 200);
    back.close();
    await assert.rejects(begin(nowhere, back.address), /cannot be reached \(ECONNREFUSED\)/);
    const other = createServer((_request, response) => void response.writeHead(404).end('nothing')).listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    await assert.rejects(begin(new URL(`http://127.0.0.1:${(other.address() as AddressInfo).port}/`), back.address), /is not the gateway/);
    other.close();
    other.closeAllConnections();
  });

  it('sends tokens to no address that is not a web address of its own', () => {
    for (const bad of [
      '',
      'gateway.example',
      'http://gateway.example',
      'https://user:pw@gateway.example',
      'https://gateway.example/?a=1',
      'ftp://gateway.example',
    ])
      assert.equal(gatewayAddress(bad), undefined, bad);
    for (const good of ['https://gateway.example', 'https://gateway.example:8443/team', 'http://127.0.0.1:8443', 'http://localhost:1'])
      assert.ok(gatewayAddress(good), good);
  });

  it('renews before it runs out, in one window for all, and signs out everywhere', async () => {
    const storage = new Kept();
    const one = accountOn(storage);
    const two = accountOn(storage);
    await one.use(new URL(on.url));
    await two.use(new URL(on.url));
    await one.signedIn(await signIn(on, 'ada'), ada);
    await two.reload();
    const first = one.token?.value;
    assert.equal(two.token?.value, first);
    // Both are due at the same moment: neither may use a refresh token that the other has used.
    await soon(async () => {
      assert.ok(storage.stores >= 2);
      await two.reload();
      assert.notEqual(two.token?.value, first);
    });
    await Promise.all([one.renewNow(true), two.renewNow(true)]);
    await one.reload();
    await two.reload();
    for (const account of [one, two]) {
      const { token, state } = account;
      assert.equal(state.kind, 'signed-in');
      assert.ok(token);
      assert.equal((await call('me', { gateway: new URL(on.url), token: token.value })).person.subject, 'ada');
    }
    const last = one.token?.value ?? '';
    assert.equal(await one.signOut(), undefined);
    assert.equal(storage.text, undefined);
    await two.reload();
    assert.equal(two.state.kind, 'signed-out');
    await assert.rejects(call('me', { gateway: new URL(on.url), token: last }), /[Ss]ign in/);
    one.dispose();
    two.dispose();
  });

  it('says so when the sign-in was ended by someone else, and when the gateway cannot be reached; the token of one gateway goes to no other', async () => {
    const storage = new Kept();
    const account = accountOn(storage);
    await account.use(new URL(on.url));
    const tokens = await signIn(on, 'ada');
    await account.signedIn(tokens, ada);
    assert.match(sentenceOf(account.state), /^Signed in to the gateway at 127\.0\.0\.1:\d+ as Ada\.$/);
    await account.use(nowhere);
    assert.equal(kindOf(account), 'signed-out');
    assert.equal(account.token, undefined);
    await account.use(new URL(on.url));
    assert.equal(kindOf(account), 'signed-in');
    await revoke(new URL(on.url), tokens.refresh);
    await account.refused();
    assert.equal(kindOf(account), 'signed-out');
    assert.match(sentenceOf(account.state), /has ended\. Sign in again\.$/);
    assert.equal(storage.text, undefined);
    account.dispose();
    await assert.rejects(renew(new URL(on.url), tokens.refresh), { code: 'sign-in-ended' });

    const away = new Kept();
    const far = accountOn(away);
    await far.use(nowhere);
    await far.signedIn({ ...tokens, expiresAt: Date.now() + 60_000 }, ada);
    await far.renewNow(true);
    assert.equal(far.state.kind, 'signed-in');
    assert.match(sentenceOf(far.state), /cannot be reached .* tried again by itself/);
    assert.match((await far.signOut()) ?? '', /signed out here/);
    far.dispose();
  });
});
