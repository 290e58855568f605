/** What each endpoint does. Whether someone may call it is settled by then; whose things they see is settled here. */
import type { Person } from '../../contract/actor.ts';
import type { AddedEdge, EdgeView, NewEdge } from '../../contract/gateway/edges.ts';
import type { Me } from '../../contract/gateway/identity.ts';
import type { AuditReport, StorageHealth } from '../../contract/gateway/sessions.ts';
import { Problem } from '../../contract/problem.ts';
import type { Answers } from '../approval/answers.ts';
import type { Viewer } from '../approval/rows.ts';
import type { GatewayConfig } from '../config/load.ts';
import type { BrowserLogin } from '../identity/browserLogin.ts';
import type { KeyRing } from '../identity/keys.ts';
import { type People, personOf } from '../identity/people.ts';
import { callersOf, type Principal } from '../identity/principal.ts';
import type { RateLimits } from '../identity/rateLimit.ts';
import { rolesOf } from '../identity/roles.ts';
import type { ServiceAccounts } from '../identity/serviceAccounts.ts';
import type { StoredPins } from '../pins/storedPins.ts';
import type { CentralPolicy } from '../policy/central.ts';
import { explainPolicy, type TesterParts } from '../policy/tester.ts';
import type { RecordLines } from '../recording/archive/recordLines.ts';
import { GATEWAY_CHAIN } from '../recording/chainRows.ts';
import type { Acts } from '../recording/chains.ts';
import { verifyRecords } from '../recording/exportRecord.ts';
import type { RecordKey } from '../recording/recordKey.ts';
import { verifyStore } from '../recording/verifyStore.ts';
import { hashOf, newSecret, type Sealer } from '../sealed.ts';
import type { Sessions } from '../sessions.ts';
import { tell } from '../store/bus.ts';
import { type Database, one } from '../store/database.ts';
import { connectionsOf } from '../tunnel/principals.ts';
import type { EventStreams } from './events.ts';
import { csrfToken, type Handlers } from './router.ts';

export interface HandlerParts {
  readonly db: Database;
  readonly acts: Acts;
  readonly config: GatewayConfig;
  readonly sealer: Sealer;
  readonly people: People;
  readonly accounts: ServiceAccounts;
  readonly keys: KeyRing;
  readonly limits: RateLimits;
  readonly policy: CentralPolicy;
  readonly answers: Answers;
  readonly sessions: Sessions;
  readonly edges: {
    readonly list: () => Promise<EdgeView[]>;
    readonly add: (wanted: NewEdge, by: Person) => Promise<AddedEdge>;
    readonly revoke: (what: string, by: Person) => Promise<boolean>;
  };
  readonly pins: StoredPins;
  readonly events: EventStreams;
  readonly login: BrowserLogin;
  readonly recordKey: RecordKey;
  readonly lines: RecordLines;
  readonly archive: (() => NonNullable<StorageHealth['archive']>) | undefined;
  readonly understand: TesterParts['understand'];
}

/** How long a link to a fresh login can be followed, in milliseconds. */
const FRESH_LINK_MS = 5 * 60_000;
const MAX_PEOPLE = 1_000;

