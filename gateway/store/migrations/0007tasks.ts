/** Whose a task of an MCP server is: any replica may be asked about it. */
import type { Migration } from '../migrate.ts';

export const tasks: Migration = {
  version: 7,
  name: 'tasks',
  compatibleFrom: 1,
  statements: [
    // An id can be as good as a password at its server: only its hash is kept.
    `CREATE TABLE mcp_tasks (connection text NOT NULL, id_hash text NOT NULL, owner text NOT NULL, tool text NOT NULL, headline text NOT NULL, facts jsonb NOT NULL, output_schema jsonb, at bigint NOT NULL DEFAULT ms(), PRIMARY KEY (connection, id_hash))`,
    `CREATE INDEX mcp_tasks_old ON mcp_tasks (at)`,
  ],
};
