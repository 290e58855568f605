/**
 * What people do to and through the gateway: a chain for each of them, and one for the gateway's own changes. Each line holds
 * the hash of the one before, and each chain's end is signed in the transaction that moves it. Before a line is added, the end
 * that was found must be one that the key has signed: so nobody who only holds the database gets what they wrote into it signed.
 */
import { hash } from 'node:crypto';
import type { Log } from '../../proxy/pipeline/engine.ts';
import { ACT, type ActBody } from '../../proxy/recording/acts.ts';
import { canonical } from '../../proxy/recording/canonical.ts';
import { type Database, one, type Queryable, retried } from '../store/database.ts';
import { beginToSign } from './auditStore.ts';
import { BEGINNING, type ChainRow, GATEWAY_CHAIN, hasBegun, lockChain, notSigned, RECORD_CHAINS } from './chainRows.ts';
import type { RecordKey } from './recordKey.ts';

/** The schema that gateways know which sign every chain. */
const SIGNING_SCHEMA = 10;
/** How often it is looked whether the gateways that do not sign have gone, in milliseconds. */
const BEGIN_EVERY_MS = 30_000;

/** No gateway that does not sign can be started on this store from now on; one that comes back is refused by `chain_is_signed`. */
async function refuseOlder(on: Queryable): Promise<void> {
  await on.query('UPDATE schema_migrations SET compatible_from = $1::int WHERE version = $1::int AND compatible_from < $1::int', [SIGNING_SCHEMA]);
}

export function lineHash(line: string): string {
  return hash('sha256', line, 'hex');
}

export class Acts {
  readonly #key: RecordKey;
  #timer: NodeJS.Timeout | undefined;

  constructor(key: RecordKey) {
    this.#key = key;
  }

  /** Begins to sign, now or as soon as no gateway runs that does not sign: what that one adds would look like somebody else's. */
  async start(db: Database, log: Log): Promise<void> {
    if (await this.begin(db)) return await this.#signAnew(db);
    log.info('audit.not-signed-yet', { why: 'a gateway of an older version still runs' });
    this.#timer = setInterval(() => {
      this.begin(db).then(
        (begun) => begun && this.stop(),
        (cause: unknown) => log.warn('audit.not-signed', { cause }),
      );
    }, BEGIN_EVERY_MS);
    this.#timer.unref();
  }

  /** The ends that a key of before signed, under the one of now: so that one can be forgotten. What does not hold stays as it is. */
  async #signAnew(db: Database): Promise<void> {
    const rows = await db.query<ChainRow>('SELECT chain, entries, head, signed, ms() AS now FROM chains WHERE signed NOT LIKE $1 AND chain NOT LIKE $2', [
      `%"key":"${this.#key.fingerprint}"%`,
      // These name the key in a line of theirs: the next one does.
      `${RECORD_CHAINS}%`,
    ]);
    for (const { chain, entries, head, now, signed } of rows) {
      const place = signed === null ? undefined : this.#key.signedPlace(signed);
      if (place?.entries !== entries || place.head !== head) continue;
      await db.query('UPDATE chains SET signed = $2 WHERE chain = $1 AND signed = $3', [
        chain,
        this.#key.checkpoint(new Date(now).toISOString(), place),
        signed,
      ]);
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Adds a line, in the transaction that does what it says. Whoever else adds to the chain waits for that. */
  async append(tx: Queryable, chain: string, body: ActBody): Promise<void> {
    const begun = await hasBegun(tx);
    const at = await lockChain(tx, chain);
    // One that was signed before is not left to go on without.
    if (!begun && at.signed === null) return await this.#write(tx, at, [body], false);
    if (at.entries === 0 && chain !== GATEWAY_CHAIN) await this.began(tx, chain);
    await this.#write(tx, at, [...this.#found(at), body], true);
  }

  /** Notes that there is another chain, so that it is missed when it is gone. Before anything is signed that is left to `begin`. */
  async began(tx: Queryable, chain: string): Promise<void> {
    if (!(await hasBegun(tx))) return;
    await this.append(tx, GATEWAY_CHAIN, { type: ACT.begun, chain });
  }

  /** Signs what is there, unsigned as it is, and notes up to where it was. @returns whether everything that is added is signed from now on */
  async begin(db: Database): Promise<boolean> {
    const begun = await one<{ signed: string | null }>(db, 'SELECT signed FROM chains WHERE chain = $1', [GATEWAY_CHAIN]);
    if (begun && begun.signed !== null) {
      await refuseOlder(db);
      return true;
    }
    return await retried(db, async (tx) => {
      await tx.query(`SELECT pg_advisory_xact_lock(${BEGINNING})`);
      await lockChain(tx, GATEWAY_CHAIN);
      // The gateway's own last, in the order that all take them.
      const rows = await tx.query<ChainRow>(
        'SELECT chain, entries, head, signed, ms() AS now FROM chains WHERE chain NOT LIKE $1 ORDER BY chain = $2, chain FOR UPDATE',
        [`${RECORD_CHAINS}%`, GATEWAY_CHAIN],
      );
      const own = rows.find(({ chain }) => chain === GATEWAY_CHAIN);
      if (!own) throw new Error('a chain that was just made is not there');
      if (own.signed !== null) return true;
      const older = await one(tx, 'SELECT 1 AS one FROM replicas WHERE ended_at IS NULL AND lease_until > ms() AND schema < $1', [SIGNING_SCHEMA]);
      if (older) return false;
      const others = rows.filter(({ chain, entries }) => chain !== GATEWAY_CHAIN && entries > 0);
      for (const at of others) await this.#write(tx, at, at.signed === null ? [{ type: ACT.signedFrom, lines: at.entries }] : this.#found(at), true);
      const records = await tx.query<{ chain: string }>('SELECT chain FROM chains WHERE chain LIKE $1 ORDER BY chain', [`${RECORD_CHAINS}%`]);
      for (const { chain } of records) await beginToSign(tx, this.#key, chain);
      await this.#write(
        tx,
        own,
        [
          { type: ACT.signedFrom, lines: own.entries, chains: [...others, ...records].map(({ chain }) => chain) },
          ...(others.some(({ signed }) => signed !== null)
            ? [{ type: ACT.unsigned, problem: 'its own signature was gone, and those of other chains were there' }]
            : []),
        ],
        true,
      );
      await refuseOlder(tx);
      return true;
    });
  }

  /** What must be written down about the end that was found, before this key's next signature vouches for it. */
  #found(at: ChainRow): ActBody[] {
    const problem = notSigned(this.#key, at);
    return problem === undefined ? [] : [{ type: ACT.unsigned, problem }];
  }

  async #write(tx: Queryable, { chain, now, ...from }: ChainRow, bodies: readonly ActBody[], isSigned: boolean): Promise<void> {
    let { entries, head } = from;
    const at = new Date(now).toISOString();
    for (const body of bodies) {
      const line = canonical({ v: 1, chain, seq: entries, at, prev: head, body });
      head = lineHash(line);
      await tx.query('INSERT INTO audit (chain, seq, at, hash, line) VALUES ($1, $2, $3, $4, $5)', [chain, entries, now, head, line]);
      entries++;
    }
    const signed = isSigned ? this.#key.checkpoint(at, { entries, head }) : null;
    await tx.query('UPDATE chains SET entries = $2, head = $3, signed = $4 WHERE chain = $1', [chain, entries, head, signed]);
  }
}
