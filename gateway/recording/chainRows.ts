/** Where chains stand in the store, and whether what is found there is what the key's holder left. */
import { GENESIS } from '../../proxy/recording/chainFile.ts';
import { one, type Queryable } from '../store/database.ts';
import type { RecordKey } from './recordKey.ts';

/** What was changed about the gateway itself, and by whom. */
export const GATEWAY_CHAIN = 'gateway';
/** Chains of sessions begin so; recorder.ts keeps them. */
export const RECORD_CHAINS = 'record:';
/** Any number, the same in every gateway: held alone by whoever begins to sign, and together by those who add lines before that. */
export const BEGINNING = 4_242_017_734;
const MAKE_CHAIN = 'INSERT INTO chains (chain, entries, head) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING';

export interface ChainRow {
  readonly chain: string;
  readonly entries: number;
  readonly head: string;
  readonly signed: string | null;
  readonly now: number;
}

/** Whether gateways sign by now; if not, they do not begin to until this transaction has ended. */
export async function hasBegun(tx: Queryable): Promise<boolean> {
  const read = async (): Promise<boolean> =>
    ((await one<{ signed: string | null }>(tx, 'SELECT signed FROM chains WHERE chain = $1', [GATEWAY_CHAIN]))?.signed ?? null) !== null;
  if (await read()) return true;
  await tx.query(`SELECT pg_advisory_xact_lock_shared(${BEGINNING})`);
  return await read();
}

/** Where it stands; nobody else moves it until this transaction has ended. */
export async function lockChain(tx: Queryable, chain: string): Promise<ChainRow> {
  await tx.query(MAKE_CHAIN, [chain, GENESIS]);
  const at = await one<ChainRow>(tx, 'SELECT chain, entries, head, signed, ms() AS now FROM chains WHERE chain = $1 FOR UPDATE', [chain]);
  if (!at) throw new Error('a chain that was just made is not there');
  return at;
}

/** What is wrong with the end that was found, in words; undefined where it is what was signed, or the very beginning. */
export function notSigned(key: RecordKey, { entries, head, signed }: ChainRow): string | undefined {
  if (entries === 0 && signed === null) return undefined;
  if (signed === null) return `the signature over its first ${entries} lines was gone`;
  const place = key.signedPlace(signed);
  if (place?.entries === entries && place.head === head) return undefined;
  if (!place) return `its first ${entries} lines were signed with a key that this gateway does not know`;
  return `it had ${entries} lines, and what was signed are ${place.entries}, ended by ${place.head}`;
}
