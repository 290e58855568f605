/** The secrets of connections: sealed in the store, open in this process's memory alone, the same in every replica. */
import type { Person } from '../../contract/actor.ts';
import { Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import { type Database, json, type Queryable } from '../store/database.ts';
import { type Envelope, type KeyWrapper, openEnvelope, rewrapEnvelope, sealEnvelope } from './envelope.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
/** Largest secret, in characters. */
const MAX_SECRET_CHARS = 65_536;
const MAX_CREDENTIALS = 10_000;

interface Row extends Envelope {
  readonly name: string;
  readonly version: number;
}

/** What is known of a secret besides itself. */
export interface CredentialView {
  readonly name: string;
  readonly version: number;
  /** The outer key that it is under. */
  readonly kek: string;
  readonly updatedAt: number;
}

export class CredentialStore {
  readonly #db: Database;
  readonly #keys: KeyWrapper;
  readonly #log: Log;
  readonly #open = new Map<string, { readonly sealed: string; readonly secret: Secret }>();

  constructor(db: Database, keys: KeyWrapper, log: Log) {
    this.#db = db;
    this.#keys = keys;
    this.#log = log;
  }

  /** The secret of that name, as of the last `load`. */
  get(name: string): Secret | undefined {
    return this.#open.get(name)?.secret;
  }

  /**
   * Opens what is new or changed, forgets what was removed. One that cannot be opened keeps its connections closed, and no others.
   * @returns names of secrets that are other ones now
   */
  async load(): Promise<readonly string[]> {
    const rows = await this.#db.query<Row>('SELECT name, version, kek, wrapped, sealed FROM credentials');
    const changed: string[] = [];
    const there = new Set(rows.map(({ name }) => name));
    for (const name of this.#open.keys()) {
      if (there.has(name)) continue;
      this.#open.delete(name);
      changed.push(name);
    }
    for (const row of rows) {
      // Not by its version: one that was removed and put again begins with the first.
      if (this.#open.get(row.name)?.sealed === row.sealed) continue;
      try {
        this.#open.set(row.name, { sealed: row.sealed, secret: await openEnvelope(this.#keys, contextOf(row), row) });
        changed.push(row.name);
      } catch (cause) {
        this.#log.error('credential.not-opened', { name: row.name, cause });
        if (this.#open.delete(row.name)) changed.push(row.name);
      }
    }
    return changed;
  }

  /** @throws Problem `bad-request` */
  async put(tx: Queryable, name: string, secret: Secret, by: Person): Promise<void> {
    if (!NAME.test(name)) throw new Problem('bad-request', 'A secret’s name is letters, digits, `.`, `-` and `_`.');
    const size = secret.reveal().length;
    if (size === 0 || size > MAX_SECRET_CHARS) throw new Problem('bad-request', `A secret has from 1 to ${MAX_SECRET_CHARS} characters.`);
    const [count] = await tx.query<{ n: number }>('SELECT count(*) AS n FROM credentials');
    if ((count?.n ?? 0) >= MAX_CREDENTIALS) throw new Problem('too-many', `There are ${MAX_CREDENTIALS} secrets already. Remove some.`);
    const [before] = await tx.query<{ version: number }>('SELECT version FROM credentials WHERE name = $1 FOR UPDATE', [name]);
    const version = (before?.version ?? 0) + 1;
    const { kek, sealed, wrapped } = await sealEnvelope(this.#keys, contextOf({ name, version }), secret);
    await tx.query(
      `INSERT INTO credentials (name, version, kek, wrapped, sealed, updated_by) VALUES ($1, $2, $3, $4, $5, $6::jsonb)
       ON CONFLICT (name) DO UPDATE SET version = excluded.version, kek = excluded.kek, wrapped = excluded.wrapped, sealed = excluded.sealed, updated_by = excluded.updated_by, updated_at = ms()`,
      [name, version, kek, wrapped, sealed, json(by)],
    );
  }

  async remove(tx: Queryable, name: string): Promise<boolean> {
    return (await tx.query('DELETE FROM credentials WHERE name = $1 RETURNING name', [name])).length > 0;
  }

  async list(): Promise<CredentialView[]> {
    const rows = await this.#db.query<{ name: string; version: number; kek: string; updated_at: number }>(
      'SELECT name, version, kek, updated_at FROM credentials ORDER BY name',
    );
    return rows.map(({ kek, name, updated_at: updatedAt, version }) => ({ name, version, kek, updatedAt }));
  }

  /** Wraps under the newest outer key what is under an older one. @returns how many */
  async rotate(): Promise<number> {
    const current = await this.#keys.current();
    const rows = await this.#db.query<Row>('SELECT name, version, kek, wrapped, sealed FROM credentials WHERE kek <> $1', [current]);
    let rotated = 0;
    for (const row of rows) {
      const { kek, wrapped } = await rewrapEnvelope(this.#keys, row);
      // One that was changed meanwhile is under the newest already.
      rotated += (
        await this.#db.query('UPDATE credentials SET kek = $3, wrapped = $4 WHERE name = $1 AND version = $2 AND kek = $5 RETURNING name', [
          row.name,
          row.version,
          kek,
          wrapped,
          row.kek,
        ])
      ).length;
    }
    return rotated;
  }
}

/** An older sealing of the same secret put back is seen, as one moved to another name is. */
function contextOf({ name, version }: { readonly name: string; readonly version: number }): string {
  return `countersign credential 1 ${name} ${version}`;
}
