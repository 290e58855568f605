/** Connections of the gateway, as a proxy serves them. */
import type { ConnectionConfig } from '../policy/policy.ts';
import type { Protocol } from '../protocols/protocol.ts';
import { SharedMcp } from './sharedMcp.ts';
import { SharedPostgres } from './sharedPostgres.ts';
import type { SharedUplink } from './sharedState.ts';

export function sharedProtocol(uplink: SharedUplink): Pick<Protocol, 'serve'> {
  return {
    serve: async (connection, host) => {
      if (connection.protocol === 'mcp') return new SharedMcp(connection, host, uplink);
      const served = new SharedPostgres(connection, host, uplink);
      await served.listen();
      return served;
    },
  };
}

/** The policy's connections, and those that the gateway offers and no policy here names. */
export function withOffered(
  connections: ReadonlyMap<string, ConnectionConfig>,
  { host, offered }: Pick<SharedUplink, 'host' | 'offered'>,
): ReadonlyMap<string, ConnectionConfig> {
  const all = new Map(connections);
  for (const { database = '', name, protocol, sensitive } of offered) {
    if (all.has(name)) continue;
    // Where it really is, the gateway alone knows.
    const base = { name, via: 'gateway', sensitive: new Map(Object.entries(sensitive)) as ConnectionConfig['sensitive'] } as const;
    if (protocol === 'postgres') all.set(name, { ...base, protocol, upstream: { host, port: 443, database }, tls: { mode: 'verify-full' } });
    else all.set(name, { ...base, protocol, upstream: { transport: 'http', url: `https://${host}/`, headers: new Map() } });
  }
  return all;
}
