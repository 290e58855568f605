import { Secret } from '../../../contract/secret.ts';
import { OAuthBroker } from '../../../proxy/credential/oauth/broker.ts';
import type { McpConnection } from '../../../proxy/policy/policy.ts';
import { mcp } from '../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../proxy/protocols/protocol.ts';
import { remoteConnection } from '../../proxy/protocols/mcp/everything.ts';
import { Stage } from '../../proxy/protocols/mcp/stage.ts';

/** A relay before the suite's server, which signs in as an editor's proxy does: the person's browser is a fetch that follows. */
export async function relay(given: string, context: string): Promise<{ readonly stage: Stage; readonly served: Served }> {
  const stage = await Stage.start();
  const { id, secret } = registered(context);
  const connection = remoteConnection('suite', given);
  const upstream = {
    ...connection.upstream,
    ...(id !== undefined && { oauth: { id, ...(secret !== undefined && { secret: { from: 'secret', name: 'suite' } }) } }),
  };
  if (secret !== undefined) stage.secrets.set('suite', new Secret(secret));
  const known = { ...connection, upstream } as McpConnection;
  stage.connections.push(known);
  const broker = new OAuthBroker({ now: () => Date.now(), log: stage.host.engine.log, changed: () => {}, keep: () => {} });
  const served = await mcp.serve(known, { ...stage.host, oauth: (settings) => broker.of(settings) });
  return { stage, served };
}

/** A client that the scenario has registered before. */
function registered(context: string): { readonly id?: string; readonly secret?: string } {
  const { client_id: id, client_secret: secret } = JSON.parse(context) as { client_id?: string; client_secret?: string };
  return { ...(id !== undefined && { id }), ...(secret !== undefined && { secret }) };
}
