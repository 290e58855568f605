/** Accounts for agents that run unattended: narrow, short-lived, proved by a secret or by the token of the workload that runs them. */
import { randomBytes } from 'node:crypto';
import { createRemoteJWKSet, decodeJwt, type JWTPayload, jwtVerify } from 'jose';
import type { Person } from '../../contract/actor.ts';
import type { NewServiceAccount, ServiceAccountView } from '../../contract/gateway/identity.ts';
import { WorkloadRule } from '../../contract/gateway/identity.ts';
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { GatewayConfig } from '../config/load.ts';
import { hashOf, newSecret } from '../sealed.ts';
import { type Bus, tell } from '../store/bus.ts';
import { type Database, json, one, type Queryable } from '../store/database.ts';
import { discover } from './discover.ts';

/** What a workload's token may be signed with. */
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA', 'Ed25519'];
/** A workload's token must not live longer than this, in seconds: it counts once, and that must be remembered. */
const MAX_WORKLOAD_SECONDS = 24 * 3_600;
const CACHE_MS = 5_000;
const MAX_ACCOUNTS = 1_000;

export interface Account {
  readonly id: string;
  readonly name: string;
  readonly groups: readonly string[];
  readonly connections: readonly string[];
  readonly maxSeconds: number;
  readonly publisher: boolean;
  /** Tokens of another one were issued before it was switched off. */
  readonly generation: number;
}

interface AccountRow {
  readonly id: string;
  readonly name: string;
  readonly groups: string[];
  readonly connections: string[];
  readonly max_seconds: number;
  readonly secret_hash: string | null;
  readonly workload: unknown;
  readonly publisher: boolean;
  readonly generation: number;
  readonly created_at: number;
  readonly disabled_at: number | null;
}

export class ServiceAccounts {
  readonly #db: Database;
  readonly #config: GatewayConfig;
  readonly #log: Log;
  readonly #cache = new Map<string, { readonly account: Account | undefined; readonly until: number }>();
  /** How often something was said of any of them. */
  #told = 0;
  readonly #keySets = new Map<string, ReturnType<typeof createRemoteJWKSet>>();

  constructor(db: Database, config: GatewayConfig, bus: Bus, log: Log) {
    this.#db = db;
    this.#config = config;
    this.#log = log;
    bus.on('account', ({ subject }) => {
      this.#told++;
      this.#cache.delete(subject);
    });
  }

  /** @returns the account, and its secret where it has one: shown this once */
  async create(tx: Queryable, wanted: NewServiceAccount, by: Person): Promise<{ readonly account: ServiceAccountView; readonly secret?: string }> {
    if (wanted.workload && !this.#config.identity.workloads.some(({ id }) => id === wanted.workload?.issuer)) {
      throw new Problem('bad-request', `No workload issuer is called \`${wanted.workload.issuer}\`. Name one of \`identity.workloads\` in the configuration.`);
    }
    const why = problemOf(wanted);
    if (why !== undefined) throw new Problem('bad-request', why);
    const secret = wanted.workload ? undefined : newSecret();
    const id = `svc_${randomBytes(16).toString('base64url')}`;
    const row = await one<AccountRow>(
      tx,
      `INSERT INTO service_accounts (id, name, groups, connections, max_seconds, secret_hash, workload, created_by, publisher)
       VALUES ($1, $2, $3::jsonb, $4::jsonb, $5, $6, $7::jsonb, $8, $9) ON CONFLICT (name) DO NOTHING RETURNING *`,
      [
        id,
        wanted.name,
        json(wanted.groups),
        json(wanted.connections),
        wanted.maxSeconds,
        secret === undefined ? null : hashOf(secret),
        wanted.workload ? json(wanted.workload) : null,
        `${by.issuer} ${by.subject}`,
        wanted.publisher,
      ],
    );
    if (!row) throw new Problem('conflict', `There is a service account called ${wanted.name} already. Choose another name.`);
    return { account: viewOf(row), ...(secret !== undefined && { secret }) };
  }

