/** How we are known to an authorization server: as policy says, else by a metadata document, else by registering. */
import * as oauth from 'oauth4webapi';
import { Problem } from '../../../contract/problem.ts';
import type { Secret } from '../../../contract/secret.ts';
import type { SafeFetch } from './safeFetch.ts';

export interface ClientOptions {
  /** Registered beforehand. */
  readonly id?: string;
  readonly secret?: Secret;
  /** https address of a client's metadata document (CIMD), which is then its id. */
  readonly metadata?: string;
}

export interface KnownClient {
  readonly id: string;
  readonly secret?: string;
}

/** @throws Problem `oauth-client` where the server knows no way to know us */
export async function clientFor(server: oauth.AuthorizationServer, redirect: URL, options: ClientOptions, fetch: SafeFetch): Promise<KnownClient> {
  if (options.id !== undefined) return { id: options.id, ...(options.secret && { secret: options.secret.reveal() }) };
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
        token_endpoint_auth_method: 'none',
        application_type: redirect.protocol === 'http:' ? 'native' : 'web',
      },
      { ...fetch.options, [oauth.allowInsecureRequests]: true },
    );
    const client = await oauth.processDynamicClientRegistrationResponse(answer);
    return { id: client.client_id, ...(typeof client.client_secret === 'string' && { secret: client.client_secret }) };
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw new Problem(
      'oauth-client',
      `${host} did not register Countersign as a client. Register it there, and write the id into countersign.yaml: oauth: { client-id: … }.`,
    );
  }
}

export function authentication(client: KnownClient): oauth.ClientAuth {
  return client.secret === undefined ? oauth.None() : oauth.ClientSecretPost(client.secret);
}
