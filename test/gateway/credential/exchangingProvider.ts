/** A real authorization server (oidc-provider) with the grant of RFC 8693, which believes one gateway and nobody else. */
import { createServer } from 'node:http';
import { type JWTVerifyGetKey, jwtVerify } from 'jose';
import { Provider } from 'oidc-provider';
import { freePort } from '../../../demo/freePort.ts';

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';

export interface ExchangingProvider {
  readonly issuer: string;
  /** What the gateway said of people, each time. */
  readonly vouched: string[];
  readonly asked: Record<string, unknown>[];
  /** How long its tokens are good. */
  seconds: number;
  /** Answered in the place of a token. */
  refuse: string | undefined;
  isAway: boolean;
  /** Whose token it is: undefined where it is none, or none any more. */
  account(token: string): Promise<string | undefined>;
  /** Ends it before its time. */
  end(token: string): Promise<void>;
  stop(): Promise<void>;
}

export async function exchangingProvider(gateway: { issuer: string; secret: string; key: JWTVerifyGetKey }): Promise<ExchangingProvider> {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'gateway', client_secret: gateway.secret, grant_types: [GRANT], redirect_uris: [], response_types: [] }],
    cookies: { keys: ['test'] },
    scopes: ['openid', 'issues:read'],
    features: { devInteractions: { enabled: false }, revocation: { enabled: true }, introspection: { enabled: true } },
    ttl: { AccessToken: () => self.seconds, Grant: 3_600 },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  });
  provider.on('server_error', () => undefined);
  provider.registerGrantType(
    GRANT,
    async (ctx) => {
      const { client } = ctx.oidc;
      const params: Record<string, unknown> = { ...ctx.oidc.params };
      self.asked.push(params);
      const no = (error: string): void => {
        ctx.status = 400;
        ctx.body = { error, error_description: gateway.secret };
      };
      if (self.refuse !== undefined) return no(self.refuse);
      const subject = String(params.subject_token);
      self.vouched.push(subject);
      try {
        const { payload } = await jwtVerify(subject, gateway.key, {
          issuer: gateway.issuer,
          audience: issuer,
          typ: 'JWT',
          requiredClaims: ['exp', 'jti', 'sub'],
        });
        const token = new provider.AccessToken({ accountId: String(payload.sub), client: client as never, gty: 'token-exchange' } as never);
        token.scope = typeof params.scope === 'string' ? params.scope : '';
        const access_token = await token.save();
        ctx.body = { access_token, issued_token_type: 'urn:ietf:params:oauth:token-type:access_token', token_type: 'Bearer', expires_in: self.seconds };
      } catch {
        no('invalid_grant');
      }
    },
    ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope'],
  );
  const callback = provider.callback();
  const server = createServer((request, response) => {
    if (self.isAway) return void request.socket.destroy();
    return void callback(request, response);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const self: ExchangingProvider = {
    issuer,
    vouched: [],
    asked: [],
    seconds: 600,
    refuse: undefined,
    isAway: false,
    account: async (token) => (await provider.AccessToken.find(token))?.accountId,
    end: async (token) => {
      await (await provider.AccessToken.find(token))?.destroy();
    },
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return self;
}
