/**
 * Edges in the store: who may join, with which keys, and where their processes are connected. An edge holds no credential
 * of a connection and sees no policy; what it proves with its key is that it may be asked to dial.
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { decodeProtectedHeader, jwtVerify } from 'jose';
import { z } from 'zod';
import type { Person } from '../../contract/actor.ts';
import {
  type AddedEdge,
  EDGE_TOKEN_SECONDS,
  EDGE_TOKEN_TYPE,
  JOIN_DOMAIN,
  JOIN_TOKEN_PREFIX,
  type JoinEdge,
  type JoinedEdge,
  type NewEdge,
  type RotateEdge,
} from '../../contract/gateway/edges.ts';
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import { useOnce } from '../identity/serviceAccounts.ts';
import { GATEWAY_CHAIN } from '../recording/chainRows.ts';
import type { Acts } from '../recording/chains.ts';
import { hashOf, newSecret } from '../sealed.ts';
import { tell } from '../store/bus.ts';
import { type Database, json, one, type Queryable } from '../store/database.ts';
import type { TunnelPrincipal } from '../tunnel/principal.ts';

/** How long a link lives before its edge must prove itself again, in milliseconds. */
const LINK_MS = 10 * 60_000;
const KEY_ID = /^edk_[\w-]{43}$/;
const MAX_EDGES = 200;
const MAX_KEYS_EACH = 200;
/** A key that another has replaced still proves who it is for so long: processes that share it take the new one up, in milliseconds. */
const ROTATED_MS = 60 * 60_000;

const Claims = z.object({ iss: z.string(), sub: z.string(), iat: z.number(), exp: z.number(), jti: z.string().min(16).max(64) });

export interface EdgeStoreOptions {
  readonly db: Database;
  readonly acts: Acts;
  /** Who the gateway is: what an edge's proofs must be for. */
  readonly publicUrl: string;
  readonly clockSkew: number;
  readonly log: Log;
}

export class EdgeStore {
  readonly #options: EdgeStoreOptions;

  constructor(options: EdgeStoreOptions) {
    this.#options = options;
  }