export function handlers(parts: HandlerParts): Handlers {
  const { acts, db, config, sealer, people, accounts, keys, limits, policy, answers, sessions } = parts;
  let verifying: Promise<AuditReport> | undefined;
  return {
    me: ({ principal }): Me => ({
      kind: principal.kind,
      person: principal.person,
      roles: principal.kind === 'person' ? [...principal.roles] : [],
      expiresAt: principal.expiresAt,
      ...(principal.kind === 'person' && { authTime: principal.authTime }),
      ...(principal.kind === 'run' && { agent: principal.agent.name }),
      ...(principal.kind === 'person' && principal.via === 'cookie' && { csrf: csrfToken(sealer, principal.basis) }),
    }),
    signOut: async ({ principal, response }) => {
      await db.transaction(async (tx) => {
        if (await people.end(tx, principal.basis, 'signed out')) await acts.append(tx, principal.id, { type: 'signed-out', by: { ...principal.person } });
      });
      response.clearCookie(parts.login.cookieName, { httpOnly: true, secure: config.publicUrl.startsWith('https:'), sameSite: 'lax', path: '/' });
      return {};
    },
    events: ({ principal, request, response }) => parts.events.add(principal, request, response),

    // Cut for a laptop of theirs; the whole text is in the history, for those who may see that.
    policy: ({ principal }) => policy.signed({ person: principal.person, connections: connectionsOf(principal) }),
    policyKeys: () => policy.keys(),
    putPolicy: async ({ principal, body }) => await policy.put(body, principal.person),
    checkPolicy: ({ body }) => policy.check(body.text),
    explainPolicy: async ({ body }) => await explainPolicy({ central: policy, understand: parts.understand, issuer: config.publicUrl }, body),
    policyHistory: async ({ query }) => await policy.history(query.before),
    policyVersion: async ({ id }) => {
      if (!/^\d{1,15}$/.test(id)) throw new Problem('not-found', 'There is no such version.');
      return await policy.detail(Number(id));
    },
    connections: ({ principal }) => ({ connections: policy.connections(principal.kind === 'person' ? undefined : principal.connections) }),

    approvals: async ({ principal }) => await answers.list(viewerOf(principal)),
    approval: async ({ principal, id }) => await answers.get(id, viewerOf(principal)),
    answer: async ({ principal, id, body }) => {
      if (body.id !== id) throw new Problem('bad-request', 'The answer is for another request than the one addressed.');
      await limits.count('answer', principal.id);
      // An auditor who is an approver as well answers as one.
      return await answers.answer(body, { ...viewerOf(principal), auditor: false });
    },
    freshLogin: async ({ principal, id }) => {
      await answers.wantsFresh(id, { ...viewerOf(principal), auditor: false });
      const ticket = newSecret();
      const sealed = sealer.seal('fresh link', JSON.stringify({ approval: id, person: principal.id }));
      await db.query("INSERT INTO login_attempts (state_hash, provider, sealed, expires_at) VALUES ($1, 'fresh link', $2, ms() + $3::bigint)", [
        hashOf(ticket),
        sealed,
        FRESH_LINK_MS,
      ]);
      return { url: `${config.publicUrl}/fresh-login?ticket=${ticket}` };
    },
    requestAccess: async ({ principal, body }) => {
      await limits.count('request', principal.id);
      return await answers.requestAccess(body, { ...viewerOf(principal), auditor: false });
    },
    grants: async ({ principal }) => ({ grants: await answers.grants(viewerOf(principal), has(principal, 'auditor') || has(principal, 'admin')) }),
    endGrant: async ({ principal, id }) => ({ ended: await answers.endGrant(id, { ...viewerOf(principal), auditor: false }, has(principal, 'admin')) }),

    sessions: async ({ principal, query }) =>
      await sessions.list({
        person: has(principal, 'auditor') || has(principal, 'admin') ? undefined : principal.id,
        live: query.live === undefined ? undefined : query.live === 'true',
        connection: query.connection,
        before: query.before,
        limit: query.limit,
      }),
    session: async ({ principal, id }) => await sessions.get(id, has(principal, 'auditor') || has(principal, 'admin') ? undefined : principal.id),
    // An admin sees that a session is there, and not what was said in it.
    sessionEntries: async ({ principal, id, query }) =>
      await sessions.entries(id, has(principal, 'auditor') ? undefined : principal.id, query.after, query.limit),
    endSession: async ({ principal, id }) => {
      const session = await sessions.get(id, has(principal, 'admin') ? undefined : principal.id);
      if (session.closedAt !== undefined) return { ended: false };
      await db.transaction(async (tx) => {
        await acts.append(tx, principal.id, { type: 'session.ended', session: id, by: { ...principal.person } });
        await tell(tx, 'session', `end ${id}`);
      });
      return { ended: true };
    },

    people: async () => {
      const rows = await db.query<{
        id: string;
        issuer: string;
        subject: string;
        name: string | null;
        email: string | null;
        groups: string[];
        seen_at: number;
        disabled_at: number | null;
        logins: number;
      }>(
        'SELECT p.*, (SELECT count(*) FROM logins l WHERE l.person = p.id AND l.ended_at IS NULL AND l.expires_at > ms()) AS logins FROM people p ORDER BY p.seen_at DESC LIMIT $1',
        [MAX_PEOPLE],
      );
      return {
        people: rows.map((row) => ({
          id: row.id,
          person: personOf(row),
          ...(row.email !== null && { email: row.email }),
          roles: rolesOf(config.identity.roles, row.subject, row.groups),
          seenAt: row.seen_at,
          ...(row.disabled_at !== null && { disabledAt: row.disabled_at }),
          logins: row.logins,
        })),
      };
    },
    disablePerson: async ({ principal, id }) => {
      if (id === principal.id) throw new Problem('bad-request', 'You would shut yourself out. Ask another admin.');
      await changePerson(parts, principal, id, 'person.disabled', 'UPDATE people SET disabled_at = ms() WHERE id = $1 RETURNING id');
      return {};
    },
    enablePerson: async ({ principal, id }) => {
      await changePerson(parts, principal, id, 'person.enabled', 'UPDATE people SET disabled_at = NULL WHERE id = $1 RETURNING id');
      return {};
    },
    signOutPerson: async ({ principal, id }) => {
      await changePerson(parts, principal, id, 'person.signed-out', 'SELECT id FROM people WHERE id = $1');
      return {};
    },
    serviceAccounts: async () => ({ accounts: await accounts.list() }),
    newServiceAccount: async ({ principal, body }) =>
      await db.transaction(async (tx) => {
        const made = await accounts.create(tx, body, principal.person);
        const { account } = made;
        await acts.append(tx, GATEWAY_CHAIN, {
          type: 'account.created',
          account: account.id,
          name: account.name,
          connections: account.connections,
          groups: account.groups,
          ...(account.publisher && { publisher: true }),
          ...(account.workload && { workload: account.workload }),
          by: { ...principal.person },
        });
        return made;
      }),
    disableServiceAccount: async ({ principal, id }) => {
      const done = await db.transaction(async (tx) => {
        const disabled = await accounts.disable(tx, id);
        if (disabled) await acts.append(tx, GATEWAY_CHAIN, { type: 'account.disabled', account: id, by: { ...principal.person } });
        return disabled;
      });
      if (!done) throw new Problem('not-found', 'There is no such service account, or it is disabled already.');
      return {};
    },
    enableServiceAccount: async ({ principal, id }) => {
      const done = await db.transaction(async (tx) => {
        const enabled = await accounts.enable(tx, id);
        if (enabled) await acts.append(tx, GATEWAY_CHAIN, { type: 'account.enabled', account: id, by: { ...principal.person } });
        return enabled;
      });
      if (!done) throw new Problem('not-found', 'There is no such service account, or it is switched on already.');
      return {};
    },
    rotateKeys: async ({ principal }) => {
      await db.transaction(async (tx) => {
        await keys.rotate(tx);
        await acts.append(tx, GATEWAY_CHAIN, { type: 'keys.rotated', by: { ...principal.person } });
      });
      await keys.load();
      return {};
    },

    pins: async () => ({ connections: await parts.pins.views() }),
    pinTexts: async ({ id }) => await parts.pins.texts(id),
    answerPins: async ({ principal, id, body }) => await parts.pins.answer(id, body, principal.person),
    edges: async () => ({ edges: await parts.edges.list() }),
    newEdge: async ({ principal, body }) => await parts.edges.add(body, principal.person),
    revokeEdge: async ({ principal, id }) => {
      if (!(await parts.edges.revoke(id, principal.person))) throw new Problem('not-found', 'There is no such edge or key, or it was revoked already.');
      return {};
    },

    storage: () => (parts.archive ? { archive: parts.archive() } : {}),
    audit: async ({ query }) => {
      const rows = await db.query<{ seq: number; at: number; line: string }>(
        'SELECT seq, at, line FROM audit WHERE chain = $1 AND seq >= $2 ORDER BY seq LIMIT $3',
        [query.chain, query.after, query.limit + 1],
      );
      return { chain: query.chain, lines: rows.slice(0, query.limit), more: rows.length > query.limit };
    },
    // Reads everything: whoever asks for it meanwhile is told the same.
    verifyAudit: async () => await (verifying ??= verifyAll(parts).finally(() => (verifying = undefined))),
  };
}

