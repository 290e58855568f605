/** A real OpenID Connect provider on loopback, whose accounts sign in without a page: the test says who sits at the browser. */
import { createServer, type Server } from 'node:http';
import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';
import { Provider } from 'oidc-provider';
import { freePort } from '../../demo/freePort.ts';

export interface Account {
  readonly name?: string;
  readonly email?: string;
  readonly groups?: readonly string[];
}

export interface Idp {
  readonly issuer: string;
  readonly port: number;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Who signs in next; undefined: they refuse. */
  user: string | undefined;
  readonly accounts: Map<string, Account>;
  /** How often somebody had to show who they are. */
  logins: number;
  /** A log-out message as the provider sends it, signed with its key. */
  /** @param session of the provider, where it names one */
  logoutToken(user: string, session?: string): Promise<string>;
  stop(): Promise<void>;
}

export interface IdpOptions {
  readonly redirectUris: readonly string[];
  readonly port?: number;
  readonly keys?: readonly JWK[];
  /** Added to what the provider takes for the time, in milliseconds. */
  readonly algorithm?: 'RS256' | 'ES256';
  readonly backchannelLogoutUri?: string;
}

export async function signingJwk(algorithm: 'RS256' | 'ES256' = 'ES256'): Promise<JWK> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg: algorithm, use: 'sig', kid: Math.random().toString(36).slice(2) };
}

export async function startIdp(options: IdpOptions): Promise<Idp> {
  const port = options.port ?? (await freePort());
  const issuer = `http://127.0.0.1:${port}`;
  const algorithm = options.algorithm ?? 'ES256';
  const accounts = new Map<string, Account>();
  const clientId = 'gateway';
  const clientSecret = 'the-gateway-s-own-secret-at-the-provider';
  const keys = options.keys ?? [await signingJwk('RS256'), await signingJwk('ES256')];
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        redirect_uris: [...options.redirectUris],
        response_types: ['code'],
        grant_types: ['authorization_code', 'refresh_token'],
        id_token_signed_response_alg: algorithm,
        ...(options.backchannelLogoutUri !== undefined && { backchannel_logout_uri: options.backchannelLogoutUri, backchannel_logout_session_required: true }),
      },
    ],
    jwks: { keys: keys as never },
    cookies: { keys: ['test'] },
    claims: { openid: ['sub'], profile: ['name'], email: ['email'], groups: ['groups'] },
    conformIdTokenClaims: true,
    features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    ttl: { Interaction: 600, Session: 3600, Grant: 3600, AccessToken: 600, IdToken: 600, AuthorizationCode: 60 },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts.get(id) }) as never }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  });
  const quiet = (): void => undefined;
  provider.on('server_error', quiet);
  const callback = provider.callback();
  const idp: Idp = {
    issuer,
    port,
    clientId,
    clientSecret,
    user: undefined,
    accounts,
    logins: 0,
    logoutToken: async (user, session) => {
      const key = keys.find(({ alg }) => alg === algorithm);
      if (!key) throw new Error('no key');
      return await new SignJWT({ events: { 'http://schemas.openid.net/event/backchannel-logout': {} }, ...(session !== undefined && { sid: session }) })
        .setProtectedHeader({ alg: algorithm, kid: key.kid ?? '', typ: 'logout+jwt' })
        .setIssuer(issuer)
        .setAudience(clientId)
        .setSubject(user)
        .setIssuedAt()
        .setJti(Math.random().toString(36).slice(2))
        .sign(await importJWK(key, algorithm));
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  const server: Server = createServer((request, response) => {
    void (async () => {
      if (!request.url?.startsWith('/interaction/')) return await callback(request, response);
      const details = await provider.interactionDetails(request, response);
      const { prompt, params, session } = details;
      if (idp.user === undefined) return await provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'refused' });
      if (prompt.name === 'login') {
        idp.logins++;
        return await provider.interactionFinished(request, response, { login: { accountId: idp.user } });
      }
      const grant = new provider.Grant({ accountId: session?.accountId ?? idp.user, clientId: String(params.client_id) });
      grant.addOIDCScope('openid profile email groups');
      return await provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
    })().catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return idp;
}
