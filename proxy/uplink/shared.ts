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

/** Stands where an address must: where it really is, the gateway alone knows. No such name leads anywhere (RFC 2606). */
const NOWHERE = 'gateway.invalid';

/**
 * The policy's connections, and those that the gateway offers and no policy here names. One that is shared reads the same,
 * whoever named it: nobody is cut off because the gateway's word came before its policy.
 */
export function withOffered(
  connections: ReadonlyMap<string, ConnectionConfig>,
  { offered }: Pick<SharedUplink, 'offered'>,
): ReadonlyMap<string, ConnectionConfig> {
  const all = new Map([...connections].map(([name, config]) => [name, config.via === 'gateway' ? asShared(config) : config]));
  for (const { database = '', name, protocol, sensitive } of offered) {
    if (all.has(name)) continue;
    const base = { name, via: 'gateway', sensitive: new Map(Object.entries(sensitive)) as ConnectionConfig['sensitive'] } as const;
    all.set(name, protocol === 'postgres' ? postgres(base, database) : mcp(base));
  }
  return all;
}

type Base = Pick<ConnectionConfig, 'name' | 'sensitive' | 'port'> & { readonly via: 'gateway' };

function asShared(config: ConnectionConfig): ConnectionConfig {
  const { name, sensitive, port } = config;
  const base: Base = { name, via: 'gateway', sensitive, ...(port !== undefined && { port }) };
  return config.protocol === 'postgres' ? postgres(base, config.upstream.database) : mcp({ ...base, sensitive: new Map() });
}

function postgres(base: Base, database: string): ConnectionConfig {
  return { ...base, protocol: 'postgres', upstream: { host: NOWHERE, port: 443, database }, tls: { mode: 'verify-full' } };
}

function mcp(base: Base): ConnectionConfig {
  return { ...base, protocol: 'mcp', upstream: { transport: 'http', url: `https://${NOWHERE}/`, headers: new Map() } };
}
