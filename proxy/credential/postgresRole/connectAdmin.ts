import type { Secret } from '../../../contract/secret.ts';
import type { PostgresConnection } from '../../policy/policy.ts';
import { closeBackend, openBackend } from '../../protocols/postgres/backend.ts';
import { ownQueries } from '../../protocols/postgres/ownQueries.ts';
import type { Dial } from '../../protocols/protocol.ts';
import type { AdminQuery } from './adminLink.ts';

/** The broker's own sessions, as they show in `pg_stat_activity`. */
const ROLES_APPLICATION = 'countersign roles';

/** Logs in as the connection's `user`. @throws as `openBackend` */
export async function connectAdmin(connection: PostgresConnection, password: Secret | undefined, signal: AbortSignal, dial?: Dial): Promise<AdminQuery> {
  const backend = await openBackend(connection, password, new Map([['application_name', ROLES_APPLICATION]]), signal, dial);
  const { socket } = backend;
  return {
    query: ownQueries(backend),
    get closed() {
      return socket.destroyed || socket.readableEnded || !socket.writable;
    },
    close: () => closeBackend(backend),
  };
}
