import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { createRemoteJWKSet } from 'jose';
import { METHODS, SurfaceAccess } from '../../../contract/control.ts';
import { Secret } from '../../../contract/secret.ts';
import type { Log } from '../../../proxy/pipeline/engine.ts';
import { Home } from '../../proxy/daemon/daemonProcess.ts';
import { soon } from '../../support/soon.ts';
import { answeringMcp } from '../answeringMcp.ts';
import { type ExchangingProvider, exchangingProvider } from '../credential/exchangingProvider.ts';
import { type Client as SignedIn, type Stage, stage } from '../stage.ts';
import { listen } from '../tunnel/network.ts';

const SECRET = `canary-client-${randomBytes(12).toString('hex')}`;

/** An MCP server that lets in whom the authorization server knows, and says who that is. */
function whoAmI(provider: () => ExchangingProvider, tokens: Set<string>): Server {
  const tokenOf = ({ headers }: IncomingMessage): string => headers.authorization?.replace('Bearer ', '') ?? '';
  return answeringMcp({
    name: 'issues',
    refuses: async (request) => {
      const token = tokenOf(request);
      if ((await provider().account(token)) === undefined) return 401;
      tokens.add(token);
      return undefined;
    },
    tools: () => [{ name: 'whoami', description: 'Says who is asking.', annotations: { readOnlyHint: true } }],
    call: async (_tool, request) => `You are ${await provider().account(tokenOf(request))}.`,
  });
}

/** The whole way: signed in at a real provider, vouched for by a real gateway, exchanged at a real authorization server. */
describe('an MCP server that is used with each person’s own token', () => {
  let on: Stage;
  let provider: ExchangingProvider;
  let server: Server;
  const tokens = new Set<string>();
  const people: SignedIn[] = [];
  const homes = [new Home(), new Home()];
  const logged: string[] = [];
  const say = (event: string, fields: Readonly<Record<string, unknown>> = {}): void =>
    void logged.push(`${event} ${JSON.stringify(fields, (_k, v: unknown) => (v instanceof Error ? `${v.message} ${JSON.stringify(v.cause)}` : v))}`);
  const log: Log = { info: say, warn: say, error: say };

  before(async () => {
    on = await stage({ log });
    provider = await exchangingProvider({ issuer: on.url, secret: SECRET, key: createRemoteJWKSet(new URL(`${on.url}/oauth/jwks`)) });
    server = whoAmI(() => provider, tokens);
    const port = await listen(server);
    const { db, credentials } = on.gateways[0] as Stage['gateways'][number];
    await db.transaction((tx) => credentials.put(tx, 'exchange', new Secret(SECRET), { issuer: 'x', subject: 'root', groups: [] }));
    await credentials.load();
    const root = await on.signIn('root');
    const text = `version: 1
defaults: { read: allow, unknown: allow, execute: allow, write: allow }
connections:
  issues:
    protocol: mcp
    via: gateway
    upstream: { url: 'http://127.0.0.1:${port}/mcp', exchange: { issuer: '${provider.issuer}', client-id: gateway, client-secret: secret:exchange, audience: issues, scopes: ['issues:read'] } }
`;
    const put = await root.call('PUT', '/v1/policy', { text, comment: 'issues', over: 0 });
    assert.equal(put.status, 200, JSON.stringify(put.body));
  });
  after(async () => {
    for (const home of homes) await home.remove();
    await on.stop();
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
    await provider.stop();
  });

  it('knows each by their own name; no token of anyone is seen on the laptop, in a log, in the record or by the API', async () => {
    const said: string[] = [];
    for (const [i, user] of ['ada', 'bob'].entries()) {
      const home = homes[i] as Home;
      const person = await on.signIn(user);
      people.push(person);
      const { at } = await home.start();
      const window = await home.attach(at);
      await window.request(METHODS.putGateway, { url: on.url, token: { value: person.token, expiresAt: Date.now() + 600_000 } });
      await window.until(({ connections }) => connections.some(({ name, state }) => name === 'issues' && state === 'ready'));
      const { mcp } = SurfaceAccess.parse(await window.request(METHODS.access));
      const entry = mcp.find(({ name }) => name === 'issues');
      assert.ok(entry);
      const client = new Client({ name: 'claude-code', version: '1' });
      await client.connect(new StreamableHTTPClientTransport(new URL(entry.url), { requestInit: { headers: entry.headers } }));
      const result = JSON.stringify(await client.callTool({ name: 'whoami', arguments: {} }));
      assert.match(result, new RegExp(`You are ${user}`), result);
      said.push(result);
      await client.close();
      const list = await person.call('GET', '/v1/sessions');
      for (const { id } of list.body.sessions as { id: string }[]) said.push(JSON.stringify((await person.call('GET', `/v1/sessions/${id}/entries`)).body));
      said.push(JSON.stringify(list.body), JSON.stringify((await person.call('GET', '/v1/connections')).body));
    }
    assert.equal(tokens.size, 2, 'each has one of their own');
    const record = JSON.stringify(await (on.gateways[0] as Stage['gateways'][number]).db.query('SELECT line FROM entries'));
    assert.match(record, /whoami/);
    for (const canary of [SECRET, ...tokens, ...provider.vouched]) {
      for (const [where, text] of [
        ['the log', logged.join('\n')],
        ['the record', record],
        ['the laptop’s side', said.join('\n')],
      ] as const)
        assert.ok(!text.includes(canary), `${canary.slice(0, 12)}… in ${where}`);
    }
  });

  it('gives the tokens back once the sessions are over, here by signing out', async () => {
    assert.deepEqual(await Promise.all([...tokens].map((token) => provider.account(token))), ['ada', 'bob']);
    for (const person of people) assert.ok((await person.call('POST', '/v1/me/sign-out', {})).status < 300);
    await soon(async () => assert.deepEqual(await Promise.all([...tokens].map((token) => provider.account(token))), [undefined, undefined]), 20_000);
  });
});
