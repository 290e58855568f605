/** Service accounts that put the organisation's policy and use nothing; and how often one was switched on, so that tokens of before stay dead. */
import type { Migration } from '../migrate.ts';

export const publishers: Migration = {
  version: 9,
  name: 'publishers',
  compatibleFrom: 1,
  statements: ['ALTER TABLE service_accounts ADD COLUMN publisher boolean NOT NULL DEFAULT false, ADD COLUMN generation int NOT NULL DEFAULT 0'],
};
