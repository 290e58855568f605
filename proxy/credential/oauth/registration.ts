/** How we are known to an authorization server: as policy says, else by a metadata document, else by registering. */
import * as oauth from 'oauth4webapi';
import { Problem } from '../../../contract/problem.ts';
import type { Secret } from '../../../contract/secret.ts';
import type { SafeFetch } from './safeFetch.ts';

export interface ClientOptions {
  /** Registered beforehand. */
  readonly id?: string;
  readonly secret?: Secret;
  /** The authorization server where it was: what it is known by there is not shown to another, which the MCP server may name. */
  readonly issuer?: string;
  /** https address of a client's metadata document (CIMD), which is then its id. */
  readonly metadata?: string;
}

/** How a client with a secret proves it. */
export type ClientMethod = 'client_secret_basic' | 'client_secret_post' | 'none';

export interface KnownClient {
  readonly id: string;
  readonly secret?: string;
  readonly method?: ClientMethod;
}

/** @throws Problem `oauth-client` where the server knows no way to know us */
export async function clientFor(server: oauth.AuthorizationServer, redirect: URL, options: ClientOptions, fetch: SafeFetch): Promise<KnownClient> {
  if (options.issuer !== undefined && new URL(options.issuer).href !== new URL(server.issuer).href) {
    throw new Problem(
      'oauth-issuer',
      `The sign-in was led to ${new URL(server.issuer).host}, and countersign.yaml says that Countersign is known to ${new URL(options.issuer).host}. Nothing was sent there.`,
    );
  }
  if (options.id !== undefined) return { id: options.id, ...(options.secret && { secret: options.secret.reveal(), method: methodWithSecret(server) }) };
  if (options.metadata !== undefined && server.client_id_metadata_document_supported === true) return { id: options.metadata };
  const { host } = new URL(server.issuer);
  if (server.registration_endpoint === undefined) {
    throw new Problem(
      'oauth-client',
      `${host} lets no client register by itself. Register Countersign there, and write the id into countersign.yaml: oauth: { client-id: … }.`,
    );
  }
  try {
    const answer = await oauth.dynamicClientRegistrationRequest(
      server,
      {
        client_name: 'Countersign',
        redirect_uris: [redirect.href],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        // A program on a laptop keeps no secret well; some servers take no client without one.
        token_endpoint_auth_method: offers(server, 'none') ? 'none' : methodWithSecret(server),
        application_type: redirect.protocol === 'http:' ? 'native' : 'web',
      },
      { ...fetch.options, [oauth.allowInsecureRequests]: true },
    );
    const client = await oauth.processDynamicClientRegistrationResponse(await withExpiry(answer));
    if (typeof client.client_secret !== 'string') return { id: client.client_id };
    const said = client.token_endpoint_auth_method;
    const method = said === 'client_secret_basic' || said === 'client_secret_post' || said === 'none' ? said : methodWithSecret(server);
    return { id: client.client_id, secret: client.client_secret, method };
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw new Problem(
      'oauth-client',
      `${host} did not register Countersign as a client. Register it there, and write the id into countersign.yaml: oauth: { client-id: … }.`,
    );
  }
}

export function authentication({ method, secret }: KnownClient): oauth.ClientAuth {
  if (secret === undefined || method === 'none') return oauth.None();
  return method === 'client_secret_basic' ? basic(secret) : oauth.ClientSecretPost(secret);
}

/** As RFC 6749 has it, but what needs no escape gets none: some servers compare what is there without undoing it. */
function basic(secret: string): oauth.ClientAuth {
  const escaped = (text: string): string => encodeURIComponent(text).replaceAll('%20', '+');
  return (_server, { client_id: id }, _body, headers) => {
    headers.set('authorization', `Basic ${Buffer.from(`${escaped(id)}:${escaped(secret)}`).toString('base64')}`);
  };
}

function offers(server: oauth.AuthorizationServer, method: ClientMethod): boolean {
  return server.token_endpoint_auth_methods_supported?.includes(method) ?? true;
}

/** What a server does not say is `client_secret_basic` (RFC 8414). */
function methodWithSecret(server: oauth.AuthorizationServer): ClientMethod {
  return offers(server, 'client_secret_basic') || !offers(server, 'client_secret_post') ? 'client_secret_basic' : 'client_secret_post';
}

/** Many servers leave out when a secret ends, which is required where there is one (RFC 7591): it does not, then. */
async function withExpiry(answer: Response): Promise<Response> {
  if (answer.status !== 201) return answer;
  const body: unknown = await answer
    .clone()
    .json()
    .catch(() => undefined);
  if (typeof body !== 'object' || body === null || !('client_secret' in body) || 'client_secret_expires_at' in body) return answer;
  return new Response(JSON.stringify({ ...body, client_secret_expires_at: 0 }), { status: answer.status, headers: { 'content-type': 'application/json' } });
}