  async list(): Promise<ServiceAccountView[]> {
    return (await this.#db.query<AccountRow>('SELECT * FROM service_accounts ORDER BY name LIMIT $1', [MAX_ACCOUNTS])).map(viewOf);
  }

  async disable(tx: Queryable, id: string): Promise<boolean> {
    const row = await one(tx, 'UPDATE service_accounts SET disabled_at = ms() WHERE id = $1 AND disabled_at IS NULL RETURNING id', [id]);
    if (row) await tell(tx, 'account', id);
    return row !== undefined;
  }

  /** It proves itself as before; tokens that were issued before it was switched off stay dead. */
  async enable(tx: Queryable, id: string): Promise<boolean> {
    const row = await one(
      tx,
      'UPDATE service_accounts SET disabled_at = NULL, generation = generation + 1 WHERE id = $1 AND disabled_at IS NOT NULL RETURNING id',
      [id],
    );
    if (row) await tell(tx, 'account', id);
    return row !== undefined;
  }

  /** The account if it may be used; answered from memory for a few seconds, unless something was said about it. */
  async live(id: string): Promise<Account | undefined> {
    const known = this.#cache.get(id);
    if (known && known.until > performance.now()) return known.account;
    const told = this.#told;
    const row = await one<AccountRow>(this.#db, 'SELECT * FROM service_accounts WHERE id = $1 AND disabled_at IS NULL', [id]);
    const account = row && accountOf(row);
    // One that was switched off while it was read is not kept as one that stands: the word of it has come and gone.
    if (told !== this.#told) return account;
    this.#cache.set(id, { account, until: performance.now() + CACHE_MS });
    return account;
  }

  async bySecret(id: string, secret: string): Promise<Account | undefined> {
    const row = await one<AccountRow>(this.#db, 'SELECT * FROM service_accounts WHERE (id = $1 OR name = $1) AND secret_hash = $2 AND disabled_at IS NULL', [
      id,
      hashOf(secret),
    ]);
    return row && accountOf(row);
  }

  /** The one account that a workload's token proves. @throws `Problem` `bad-token`; the token counts once */
  async byWorkload(token: string): Promise<Account> {
    const refused = (cause?: unknown): Problem => new Problem('bad-token', 'This workload’s token proves no service account here.', { cause });
    let payload: JWTPayload;
    let issuer: GatewayConfig['identity']['workloads'][number] | undefined;
    try {
      // Only to find whose keys to ask for: nothing of it is believed before the signature holds.
      const { iss } = decodeJwt(token);
      issuer = this.#config.identity.workloads.find((one) => one.issuer === iss);
      if (!issuer) throw new Error('unknown issuer');
      const keys = await this.#keys(issuer.issuer);
      ({ payload } = await jwtVerify(token, keys, {
        issuer: issuer.issuer,
        audience: issuer.audience,
        algorithms: ALGORITHMS,
        requiredClaims: ['exp', 'iat', 'sub'],
        maxTokenAge: MAX_WORKLOAD_SECONDS,
        clockTolerance: this.#config.identity.clockSkew,
      }));
    } catch (cause) {
      this.#log.warn('identity.workload-refused', { cause });
      throw refused(cause);
    }
    const rows = await this.#db.query<AccountRow>('SELECT * FROM service_accounts WHERE workload IS NOT NULL AND disabled_at IS NULL');
    const matching = rows.filter(({ workload }) => {
      const rule = WorkloadRule.safeParse(workload);
      return rule.success && rule.data.issuer === issuer.id && Object.entries(rule.data.claims).every(([claim, pattern]) => matches(payload[claim], pattern));
    });
    const [row] = matching;
    // Two that match would leave it to chance which rights it gets.
    if (!row || matching.length > 1) throw refused();
    // By what was signed: the signature itself can be written in several ways that all hold.
    const signed = token.slice(0, token.lastIndexOf('.'));
    await useOnce(this.#db, `workload ${signed}`, ((payload.exp ?? 0) + this.#config.identity.clockSkew) * 1000);
    return accountOf(row);
  }

  async #keys(issuer: string): Promise<ReturnType<typeof createRemoteJWKSet>> {
    const known = this.#keySets.get(issuer);
    if (known) return known;
    const { jwks_uri } = await discover(issuer);
    const keys = createRemoteJWKSet(new URL(jwks_uri), { timeoutDuration: 5_000, cooldownDuration: 5_000 });
    this.#keySets.set(issuer, keys);
    return keys;
  }
}

/** What is wrong with a wish for an account. */
function problemOf({ connections, publisher, workload }: NewServiceAccount): string | undefined {
  if (!publisher) return connections.length === 0 ? 'Name the connections that this account may use.' : undefined;
  if (connections.length > 0) return 'An account that puts the policy uses no connection: make another one for those.';
  // A secret can lie where an agent finds it, and a pattern can be met by a branch that nobody has looked at.
  if (!workload || Object.values(workload.claims).some((value) => value.includes('*')))
    return 'An account that puts the policy proves itself as a workload, by exact claims: name the issuer, and the repository and branch without `*`.';
  return undefined;
}

/** Uses up a proof, for all replicas. @throws `Problem` `bad-token` where it was used before */
export async function useOnce(db: Queryable, proof: string, expiresAt: number): Promise<void> {
  const row = await one(db, 'INSERT INTO used_proofs (proof_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING proof_hash', [
    hashOf(proof),
    Math.ceil(expiresAt),
  ]);
  if (!row) throw new Problem('bad-token', 'This proof was used before, and counts once. Sign in again.');
}

/** The whole value; `*` stands for anything but what could lead out of a path. */
function matches(value: unknown, pattern: string): boolean {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return false;
  const source = pattern
    .split('*')
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('[^/:]*');
  return new RegExp(`^${source}$`).test(String(value));
}

function accountOf(row: AccountRow): Account {
  return {
    id: row.id,
    name: row.name,
    groups: row.groups,
    connections: row.connections,
    maxSeconds: row.max_seconds,
    publisher: row.publisher,
    generation: row.generation,
  };
}

function viewOf(row: AccountRow): ServiceAccountView {
  const workload = WorkloadRule.safeParse(row.workload);
  return {
    id: row.id,
    name: row.name,
    groups: row.groups,
    connections: row.connections,
    maxSeconds: row.max_seconds,
    publisher: row.publisher,
    proof: workload.success ? 'workload' : 'secret',
    ...(workload.success && { workload: workload.data }),
    createdAt: row.created_at,
    ...(row.disabled_at !== null && { disabledAt: row.disabled_at }),
  };
}
