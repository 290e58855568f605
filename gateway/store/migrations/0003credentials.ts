/** Secrets of connections, each sealed with a key of its own that is wrapped by one from outside the store. */
import type { Migration } from '../migrate.ts';

export const credentials: Migration = {
  version: 3,
  name: 'credentials',
  compatibleFrom: 1,
  statements: [
    `CREATE TABLE credentials (name text PRIMARY KEY, version int NOT NULL, kek text NOT NULL, wrapped text NOT NULL, sealed text NOT NULL, updated_at bigint NOT NULL DEFAULT ms(), updated_by jsonb NOT NULL)`,
  ],
};
