/**
 * Once ends of chains are signed, none moves without a signature: a gateway of before could add lines that nobody can tell from
 * what somebody with the store's password wrote. It is refused what it would do, and the others' record goes on holding.
 */
import type { Migration } from '../migrate.ts';

export const signedOnly: Migration = {
  version: 10,
  name: 'signed-only',
  // Gateways of before may run until signing begins; then chains.ts says here that they may not be started any more.
  compatibleFrom: 1,
  statements: [
    `CREATE FUNCTION chain_is_signed() RETURNS trigger LANGUAGE plpgsql AS $body$
     BEGIN
       IF EXISTS (SELECT 1 FROM chains WHERE chain = 'gateway' AND signed IS NOT NULL) THEN
         RAISE EXCEPTION 'The audit is signed, and this gateway is of a version that does not sign. Stop it, and run the version of the others.' USING ERRCODE = '55000';
       END IF;
       RETURN NEW;
     END $body$`,
    `CREATE TRIGGER chain_is_signed BEFORE UPDATE ON chains FOR EACH ROW
     WHEN (NEW.entries > OLD.entries AND NEW.signed IS NOT DISTINCT FROM OLD.signed) EXECUTE FUNCTION chain_is_signed()`,
  ],
};
