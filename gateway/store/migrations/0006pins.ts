/** What MCP servers said of what they offer, as it was accepted: for all replicas, and for longer than any of them lives. */
import type { Migration } from '../migrate.ts';

export const pins: Migration = {
  version: 6,
  name: 'pins',
  compatibleFrom: 1,
  statements: [
    // Whoever changes anything of a connection locks its row here.
    `CREATE TABLE pin_books (connection text PRIMARY KEY, since bigint NOT NULL DEFAULT ms())`,
    // Kinds that the server has been met with: what is new among them was not there then.
    `CREATE TABLE pin_kinds (connection text NOT NULL REFERENCES pin_books, kind text NOT NULL, PRIMARY KEY (connection, kind))`,
    // `accepted_by`: nobody, where it was accepted on first use.
    `CREATE TABLE pins (connection text NOT NULL REFERENCES pin_books, kind text NOT NULL, name text NOT NULL, hash text NOT NULL, text text NOT NULL, at bigint NOT NULL, accepted_by jsonb, PRIMARY KEY (connection, kind, name))`,
    `CREATE TABLE pins_waiting (connection text NOT NULL REFERENCES pin_books, kind text NOT NULL, name text NOT NULL, hash text NOT NULL, text text NOT NULL, reasons jsonb NOT NULL, at bigint NOT NULL DEFAULT ms(), PRIMARY KEY (connection, kind, name))`,
    `CREATE TABLE pins_rejected (connection text NOT NULL REFERENCES pin_books, kind text NOT NULL, name text NOT NULL, hash text NOT NULL, at bigint NOT NULL DEFAULT ms(), rejected_by jsonb NOT NULL, PRIMARY KEY (connection, hash))`,
  ],
};
