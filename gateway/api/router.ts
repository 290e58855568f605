/** Serves the table of endpoints: who is calling, whether they may, what they sent, and only then the handler. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { type Request, type Response, Router } from 'express';
import type { z } from 'zod';
import { CLI_CLIENT, ENDPOINTS, type Endpoint, type EndpointId } from '../../contract/gateway/api.ts';
import { MAX_ID_LENGTH } from '../../contract/ids.ts';
import { Problem } from '../../contract/problem.ts';
import { type AuthenticateParts, byCookie, byToken } from '../identity/authenticate.ts';
import { cookieOf, DEVICE_CLIENT } from '../identity/browserLogin.ts';
import { callersOf, type Principal } from '../identity/principal.ts';
import type { Sealer } from '../sealed.ts';
import { FROM_TERMINAL, mayCall } from './authorization.ts';
import { HttpServer } from './httpServer.ts';

type In<T> = T extends z.ZodType ? z.infer<T> : undefined;

export interface Call<Id extends EndpointId> {
  readonly principal: Principal;
  /** The `:id` of the path, where it has one. */
  readonly id: string;
  readonly query: (typeof ENDPOINTS)[Id] extends { query: infer Q } ? In<Q> : undefined;
  readonly body: (typeof ENDPOINTS)[Id] extends { body: infer B } ? In<B> : undefined;
  readonly request: Request;
  readonly response: Response;
}

type Out<Id extends EndpointId> = (typeof ENDPOINTS)[Id] extends { answer: infer A } ? In<A> : void;

/** One handler an endpoint; one that is missing does not compile. */
export type Handlers = { readonly [Id in EndpointId]: (call: Call<Id>) => Out<Id> | Promise<Out<Id>> };

export interface ApiParts extends AuthenticateParts {
  readonly cookieName: string;
  readonly sealer: Sealer;
}

export function apiRouter(parts: ApiParts, handlers: Handlers): Router {
  const router = Router({ caseSensitive: true, strict: true });
  for (const [id, endpoint] of Object.entries(ENDPOINTS) as [EndpointId, Endpoint][]) {
    const handler = handlers[id] as (call: unknown) => unknown;
    const run = async (request: Request, response: Response): Promise<void> => {
      // Everything about who it is comes before anything about what it is.
      const principal = await principalOf(parts, request);
      if (principal.kind === 'person' && principal.via === 'cookie') guardCookie(parts, principal.basis, endpoint, request);
      if (!mayCall(id, callersOf(principal))) throw new Problem('forbidden', 'Your role does not allow this.');
      if (principal.kind === 'person' && isTerminal(principal.client) && !FROM_TERMINAL.has(id)) {
        throw new Problem('forbidden', 'A terminal’s login cannot do this: an agent could use it. Do it in the editor or in the console.');
      }
      const name = request.params.id;
      if (name !== undefined && (typeof name !== 'string' || name.length > MAX_ID_LENGTH || !/^[\w.:-]+$/.test(name)))
        throw new Problem('not-found', 'There is nothing of this name here, or it is not yours to see.');
      const call = {
        principal,
        id: name ?? '',
        query: endpoint.query?.strict().parse(request.query),
        body: endpoint.body?.parse(request.body ?? {}),
        request,
        response,
      };
      const answer = await handler(call);
      // What goes out is what the contract says, and nothing that happened to lie in a row.
      if (endpoint.answer) response.json(endpoint.answer.parse(answer));
    };
    const bodies = endpoint.method === 'GET' || endpoint.method === 'DELETE' ? [] : [HttpServer.json()];
    router[endpoint.method.toLowerCase() as 'get' | 'post' | 'put' | 'delete'](endpoint.path, ...bodies, run);
  }
  return router;
}

function isTerminal(client: string): boolean {
  return client === CLI_CLIENT || client === DEVICE_CLIENT;
}

/** @throws `Problem` `not-signed-in`, `bad-token` */
async function principalOf(parts: ApiParts, request: Request): Promise<Principal> {
  const { authorization } = request.headers;
  if (authorization !== undefined) {
    const token = /^Bearer ([A-Za-z0-9._~+/-]+=*)$/i.exec(authorization)?.[1];
    if (token === undefined) throw new Problem('bad-token', 'The Authorization header must hold one bearer token.');
    return await byToken(parts, token);
  }
  const cookie = cookieOf(request, parts.cookieName);
  const principal = cookie === undefined ? undefined : await byCookie(parts, cookie);
  if (!principal) throw new Problem('not-signed-in', 'Sign in first.');
  return principal;
}

/** A browser sends its cookie wherever a page makes it go: what a page of ours sent is told apart by where it came from, and by a token. */
function guardCookie(parts: ApiParts, login: string, endpoint: Endpoint, request: Request): void {
  const site = request.headers['sec-fetch-site'];
  const { origin } = request.headers;
  const foreign = (site !== undefined && site !== 'same-origin' && site !== 'none') || (origin !== undefined && origin !== new URL(parts.publicUrl).origin);
  if (foreign) throw new Problem('csrf', 'This request came from a page of another site.');
  if (endpoint.method === 'GET') return;
  const sent = request.headers['x-csrf-token'];
  const wanted = Buffer.from(csrfToken(parts.sealer, login));
  const given = Buffer.from(typeof sent === 'string' ? sent : '');
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) throw new Problem('csrf', 'The page’s own token is missing. Load the page again.');
}

export function csrfToken(sealer: Sealer, login: string): string {
  return createHmac('sha256', sealer.derive('csrf')).update(login).digest('base64url');
}