  /** A name, and a token that lets one key join under it; for a name that there is, another token. */
  async add({ name, minutes }: NewEdge, by: Person): Promise<AddedEdge> {
    const token = `${JOIN_TOKEN_PREFIX}${newSecret()}`;
    return await this.#options.db.transaction(async (tx) => {
      const many = await one<{ n: number }>(tx, 'SELECT count(*)::int AS n FROM edges WHERE removed_at IS NULL AND name <> $1', [name]);
      if ((many?.n ?? 0) >= MAX_EDGES) throw new Problem('bad-request', `There are ${MAX_EDGES} edges already. Remove one that is not used any more.`);
      await tx.query('INSERT INTO edges (name, created_by) VALUES ($1, $2::jsonb) ON CONFLICT (name) DO UPDATE SET removed_at = NULL', [name, json(by)]);
      const row = await one<{ expires_at: number }>(
        tx,
        'INSERT INTO edge_tokens (token_hash, edge, expires_at) VALUES ($1, $2, ms() + $3::bigint) RETURNING expires_at',
        [hashOf(token), name, minutes * 60_000],
      );
      await tx.query('DELETE FROM edge_tokens WHERE expires_at < ms() - 86400000 AND used_at IS NULL');
      await this.#options.acts.append(tx, GATEWAY_CHAIN, { type: 'edge.token-made', edge: name, minutes, by: { ...by } });
      await tell(tx, 'edge', name);
      return { name, token, expiresAt: row?.expires_at ?? 0 };
    });
  }

  /** Takes a token for a key. @throws Problem `bad-token` */
  async join({ host, proof, publicKey, token }: JoinEdge): Promise<JoinedEdge> {
    const { id, pem } = this.#proved(publicKey, proof, token);
    const { db, log, publicUrl } = this.#options;
    const joined = await db.transaction(async (tx) => {
      const row = await one<{ edge: string; used_key: string | null; late: boolean }>(
        tx,
        'SELECT t.edge, t.used_key, t.expires_at <= ms() AS late FROM edge_tokens t JOIN edges e ON e.name = t.edge WHERE t.token_hash = $1 AND e.removed_at IS NULL FOR UPDATE OF t',
        [hashOf(token)],
      );
      if (!row) throw new Problem('bad-token', 'This join token is not one of this gateway’s, or its edge was removed. Ask an admin for another.');
      if (row.used_key !== null && row.used_key !== id) {
        await this.#options.acts.append(tx, GATEWAY_CHAIN, { type: 'edge.token-used-again', edge: row.edge, key: id, host: host.slice(0, 200) });
        return { edge: row.edge, again: true };
      }
      // Whoever holds that very key asks again: the answer was lost on the way.
      if (row.used_key === id) return { edge: row.edge, again: false };
      if (row.late) throw new Problem('bad-token', 'This join token has run out. Ask an admin for another.');
      await this.#addKey(tx, row.edge, id, pem, host);
      await tx.query('UPDATE edge_tokens SET used_at = ms(), used_key = $2 WHERE token_hash = $1', [hashOf(token), id]);
      await this.#options.acts.append(tx, GATEWAY_CHAIN, { type: 'edge.joined', edge: row.edge, key: id, host: host.slice(0, 200) });
      await tell(tx, 'edge', row.edge);
      return { edge: row.edge, again: false };
    });
    if (joined.again) {
      log.warn('edge.token-used-again', { edge: joined.edge, host });
      throw new Problem(
        'bad-token',
        'This join token was used already, by another key. If that was not you, someone else has joined with it: revoke that key. Ask an admin for another token.',
      );
    }
    return { edge: joined.edge, key: id, issuer: publicUrl };
  }

  /** Puts a new key in the place of the one that proves it. @throws Problem `bad-token` */
  async rotate({ assertion, host, proof, publicKey }: RotateEdge): Promise<JoinedEdge> {
    const { id, pem } = this.#proved(publicKey, proof, assertion);
    const { basis: before, edge = '' } = await this.authenticate(assertion);
    await this.#options.db.transaction(async (tx) => {
      // Asked again, because the answer was lost on the way: it stands already.
      const known = await one(tx, 'SELECT 1 AS one FROM edge_keys WHERE id = $1 AND edge = $2 AND revoked_at IS NULL', [id, edge]);
      if (known) return;
      await this.#addKey(tx, edge, id, pem, host);
      await tx.query('UPDATE edge_keys SET revoked_at = ms() + $2::bigint WHERE id = $1 AND revoked_at IS NULL', [before, ROTATED_MS]);
      await this.#options.acts.append(tx, GATEWAY_CHAIN, { type: 'edge.key-rotated', edge, before, key: id });
      await tell(tx, 'edge', edge);
    });
    return { edge, key: id, issuer: this.#options.publicUrl };
  }

  /** Whose tunnel it is. The proof counts once. @throws Problem `bad-token` */
  async authenticate(token: string): Promise<TunnelPrincipal> {
    const { clockSkew, db, log, publicUrl } = this.#options;
    const { kid } = header(token);
    if (kid === undefined || !KEY_ID.test(kid)) throw notOurs();
    const row = await one<{ edge: string; public_key: string; host: string; ends: number | null; good: boolean }>(
      db,
      'SELECT k.edge, k.public_key, k.host, k.revoked_at AS ends, e.removed_at IS NULL AND (k.revoked_at IS NULL OR k.revoked_at > ms()) AS good FROM edge_keys k JOIN edges e ON e.name = k.edge WHERE k.id = $1',
      [kid],
    );
    if (!row) throw notOurs();
    if (!row.good) throw new Problem('bad-token', `The key of the edge ${row.edge} was revoked. Join again with a new token.`);
    let claims: z.infer<typeof Claims>;
    try {
      const { payload } = await jwtVerify(token, createPublicKey(row.public_key), {
        issuer: kid,
        subject: kid,
        audience: publicUrl,
        algorithms: ['EdDSA'],
        typ: EDGE_TOKEN_TYPE,
        clockTolerance: clockSkew,
      });
      claims = Claims.parse(payload);
      if (claims.exp - claims.iat > EDGE_TOKEN_SECONDS) throw new Error('it lives too long');
    } catch (cause) {
      log.warn('edge.not-proved', { edge: row.edge, cause });
      throw notOurs();
    }
    await useOnce(db, `edge ${kid} ${claims.jti}`, (claims.exp + clockSkew) * 1000);
    await db.query('UPDATE edge_keys SET seen_at = ms() WHERE id = $1', [kid]);
    return {
      id: kid,
      // Not the key: a link goes on when that is changed.
      person: { issuer: publicUrl, subject: `edge:${row.edge}`, name: `the edge ${row.edge}`, groups: [] },
      basis: kid,
      expiresAt: Math.min(Date.now() + LINK_MS, row.ends ?? Number.POSITIVE_INFINITY),
      connections: [],
      edge: row.edge,
    };
  }

  /** Whether a key may still be connected. */
  async stands(key: string): Promise<boolean> {
    const row = await one(
      this.#options.db,
      'SELECT 1 AS one FROM edge_keys k JOIN edges e ON e.name = k.edge WHERE k.id = $1 AND e.removed_at IS NULL AND (k.revoked_at IS NULL OR k.revoked_at > ms())',
      [key],
    );
    return row !== undefined;
  }

  /** Ends one key, or a whole edge with all its keys and tokens. False where there is none. */
  async revoke(what: string, by: Person): Promise<boolean> {
    return await this.#options.db.transaction(async (tx) => {
      const key = KEY_ID.test(what);
      const row = await one<{ edge: string }>(
        tx,
        key
          ? 'UPDATE edge_keys SET revoked_at = ms() WHERE id = $1 AND (revoked_at IS NULL OR revoked_at > ms()) RETURNING edge'
          : 'UPDATE edges SET removed_at = ms() WHERE name = $1 AND removed_at IS NULL RETURNING name AS edge',
        [what],
      );
      if (!row) return false;
      if (!key) {
        await tx.query('UPDATE edge_keys SET revoked_at = ms() WHERE edge = $1 AND (revoked_at IS NULL OR revoked_at > ms())', [what]);
        await tx.query('DELETE FROM edge_tokens WHERE edge = $1', [what]);
      }
      await this.#options.acts.append(tx, GATEWAY_CHAIN, {
        type: key ? 'edge.key-revoked' : 'edge.removed',
        edge: row.edge,
        ...(key && { key: what }),
        by: { ...by },
      });
      await tell(tx, 'edge', row.edge);
      return true;
    });
  }

  async #addKey(tx: Queryable, edge: string, id: string, pem: string, host: string): Promise<void> {
    const known = await one(tx, 'SELECT 1 AS one FROM edge_keys WHERE id = $1', [id]);
    // A key that was revoked stays so, and one that is known joins nowhere else.
    if (known) throw new Problem('bad-token', 'This key is known here already. Remove the edge’s key file, so that it makes another, and join again.');
    const many = await one<{ n: number }>(tx, 'SELECT count(*)::int AS n FROM edge_keys WHERE edge = $1 AND (revoked_at IS NULL OR revoked_at > ms())', [edge]);
    if ((many?.n ?? 0) >= MAX_KEYS_EACH)
      throw new Problem('bad-request', `The edge ${edge} has ${MAX_KEYS_EACH} keys already. Revoke those that are not used.`);
    await tx.query('INSERT INTO edge_keys (id, edge, public_key, host) VALUES ($1, $2, $3, $4)', [id, edge, pem, host.slice(0, 200)]);
  }

  /** @throws Problem `bad-token` where it is no Ed25519 key, or whoever sent it does not hold it */
  #proved(publicKey: string, proof: string, over: string): { readonly id: string; readonly pem: string } {
    let key: KeyObject;
    try {
      key = createPublicKey({ key: publicKey, format: 'pem' });
    } catch (cause) {
      throw new Problem('bad-token', 'This is no public key.', { cause });
    }
    const signed = Buffer.from(`${JOIN_DOMAIN}${this.#options.publicUrl}\n${over}`);
    if (key.asymmetricKeyType !== 'ed25519' || !verify(null, signed, key, Buffer.from(proof, 'base64url')))
      throw new Problem(
        'bad-token',
        `The proof that the key is the edge’s own does not hold. Is ${this.#options.publicUrl} the address that the edge was given?`,
      );
    return { id: keyId(key), pem: key.export({ type: 'spki', format: 'pem' }).toString() };
  }
}

export function keyId(key: KeyObject): string {
  return `edk_${createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('base64url')}`;
}

/** Whether a bearer token says that it is an edge's. What it says is worth nothing until it is checked. */
export function isEdgeToken(token: string): boolean {
  return header(token).typ === EDGE_TOKEN_TYPE;
}

function header(token: string): { readonly kid?: string | undefined; readonly typ?: string | undefined } {
  try {
    const { kid, typ } = decodeProtectedHeader(token);
    return { kid, typ };
  } catch {
    return {};
  }
}

function notOurs(): Problem {
  return new Problem('bad-token', 'This is no proof of an edge of this gateway. Check the edge’s clock; if that is right, join again with a new token.');
}
