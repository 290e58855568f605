/** When a refresh token was last exchanged: two windows of one editor may do so in the same moment. */
import type { Migration } from '../migrate.ts';

export const refreshedAt: Migration = {
  version: 2,
  name: 'refreshed-at',
  compatibleFrom: 1,
  statements: ['ALTER TABLE logins ADD COLUMN refreshed_at bigint'],
};
