/** Whose a task of an MCP server is, in the store: a client may come back for it at another replica, and so may somebody else. */
import { Facts } from '../../contract/facts.ts';
import type { JsonObject } from '../../proxy/protocols/mcp/message.ts';
import type { KeptTask, SharedTasks } from '../../proxy/protocols/mcp/taskBook.ts';
import { hashOf } from '../sealed.ts';
import { type Database, json, one } from '../store/database.ts';

/** How long a task is known, in milliseconds: of an older one nothing is. */
const KEEP_MS = 7 * 24 * 60 * 60_000;

interface Row {
  readonly owner: string;
  readonly tool: string;
  readonly headline: string;
  readonly facts: unknown;
  readonly output_schema: JsonObject | null;
}

export class StoredTasks implements SharedTasks {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async keep(connection: string, id: string, { facts, headline, outputSchema, owner, tool }: KeptTask): Promise<void> {
    await this.#db.query('DELETE FROM mcp_tasks WHERE at < ms() - $1::bigint', [KEEP_MS]);
    await this.#db.query(
      `INSERT INTO mcp_tasks (connection, id_hash, owner, tool, headline, facts, output_schema) VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7::jsonb)
       ON CONFLICT DO NOTHING`,
      [connection, hashOf(id), owner, tool, headline, json(facts), outputSchema === undefined ? null : json(outputSchema)],
    );
  }

  async find(connection: string, id: string): Promise<KeptTask | undefined> {
    const row = await one<Row>(this.#db, 'SELECT * FROM mcp_tasks WHERE connection = $1 AND id_hash = $2 AND at >= ms() - $3::bigint', [
      connection,
      hashOf(id),
      KEEP_MS,
    ]);
    if (!row) return undefined;
    const { headline, owner, tool } = row;
    return { owner, tool, headline, facts: Facts.parse(row.facts), outputSchema: row.output_schema ?? undefined };
  }
}