async function verifyAll({ db, lines, recordKey }: HandlerParts): Promise<AuditReport> {
  const report = await db.transaction(async (tx) => {
    // One picture of everything: sessions go on being written meanwhile.
    await tx.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    return await verifyStore(tx);
  });
  // And once more as files, by the code that verifies a laptop's, with what lies in the archive: no transaction waits for that.
  const records = await verifyRecords(db, recordKey, lines);
  const problems = [...report.problems, ...records.problems].slice(0, 100);
  return { ...report, ok: problems.length === 0, problems, notes: [...records.notes] };
}

function viewerOf(principal: Principal): Viewer {
  return { id: principal.id, person: principal.person, auditor: has(principal, 'auditor') };
}

function has(principal: Principal, role: 'auditor' | 'admin'): boolean {
  return callersOf(principal).includes(role);
}

/** Something that ends every login of a person. */
async function changePerson({ acts, db, people }: HandlerParts, principal: Principal, id: string, type: string, sql: string): Promise<void> {
  const done = await db.transaction(async (tx) => {
    const row = await one(tx, sql, [id]);
    if (!row) return false;
    if (type !== 'person.enabled') await people.endAll(tx, { person: id }, `${type} by an admin`);
    await acts.append(tx, GATEWAY_CHAIN, { type, person: id, by: { ...principal.person } });
    await tell(tx, 'person', id);
    return true;
  });
  if (!done) throw new Problem('not-found', 'There is no such person.');
}
