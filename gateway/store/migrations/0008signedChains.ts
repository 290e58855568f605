/** Where the key's holder last left a chain of the audit, signed: the text of a checkpoint over its `entries` and `head`. */
import type { Migration } from '../migrate.ts';

export const signedChains: Migration = {
  version: 8,
  name: 'signed-chains',
  compatibleFrom: 1,
  statements: ['ALTER TABLE chains ADD COLUMN signed text'],
};
