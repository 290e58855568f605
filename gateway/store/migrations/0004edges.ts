/** Edges: their names, the tokens that let one join, the keys that they prove themselves with, and where they are connected. */
import type { Migration } from '../migrate.ts';

export const edges: Migration = {
  version: 4,
  name: 'edges',
  compatibleFrom: 1,
  statements: [
    `CREATE TABLE edges (name text PRIMARY KEY, created_at bigint NOT NULL DEFAULT ms(), created_by jsonb NOT NULL, removed_at bigint)`,
    // `used_key`: the key that joined with it. The same key may ask again, whose answer was lost; no other ever.
    `CREATE TABLE edge_tokens (token_hash text PRIMARY KEY, edge text NOT NULL REFERENCES edges, created_at bigint NOT NULL DEFAULT ms(), expires_at bigint NOT NULL, used_at bigint, used_key text)`,
    `CREATE TABLE edge_keys (id text PRIMARY KEY, edge text NOT NULL REFERENCES edges, public_key text NOT NULL, host text NOT NULL, joined_at bigint NOT NULL DEFAULT ms(), seen_at bigint, revoked_at bigint)`,
    `CREATE INDEX edge_keys_edge ON edge_keys (edge)`,
    // Which process of an edge is connected to which replica; what a replica that died has left is taken away with it.
    `CREATE TABLE edge_links (id text PRIMARY KEY, edge text NOT NULL, key text NOT NULL, replica text NOT NULL REFERENCES replicas, host text NOT NULL, version text NOT NULL, connected_at bigint NOT NULL DEFAULT ms(), draining boolean NOT NULL DEFAULT false)`,
    `CREATE INDEX edge_links_edge ON edge_links (edge)`,
  ],
};
