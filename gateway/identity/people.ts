/** People and their logins in the store. A login is what a browser's cookie or an editor's tokens stand on; ended, all of it is cut. */
import { randomBytes } from 'node:crypto';
import type { Person } from '../../contract/actor.ts';
import type { Role } from '../../contract/gateway/identity.ts';
import { Problem } from '../../contract/problem.ts';
import type { GatewayConfig } from '../config/load.ts';
import { hashOf, newSecret } from '../sealed.ts';
import { type Bus, tell } from '../store/bus.ts';
import { type Database, json, one, type Queryable } from '../store/database.ts';
import { rolesOf } from './roles.ts';

/** How long what was read about a login is believed without a notification, in milliseconds. */
const CACHE_MS = 5_000;
const MAX_CACHED = 10_000;
const MAX_GROUPS = 200;
/** A token that was exchanged this short a time ago was not copied, but used by two windows of one editor, in milliseconds. */
const SAME_MOMENT_MS = 15_000;
/** Refresh tokens of before that are remembered, to notice that one was copied. */
const MAX_BEFORE = 20;

/** What a provider says of someone who has just signed in. */
export interface Claimed {
  readonly issuer: string;
  readonly subject: string;
  readonly name?: string;
  readonly email?: string;
  readonly groups: readonly string[];
}

export interface LoginFacts {
  readonly client: string;
  readonly provider: string;
  readonly providerSession?: string;
  /** When the person showed who they are, epoch milliseconds. */
  readonly authTime: number;
  readonly acr?: string;
}

export interface LiveLogin {
  readonly login: string;
  /** Which client it was made for: `browser`, or an OAuth client. */
  readonly client: string;
  readonly personId: string;
  readonly person: Person;
  readonly roles: readonly Role[];
  readonly authTime: number;
  readonly expiresAt: number;
}

interface LoginRow {
  readonly id: string;
  readonly person: string;
  readonly client: string;
  readonly issuer: string;
  readonly subject: string;
  readonly name: string | null;
  readonly groups: string[];
  readonly auth_time: number;
  readonly expires_at: number;
}

const LIVE = `SELECT l.id, l.person, l.client, p.issuer, p.subject, p.name, p.groups, l.auth_time, l.expires_at FROM logins l JOIN people p ON p.id = l.person
  WHERE l.ended_at IS NULL AND l.expires_at > ms() AND p.disabled_at IS NULL`;

export class People {
  readonly #db: Database;
  readonly #config: GatewayConfig;
  readonly #cache = new Map<string, { readonly login: LiveLogin | undefined; readonly until: number }>();

  /** How often something was said of any of them. */
  #told = 0;

  constructor(db: Database, config: GatewayConfig, bus: Bus) {
    this.#db = db;
    this.#config = config;
    bus.on('login', ({ subject }) => {
      this.#told++;
      this.#cache.delete(subject);
    });
    bus.on('person', () => {
      this.#told++;
      this.#cache.clear();
    });
  }

