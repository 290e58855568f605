/** Parts of ended sessions that lie in the archive instead of `entries`: always from line 0 on, without a gap. */
import type { Migration } from '../migrate.ts';

export const segments: Migration = {
  version: 5,
  name: 'segments',
  compatibleFrom: 1,
  statements: [
    // `archiving_until`: some replica is at it, which saves the others the work. `archive_problem`: it stays here, because it does not hold.
    `ALTER TABLE sessions ADD COLUMN archived_at bigint, ADD COLUMN archiving_until bigint, ADD COLUMN archive_problem text, ADD COLUMN expired_at bigint`,
    `CREATE INDEX sessions_to_archive ON sessions (closed_at) WHERE archived_at IS NULL`,
    // `prev` and `head`: hashes of the line before the first, and of the last. `version`: of the object, where its bucket keeps versions.
    `CREATE TABLE segments (
       session text NOT NULL REFERENCES sessions, first bigint NOT NULL, last bigint NOT NULL, prev text NOT NULL, head text NOT NULL,
       store text NOT NULL, object text NOT NULL, version text, sha256 text NOT NULL, bytes bigint NOT NULL, at bigint NOT NULL DEFAULT ms(), PRIMARY KEY (session, first))`,
  ],
};
