/** A real OpenID provider, an MCP server that it protects and that checks whom a token is for, and a person's browser. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { createMcpHandler, McpServer, OAuthError, OAuthErrorCode, requireBearerAuth } from '@modelcontextprotocol/server';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { Provider } from 'oidc-provider';
import { z } from 'zod';

/** Short, so that tokens are renewed in the test: a token is renewed when less than half a minute is left of it. */
const TOKEN_TTL_SECONDS = 20;

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export interface Protected {
  readonly issuer: string;
  /** Address of the MCP server. */
  readonly url: string;
  /** Tokens that were shown to the MCP server. */
  readonly seen: Set<string>;
  /** What came to the token endpoint: grants, in order. */
  readonly grants: string[];
  stop(): void;
}

export async function protectedServer(): Promise<Protected> {
  const seen = new Set<string>();
  const grants: string[] = [];
  let answerProvider: (request: IncomingMessage, response: ServerResponse) => void = () => undefined;
  const providerServer = createServer((request, response) => answerProvider(request, response));
  const issuer = await listen(providerServer);
  let answerMcp: (request: IncomingMessage, response: ServerResponse) => Promise<void> = async () => undefined;
  const mcpServer = createServer((request, response) => void answerMcp(request, response).catch(() => response.destroy()));
  const origin = await listen(mcpServer);
  const url = `${origin}/mcp`;

  const provider = new Provider(issuer, {
    clients: [],
    scopes: ['openid', 'offline_access', 'notes:read', 'notes:write'],
    pkce: { required: () => true },
    features: {
      registration: { enabled: true },
      revocation: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:nobody',
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => ({
          audience: resource,
          scope: 'notes:read notes:write',
          accessTokenTTL: TOKEN_TTL_SECONDS,
          accessTokenFormat: 'jwt' as const,
          jwt: { sign: { alg: 'RS256' as const } },
        }),
      },
    },
    rotateRefreshToken: true,
    issueRefreshToken: async () => true,
    clientDefaults: { token_endpoint_auth_method: 'none' },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  });
  provider.on('grant.success', (ctx) => void grants.push(String(ctx.oidc.params?.grant_type)));
  provider.on('grant.error', (ctx) => void grants.push(`refused ${String(ctx.oidc.params?.grant_type)}`));
  const callback = provider.callback();
  answerProvider = (request, response) => void callback(request, response);

  const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`));
  const metadata = `${origin}/.well-known/oauth-protected-resource/mcp`;
  const gate = requireBearerAuth({
    resourceMetadataUrl: metadata,
    expectedResource: new URL(url),
    requiredScopes: ['notes:read'],
    verifier: {
      verifyAccessToken: async (token) => {
        seen.add(token);
        try {
          const { payload } = await jwtVerify(token, keys, { issuer, audience: url });
          return {
            token,
            clientId: String(payload.client_id),
            scopes: String(payload.scope).split(' '),
            expiresAt: payload.exp ?? 0,
            resource: new URL(String(payload.aud)),
          };
        } catch {
          throw new OAuthError(OAuthErrorCode.InvalidToken, 'not a token for this server');
        }
      },
    },
  });
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name: 'notes', version: '1' });
    server.registerTool('read', { inputSchema: z.object({}), annotations: { readOnlyHint: true } }, async () => ({
      content: [{ type: 'text', text: 'the notes' }],
    }));
    server.registerTool('write', { inputSchema: z.object({}), annotations: { readOnlyHint: true } }, async () => ({
      content: [{ type: 'text', text: 'written' }],
    }));
    return server;
  });
  answerMcp = async (incoming, outgoing) => {
    const body = await new Response(Readable.toWeb(incoming) as ReadableStream).text();
    if (incoming.url === '/.well-known/oauth-protected-resource/mcp') {
      outgoing.writeHead(200, { 'content-type': 'application/json' });
      return void outgoing.end(JSON.stringify({ resource: url, authorization_servers: [issuer], scopes_supported: ['notes:read'] }));
    }
    const headers = Object.entries(incoming.headers).filter((pair): pair is [string, string] => typeof pair[1] === 'string');
    const request = new Request(origin + (incoming.url ?? '/'), { method: incoming.method ?? 'GET', headers, ...(body !== '' && { body }) });
    const auth = await gate(request.clone());
    let response = auth instanceof Response ? auth : undefined;
    // One tool wants more than the others, as GitHub's and Atlassian's do.
    if (response === undefined && !(auth instanceof Response) && /"name":"write"/.test(body) && !auth.scopes.includes('notes:write')) {
      response = new Response('{}', {
        status: 403,
        headers: { 'WWW-Authenticate': `Bearer error="insufficient_scope", scope="notes:write", resource_metadata="${metadata}"` },
      });
    }
    response ??= await handler.fetch(request, { authInfo: auth as Exclude<typeof auth, Response> });
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    if (response.body) Readable.fromWeb(response.body as import('node:stream/web').ReadableStream).pipe(outgoing);
    else outgoing.end();
    return undefined;
  };
  return {
    issuer,
    url,
    seen,
    grants,
    stop: () => {
      for (const server of [providerServer, mcpServer]) {
        server.close();
        server.closeAllConnections();
      }
    },
  };
}

/** A browser with a person at it who logs in and agrees. @returns where it ended */
export async function browse(start: string): Promise<{ readonly url: string; readonly status: number; readonly text: string }> {
  const cookies = new Map<string, string>();
  let url = start;
  let form: URLSearchParams | undefined;
  for (let step = 0; step < 20; step++) {
    const response = await fetch(url, {
      method: form ? 'POST' : 'GET',
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      ...(form && { body: form }),
    });
    form = undefined;
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      cookies.set(name, value);
    }
    const location = response.headers.get('location');
    if (location !== null) {
      url = new URL(location, url).href;
      continue;
    }
    const text = await response.text();
    const [, action] = /<form[^>]*action="([^"]+)"/.exec(text) ?? [];
    const [, prompt] = /name="prompt" value="([^"]+)"/.exec(text) ?? [];
    if (action === undefined || prompt === undefined) return { url, status: response.status, text };
    form = new URLSearchParams({ prompt, ...(prompt === 'login' && { login: 'ada', password: 'whatever' }) });
    url = new URL(action, url).href;
  }
  throw new Error('the browser goes round in circles');
}