  /** Writes down who has signed in. @throws `Problem` `forbidden` for someone who is shut out, or has no role here */
  async signedIn(tx: Queryable, claimed: Claimed): Promise<{ readonly id: string; readonly person: Person }> {
    const groups = [...new Set(claimed.groups)].slice(0, MAX_GROUPS);
    const roles = rolesOf(this.#config.identity.roles, claimed.subject, groups);
    if (roles.length === 0) throw new Problem('forbidden', 'You are signed in, but this gateway has no role for you. Ask whoever runs it.');
    const row = await one<{ id: string; disabled_at: number | null }>(
      tx,
      `INSERT INTO people (id, issuer, subject, name, email, groups, roles) VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7::jsonb)
       ON CONFLICT (issuer, subject) DO UPDATE SET name = excluded.name, email = excluded.email, groups = excluded.groups, roles = excluded.roles, seen_at = ms()
       RETURNING id, disabled_at`,
      [`per_${randomBytes(16).toString('base64url')}`, claimed.issuer, claimed.subject, claimed.name ?? null, claimed.email ?? null, json(groups), json(roles)],
    );
    if (!row) throw new Error('a person could not be written');
    if (row.disabled_at !== null) throw new Problem('forbidden', 'Your access to this gateway has been ended. Ask whoever runs it.');
    await tell(tx, 'person', row.id);
    return { id: row.id, person: personOf({ ...claimed, name: claimed.name ?? null, groups }) };
  }

  async begin(tx: Queryable, person: string, facts: LoginFacts): Promise<string> {
    const id = `log_${randomBytes(16).toString('base64url')}`;
    await tx.query(
      'INSERT INTO logins (id, person, client, provider, provider_session, auth_time, acr, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, ms() + $8::bigint)',
      [
        id,
        person,
        facts.client,
        facts.provider,
        facts.providerSession ?? null,
        facts.authTime,
        facts.acr ?? null,
        this.#config.identity.sessionLifetime * 1000,
      ],
    );
    return id;
  }

  /** Gives a login a cookie. @returns its value; the store keeps a hash */
  async cookie(tx: Queryable, login: string): Promise<string> {
    const cookie = newSecret();
    await tx.query('UPDATE logins SET cookie_hash = $2 WHERE id = $1', [login, hashOf(cookie)]);
    return cookie;
  }

  /** Gives a login its next refresh token. */
  async refreshToken(tx: Queryable, login: string): Promise<string> {
    const token = newSecret();
    await tx.query(
      `UPDATE logins SET refresh_before = CASE WHEN refresh_hash IS NULL THEN refresh_before ELSE
         (SELECT coalesce(jsonb_agg(h), '[]') FROM (SELECT h FROM jsonb_array_elements(jsonb_build_array(refresh_hash) || refresh_before) h LIMIT ${MAX_BEFORE}) AS kept) END,
         refresh_hash = $2, refreshed_at = ms() WHERE id = $1`,
      [login, hashOf(token)],
    );
    return token;
  }

  /**
   * The login that a refresh token belongs to, locked. One that was used before is in two hands: the login ends.
   * @returns `reused` where it was; undefined where it is none
   */
  async byRefreshToken(tx: Queryable, token: string): Promise<{ readonly login: string } | 'reused' | undefined> {
    const hash = hashOf(token);
    const row = await one<{ id: string }>(
      tx,
      `SELECT l.id FROM logins l JOIN people p ON p.id = l.person WHERE l.refresh_hash = $1 AND l.ended_at IS NULL AND l.expires_at > ms() AND p.disabled_at IS NULL FOR UPDATE OF l`,
      [hash],
    );
    if (row) return { login: row.id };
    const before = await one<{ id: string; moment: boolean }>(
      tx,
      `SELECT id, coalesce(refreshed_at > ms() - ${SAME_MOMENT_MS}, false) AND refresh_before ->> 0 = $1 AS moment FROM logins WHERE ended_at IS NULL AND refresh_before @> to_jsonb($1::text) FOR UPDATE`,
      [hash],
    );
    if (!before) return undefined;
    // Two windows that refresh at the same moment: the later one gets nothing, and finds what the other one got.
    if (before.moment) return undefined;
    await this.end(tx, before.id, 'a refresh token was used twice');
    return 'reused';
  }

  async byCookie(cookie: string): Promise<LiveLogin | undefined> {
    const row = await one<LoginRow>(this.#db, `${LIVE} AND l.cookie_hash = $1`, [hashOf(cookie)]);
    return row && this.#live(row);
  }

  /** The login if it stands; answered from memory for a few seconds, unless something was said about it. */
  async live(login: string): Promise<LiveLogin | undefined> {
    const known = this.#cache.get(login);
    if (known && known.until > performance.now() && (known.login === undefined || known.login.expiresAt > Date.now())) return known.login;
    const told = this.#told;
    const row = await one<LoginRow>(this.#db, `${LIVE} AND l.id = $1`, [login]);
    const live = row && this.#live(row);
    // One that ended while it was read is not kept as one that stands: the word of its end has come and gone.
    if (told !== this.#told) return live;
    if (this.#cache.size >= MAX_CACHED) this.#cache.clear();
    this.#cache.set(login, { login: live, until: performance.now() + CACHE_MS });
    return live;
  }

  async end(tx: Queryable, login: string, why: string): Promise<boolean> {
    const row = await one(
      tx,
      'UPDATE logins SET ended_at = ms(), ended_why = $2, cookie_hash = NULL, refresh_hash = NULL WHERE id = $1 AND ended_at IS NULL RETURNING id',
      [login, why],
    );
    if (row) await tell(tx, 'login', login);
    return row !== undefined;
  }

  /** Ends every login of a person, or of one session at the provider. `untold`: only those whose session at the provider is not known. */
  async endAll(
    tx: Queryable,
    which: { readonly person: string; readonly untold?: boolean } | { readonly provider: string; readonly session: string },
    why: string,
  ): Promise<number> {
    const rows =
      'person' in which
        ? await tx.query<{ id: string }>(
            'SELECT id FROM logins WHERE person = $1 AND ended_at IS NULL AND ($2::boolean IS NOT TRUE OR provider_session IS NULL)',
            [which.person, which.untold ?? false],
          )
        : await tx.query<{ id: string }>('SELECT id FROM logins WHERE provider = $1 AND provider_session = $2 AND ended_at IS NULL', [
            which.provider,
            which.session,
          ]);
    for (const { id } of rows) await this.end(tx, id, why);
    return rows.length;
  }

  #live(row: LoginRow): LiveLogin {
    return {
      login: row.id,
      client: row.client,
      personId: row.person,
      person: personOf(row),
      roles: rolesOf(this.#config.identity.roles, row.subject, row.groups),
      authTime: row.auth_time,
      expiresAt: row.expires_at,
    };
  }
}

export function personOf(row: { readonly issuer: string; readonly subject: string; readonly name: string | null; readonly groups: readonly string[] }): Person {
  return { issuer: row.issuer, subject: row.subject, ...(row.name !== null && { name: row.name }), groups: [...row.groups] };
}
