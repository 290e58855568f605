/** The gateway's signing keys: made once, shared by all replicas through the store, sealed there, rotated without an interruption. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { Sealer } from '../sealed.ts';
import { type Bus, tell } from '../store/bus.ts';
import type { Database, Queryable } from '../store/database.ts';

const PURPOSES = ['token', 'policy', 'record'] as const;
export type Purpose = (typeof PURPOSES)[number];

/** A retired key is believed this long: longer than anything that it signed is good for, in milliseconds. */
const KEEP_MS = 8 * 86_400_000;
/** How often keys are read again for names that are not known, in milliseconds. */
const RENEW_EVERY_MS = 1_000;
/** Any number, the same in every gateway: whoever holds this lock makes keys. */
const LOCK = 4_242_017_732;

interface Key {
  readonly kid: string;
  readonly purpose: Purpose;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  readonly retired: boolean;
}

interface KeyRow {
  readonly kid: string;
  readonly purpose: Purpose;
  readonly public_key: string;
  readonly sealed_private: string;
  readonly retired_at: number | null;
}

export class KeyRing {
  readonly #db: Database;
  readonly #sealer: Sealer;
  readonly #log: Log;
  #keys: readonly Key[] = [];
  #renewing: Promise<void> | undefined;
  #renewedAt = Number.NEGATIVE_INFINITY;

  constructor(db: Database, sealer: Sealer, bus: Bus, log: Log) {
    this.#db = db;
    this.#sealer = sealer;
    this.#log = log;
    bus.on('key', () => void this.load().catch((cause: unknown) => log.warn('keys.not-read', { cause })));
  }

  /** Makes the keys that are missing, and puts what a master key of before sealed under the one of now. */
  async start(): Promise<void> {
    await this.#db.transaction(async (tx) => {
      await tx.query(`SELECT pg_advisory_xact_lock(${LOCK})`);
      const rows = await tx.query<{ purpose: Purpose }>('SELECT purpose FROM keys WHERE retired_at IS NULL');
      for (const purpose of PURPOSES) if (!rows.some((row) => row.purpose === purpose)) await this.#make(tx, purpose);
      for (const { kid, sealed_private } of await tx.query<KeyRow>(
        'SELECT kid, sealed_private FROM keys WHERE retired_at IS NULL OR retired_at > ms() - $1::bigint',
        [KEEP_MS],
      )) {
        const renewed = this.#sealer.renew('signing key', sealed_private);
        if (renewed !== undefined) await tx.query('UPDATE keys SET sealed_private = $2 WHERE kid = $1', [kid, renewed]);
      }
    });
    await this.load();
  }

  async load(): Promise<void> {
    const rows = await this.#db.query<KeyRow>(
      'SELECT kid, purpose, public_key, sealed_private, retired_at FROM keys WHERE retired_at IS NULL OR retired_at > ms() - $1::bigint ORDER BY created_at DESC, kid',
      [KEEP_MS],
    );
    this.#keys = rows.map((row) => ({
      kid: row.kid,
      purpose: row.purpose,
      publicKey: createPublicKey(row.public_key),
      privateKey: createPrivateKey(this.#sealer.open('signing key', row.sealed_private).reveal()),
      retired: row.retired_at !== null,
    }));
  }

  /**
   * Reads them again for whoever names one that is not known here: another replica may have made it a moment ago. Anybody can name
   * one, so all who do meanwhile share a reading, and there is one a second.
   */
  renewed(): Promise<void> {
    this.#renewing ??= (async () => {
      const early = this.#renewedAt + RENEW_EVERY_MS - performance.now();
      if (early > 0) await sleep(early);
      this.#renewedAt = performance.now();
      await this.load();
    })().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  /** The key to sign with now. */
  signing(purpose: Purpose): { readonly kid: string; readonly key: KeyObject } {
    const key = this.#keys.find((one) => one.purpose === purpose && !one.retired);
    if (!key) throw new Error(`there is no key for ${purpose}`);
    return { kid: key.kid, key: key.privateKey };
  }

  /** Keys whose signatures count. */
  verifying(purpose: Purpose): ReadonlyMap<string, KeyObject> {
    return new Map(this.#keys.filter((key) => key.purpose === purpose).map((key) => [key.kid, key.publicKey]));
  }

  /** Every key that is believed, to sign with: what it vouches for is believed by whoever knows it. */
  vouching(purpose: Purpose): readonly { readonly kid: string; readonly key: KeyObject }[] {
    return this.#keys.filter((key) => key.purpose === purpose).map(({ kid, privateKey }) => ({ kid, key: privateKey }));
  }

  /** New keys for everything; the old ones stop signing at once and are believed for a while. */
  async rotate(tx: Queryable): Promise<void> {
    await tx.query(`SELECT pg_advisory_xact_lock(${LOCK})`);
    await tx.query('UPDATE keys SET retired_at = ms() WHERE retired_at IS NULL');
    for (const purpose of PURPOSES) await this.#make(tx, purpose);
    await tell(tx, 'key', 'rotated');
  }

  async #make(tx: Queryable, purpose: Purpose): Promise<void> {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const kid = `${purpose}-${randomBytes(9).toString('base64url')}`;
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    await tx.query('INSERT INTO keys (kid, purpose, public_key, sealed_private) VALUES ($1, $2, $3, $4)', [
      kid,
      purpose,
      publicKey.export({ type: 'spki', format: 'pem' }),
      this.#sealer.seal('signing key', pem),
    ]);
    this.#log.info('keys.made', { kid });
  }
}
