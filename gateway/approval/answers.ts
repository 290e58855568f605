/** People's side of questions: seeing them, answering them, asking for access, ending what was granted. */
import { randomBytes } from 'node:crypto';
import type { Person } from '../../contract/actor.ts';
import { type ApprovalAnswer, NARROWEST, PendingApproval } from '../../contract/approval.ts';
import { AccessRequest, type GatewayAnswerResult, type GatewayApproval, type GatewayApprovals, type GatewayGrant } from '../../contract/gateway/approvals.ts';
import { Problem } from '../../contract/problem.ts';
import { inWords, samePerson, untilOf } from '../../proxy/approval/grants.ts';
import { isOffered } from '../../proxy/approval/scopes.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { Policy } from '../../proxy/policy/policy.ts';
import type { GatewayConfig } from '../config/load.ts';
import { personOf } from '../identity/people.ts';
import type { Acts } from '../recording/chains.ts';
import type { Sealer } from '../sealed.ts';
import { tell } from '../store/bus.ts';
import { type Database, json, one, type Queryable, retried } from '../store/database.ts';
import { coversInWords, reviewOf } from './access.ts';
import type { Notices } from './notices.ts';
import {
  type ApprovalRow,
  answersOf,
  comparable,
  type GrantRow,
  grantView,
  mayEnd,
  maySee,
  QUESTION,
  questionOf,
  termsOf,
  type Viewer,
  viewOf,
} from './rows.ts';
import { mayApprove } from './terms.ts';

const MAX_PENDING_SHOWN = 500;
const MAX_DECIDED_SHOWN = 50;
const MAX_GRANTS_SHOWN = 500;
/** How long a request for access waits for reviewers, in milliseconds. */
const ACCESS_WAIT_MS = 24 * 60 * 60_000;
/** A grant for "until the session ends" ends by then at the latest, in milliseconds. */
const SESSION_GRANT_MS = 24 * 60 * 60_000;
/** Requests for access that wait of one person: each waits for a day, and reviewers see them all. */
const MAX_ACCESS_WAITING = 20;
const SWEEP_MS = 1_000;

export interface AnswersOptions {
  readonly db: Database;
  readonly acts: Acts;
  readonly sealer: Sealer;
  readonly config: GatewayConfig;
  readonly notices: Notices;
  readonly policy: () => Policy;
  readonly log: Log;
}

export class Answers {
  readonly #options: AnswersOptions;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: AnswersOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => void this.sweep().catch((cause: unknown) => this.#options.log.warn('approvals.not-swept', { cause })), SWEEP_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Ends what nobody answered in time, asks others where policy says so, ends grants whose time is over. */
  async sweep(): Promise<void> {
    const { db, notices } = this.#options;
    await db.transaction(async (tx) => {
      const late = await tx.query<{ id: string }>(
        "UPDATE approvals SET state = 'denied', why = 'deadline', decided_at = ms(), sealed_question = NULL WHERE state = 'pending' AND deadline <= ms() RETURNING id",
      );
      for (const { id } of late) await tell(tx, 'approval', id);
      const escalated = await tx.query<ApprovalRow>(
        "UPDATE approvals SET escalated_at = ms() WHERE state = 'pending' AND escalate_at <= ms() AND escalated_at IS NULL RETURNING *",
      );
      for (const row of escalated) {
        const { headline, requester, actor } = questionOf(row);
        await notices.queue(tx, 'escalated', row.id, { headline, connection: row.connection, requester, agent: actor?.agent.name ?? 'nobody' });
        await tell(tx, 'approval', row.id);
      }
      const over = await tx.query<{ id: string }>('UPDATE grants SET ended_at = until WHERE ended_at IS NULL AND until <= ms() RETURNING id');
      for (const { id } of over) await tell(tx, 'grant', id);
    });
  }

  async list(viewer: Viewer): Promise<GatewayApprovals> {
    const { db } = this.#options;
    // Whom it concerns is asked of the store: what others pile up leaves nobody's questions out.
    const named = [`user:${viewer.person.subject}`, ...viewer.person.groups.map((group) => `group:${group}`)];
    const concerns = '($2::boolean OR requester = $3 OR approvers ?| $4::text[] OR escalate_to ?| $4::text[])';
    const pending = await db.query<ApprovalRow>(
      `SELECT * FROM approvals WHERE state = 'pending' AND deadline > ms() AND ${concerns} ORDER BY asked_at LIMIT $1`,
      [4 * MAX_PENDING_SHOWN, viewer.auditor, viewer.id, named],
    );
    const decided = await db.query<ApprovalRow>(
      `SELECT * FROM approvals WHERE decided_at > ms() - 86400000 AND why IS DISTINCT FROM 'policy-changed' AND ${concerns} ORDER BY decided_at DESC LIMIT $1`,
      [8 * MAX_DECIDED_SHOWN, viewer.auditor, viewer.id, named],
    );
    const mine = (rows: readonly ApprovalRow[], most: number): ApprovalRow[] => rows.filter((row) => maySee(row, viewer)).slice(0, most);
    return { pending: await this.#views(mine(pending, MAX_PENDING_SHOWN), viewer), decided: await this.#views(mine(decided, MAX_DECIDED_SHOWN), viewer) };
  }

  /** @throws `Problem` `not-found`, for what is not there and for what is not theirs to see alike */
  async get(id: string, viewer: Viewer): Promise<GatewayApproval> {
    const row = await one<ApprovalRow>(this.#options.db, 'SELECT * FROM approvals WHERE id = $1', [id]);
    const [view] = row && maySee(row, viewer) ? await this.#views([row], viewer) : [];
    if (!view) throw notFound();
    return view;
  }

  /** Who may know of a question; nobody, where it is not there. Read once, however many are listening. */
  async whomItConcerns(id: string): Promise<(viewer: Viewer) => boolean> {
    const row = await one<ApprovalRow>(this.#options.db, 'SELECT * FROM approvals WHERE id = $1', [id]);
    return (viewer) => row !== undefined && maySee(row, viewer);
  }

  /** A person's answer. First valid answers win, whichever replica they reach: the question's row is locked while one is judged. */
  async answer(answer: ApprovalAnswer, viewer: Viewer): Promise<GatewayAnswerResult> {
    return await retried(this.#options.db, async (tx) => await this.#answer(tx, answer, viewer));
  }

  async #answer(tx: Queryable, answer: ApprovalAnswer, viewer: Viewer): Promise<GatewayAnswerResult> {
    const row = await one<ApprovalRow & { now: number }>(tx, 'SELECT *, ms() AS now FROM approvals WHERE id = $1 FOR UPDATE', [answer.id]);
    if (!row || viewer.auditor || !maySee(row, viewer)) return { result: 'unknown', sentence: 'There is no such request.' };
    const { requester, headline, actor } = questionOf(row);
    if (row.state !== 'pending' || row.deadline <= row.now)
      return { result: 'already-decided', sentence: 'This request was decided already, or its time is over.' };
    if (answer.digest !== row.digest) return { result: 'stale', sentence: 'The request is not the one that you were shown. Look at it again.' };
    const terms = termsOf(row);
    const own = samePerson(requester, viewer.person);
    const able = mayApprove(terms, requester, viewer.person);
    // Who asks may always say no.
    if (!able && !(own && answer.answer === 'deny'))
      return {
        result: 'not-allowed',
        sentence: own ? 'Policy wants somebody else than the requester to approve this.' : 'Policy does not name you among those who may answer this.',
      };
    let freshAt: number | null = null;
    if (answer.answer === 'approve') {
      if (row.fresh_login) {
        const fresh = await one<{ at: number }>(tx, 'SELECT at FROM fresh_logins WHERE approval = $1 AND person = $2 AND at > ms() - $3::bigint', [
          row.id,
          viewer.id,
          this.#options.config.identity.freshLoginWindow * 1000,
        ]);
        if (!fresh) return { result: 'needs-fresh-login', sentence: 'Policy wants you to sign in again for this request. Do that, then answer it.' };
        freshAt = fresh.at;
      }
      const scopes = row.sealed_question === null ? [NARROWEST] : this.#question(row).scopes;
      // Several people, or a fresh login, are for this operation alone.
      const narrow = row.quorum > 1 || row.fresh_login || row.kind === 'access';
      if (!isOffered(narrow ? [NARROWEST] : scopes, answer.scope))
        return { result: 'not-allowed', sentence: 'This cannot be approved for more than this once.' };
    }
    const wrote = await one(
      tx,
      'INSERT INTO answers (approval, person, answer, scope, note, fresh_at, by) VALUES ($1, $2, $3, $4::jsonb, $5, $6, $7::jsonb) ON CONFLICT DO NOTHING RETURNING 1 AS done',
      [
        row.id,
        viewer.id,
        answer.answer,
        answer.answer === 'approve' ? json(answer.scope) : null,
        answer.answer === 'deny' ? (answer.note ?? null) : null,
        freshAt,
        json(viewer.person),
      ],
    );
    if (!wrote) return { result: 'answered-before', sentence: 'You have answered this request already. Others must, too.' };
    await this.#options.acts.append(tx, viewer.id, {
      type: 'approval.answered',
      approval: row.id,
      answer: answer.answer,
      by: { ...viewer.person },
      requester: row.requester,
      digest: row.digest,
      ...(freshAt !== null && { freshAt }),
    });
    const people = await this.#approvers(tx, row, requester);
    if (answer.answer === 'deny') await this.#decide(tx, row, 'denied', [viewer.person], answer.note);
    else if (people.length >= row.quorum) await this.#approve(tx, row, people, answer.scope);
    else await tell(tx, 'approval', row.id);
    await this.#options.notices.queue(tx, answer.answer === 'deny' ? 'denied' : people.length >= row.quorum ? 'approved' : 'answered', row.id, {
      headline,
      connection: row.connection,
      requester,
      agent: actor?.agent.name ?? 'nobody',
      by: viewer.person,
    });
    return { result: 'accepted' };
  }

  /** Whose approvals count now: one of somebody who was shut out since, or whom policy's words do not name any more, was given too early. */
  async #approvers(tx: Queryable, row: ApprovalRow, requester: Person): Promise<Person[]> {
    const terms = termsOf(row);
    const given = await tx.query<{ by: unknown; issuer: string; subject: string; name: string | null; groups: string[] }>(
      `SELECT a.by, p.issuer, p.subject, p.name, p.groups FROM answers a JOIN people p ON p.id = a.person
       WHERE a.approval = $1 AND a.answer = 'approve' AND p.disabled_at IS NULL ORDER BY a.at, a.person`,
      [row.id],
    );
    return given.filter((one) => mayApprove(terms, requester, personOf(one))).map(({ by }) => by as Person);
  }

  async #approve(tx: Queryable, row: ApprovalRow, people: readonly Person[], scope: { what: string; howLong: string }): Promise<void> {
    if (row.kind === 'access') {
      const access = AccessRequest.parse(questionOf(row).access);
      await this.#grant(tx, row, people, { scope: access, covers: coversInWords(access), given: null, reason: access.reason, forMs: access.minutes * 60_000 });
      await tx.query("UPDATE approvals SET state = 'spent', why = 'person', decided_at = ms(), spent_at = ms(), decided_by = $2::jsonb WHERE id = $1", [
        row.id,
        json(people),
      ]);
      return await tell(tx, 'approval', row.id);
    }
    let grant: string | null = null;
    if (scope.howLong !== NARROWEST.howLong && row.sealed_question !== null) {
      const question = this.#question(row);
      const wanted = scope as { what: 'exact'; howLong: '15m' };
      const until = untilOf(wanted.howLong, 0) ?? SESSION_GRANT_MS;
      grant = await this.#grant(tx, row, people, {
        scope,
        covers: inWords({ scope: wanted, given: question }),
        given: comparable(question as never),
        reason: null,
        forMs: until,
      });
    }
    await tx.query(
      "UPDATE approvals SET state = 'approved', why = 'person', decided_at = ms(), decided_by = $2::jsonb, scope = $3::jsonb, grant_id = $4 WHERE id = $1",
      [row.id, json(people), json(scope), grant],
    );
    if (grant !== null && row.session !== null)
      await tx.query('INSERT INTO grant_sessions (grant_id, session) VALUES ($1, $2) ON CONFLICT DO NOTHING', [grant, row.session]);
    await tell(tx, 'approval', row.id);
  }

  async #decide(tx: Queryable, row: ApprovalRow, state: 'denied', by: readonly Person[], note: string | undefined): Promise<void> {
    await tx.query(
      "UPDATE approvals SET state = $2, why = 'person', decided_at = ms(), decided_by = $3::jsonb, note = $4, sealed_question = NULL WHERE id = $1",
      [row.id, state, json(by), note ?? null],
    );
    await tell(tx, 'approval', row.id);
  }

  async #grant(
    tx: Queryable,
    row: ApprovalRow,
    people: readonly Person[],
    grant: { scope: unknown; covers: string; given: unknown; reason: string | null; forMs: number },
  ): Promise<string> {
    const id = `gra_${randomBytes(16).toString('base64url')}`;
    await tx.query(
      'INSERT INTO grants (id, person, connection, scope, covers, given, reason, approval, policy_version, given_by, until) VALUES ($1, $2, $3, $4::jsonb, $5, $6::jsonb, $7, $8, $9, $10::jsonb, ms() + $11::bigint)',
      [
        id,
        row.requester,
        row.connection,
        json(grant.scope),
        grant.covers.slice(0, 400),
        grant.given === null ? null : json(grant.given),
        grant.reason,
        row.id,
        row.policy_version,
        json(people),
        grant.forMs,
      ],
    );
    await this.#options.acts.append(tx, row.requester, {
      type: 'grant.given',
      grant: id,
      covers: grant.covers,
      connection: row.connection,
      by: people.map((person) => ({ ...person })),
      ...(grant.reason !== null && { reason: grant.reason }),
    });
    await tell(tx, 'grant', id);
    return id;
  }

  /** @throws `Problem` where policy does not allow it to be asked for */
  async requestAccess(access: AccessRequest, viewer: Viewer): Promise<GatewayApproval> {
    const { db, notices } = this.#options;
    const policy = this.#options.policy();
    const connection = policy.connections.get(access.connection);
    if (!connection || connection.via !== 'gateway') throw new Problem('not-found', 'There is no such connection.');
    const actor = { person: viewer.person, agent: { kind: 'unknown' as const, name: 'access request' } };
    const review = reviewOf(access, policy, { actor, connection: access.connection, protocol: connection.protocol });
    const id = `app_${randomBytes(16).toString('base64url')}`;
    const headline = `Access for ${access.minutes} minutes: ${coversInWords(access)}`.slice(0, 300);
    await db.transaction(async (tx) => {
      const waiting = await one<{ n: number }>(tx, "SELECT count(*) AS n FROM approvals WHERE state = 'pending' AND kind = 'access' AND requester = $1", [
        viewer.id,
      ]);
      if ((waiting?.n ?? 0) >= MAX_ACCESS_WAITING)
        throw new Problem('too-many', `${MAX_ACCESS_WAITING} requests of yours wait already. Take some back, or wait until they are answered.`);
      await tx.query(
        `INSERT INTO approvals (id, kind, state, digest, policy_version, connection, requester, question, approvers, quorum, fresh_login, deadline)
         VALUES ($1, 'access', 'pending', $1, $2, $3, $4, $5::jsonb, $6::jsonb, $7, $8, ms() + ${ACCESS_WAIT_MS})`,
        [
          id,
          review.policyVersion,
          access.connection,
          viewer.id,
          json({ requester: viewer.person, headline, protocol: connection.protocol, access }),
          json(review.approvers),
          review.quorum,
          review.freshLogin,
        ],
      );
      await this.#options.acts.append(tx, viewer.id, {
        type: 'access.requested',
        approval: id,
        connection: access.connection,
        covers: coversInWords(access),
        minutes: access.minutes,
        reason: access.reason,
      });
      await notices.queue(tx, 'asked', id, { headline, connection: access.connection, requester: viewer.person, agent: 'nobody', reason: access.reason });
      await tell(tx, 'approval', id);
    });
    return await this.get(id, viewer);
  }

  async grants(viewer: Viewer, all: boolean): Promise<GatewayGrant[]> {
    const { db } = this.#options;
    const rows = await db.query<GrantRow>(
      'SELECT * FROM grants WHERE (ended_at IS NULL AND until > ms()) OR created_at > ms() - 86400000 ORDER BY created_at DESC LIMIT $1',
      [MAX_GRANTS_SHOWN],
    );
    const seen = rows.filter((row) => all || mayEnd(row, viewer, false));
    const people = new Map(
      (
        await db.query<{ id: string; question: { requester: Person } }>('SELECT id, question FROM approvals WHERE id = ANY($1)', [
          seen.map(({ approval }) => approval),
        ])
      ).map((row) => [row.id, row.question.requester]),
    );
    return seen.flatMap((row) => {
      const person = people.get(row.approval);
      return person ? [grantView(row, person)] : [];
    });
  }

  /** Ends a grant, and through the replicas the sessions that used it. @throws `Problem` `not-found` */
  async endGrant(id: string, viewer: Viewer, admin: boolean): Promise<boolean> {
    return await retried(this.#options.db, async (tx) => {
      const row = await one<GrantRow>(tx, 'SELECT * FROM grants WHERE id = $1 FOR UPDATE', [id]);
      if (!row || !mayEnd(row, viewer, admin)) throw notFound();
      if (row.ended_at !== null) return false;
      await tx.query('UPDATE grants SET ended_at = ms(), ended_by = $2::jsonb WHERE id = $1', [id, json(viewer.person)]);
      await this.#options.acts.append(tx, row.person, { type: 'grant.ended', grant: id, by: { ...viewer.person } });
      await tell(tx, 'grant', id);
      return true;
    });
  }

  /** Whether a fresh login for this question makes sense. @throws `Problem` */
  async wantsFresh(id: string, viewer: Viewer): Promise<void> {
    const view = await this.get(id, viewer);
    if (!view.mine.mayAnswer || !view.freshLogin) throw new Problem('bad-request', 'This request does not need a new sign-in of yours.');
  }

  /** Someone has signed in anew for one question. */
  async fresh(tx: Queryable, approval: string, person: string, authTime: number): Promise<void> {
    const row = await one<{ asked_at: number }>(tx, "SELECT asked_at FROM approvals WHERE id = $1 AND state = 'pending'", [approval]);
    if (!row) throw new Problem('bad-request', 'This request was decided already.');
    if (authTime < row.asked_at - this.#options.config.identity.clockSkew * 1000)
      throw new Problem('bad-token', 'This sign-in is older than the request. Sign in again.');
    await tx.query(
      'INSERT INTO fresh_logins (approval, person, auth_time) VALUES ($1, $2, $3) ON CONFLICT (approval, person) DO UPDATE SET auth_time = excluded.auth_time, at = ms()',
      [approval, person, authTime],
    );
    await tell(tx, 'approval', approval);
  }

  #question(row: ApprovalRow): PendingApproval {
    const opened: unknown = JSON.parse(this.#options.sealer.open(QUESTION, row.sealed_question ?? '').reveal());
    const { shape } = opened as { shape?: unknown };
    return { ...PendingApproval.parse(opened), ...(typeof shape === 'string' && { shape }) };
  }

  async #views(rows: readonly ApprovalRow[], viewer: Viewer): Promise<GatewayApproval[]> {
    const { db, sealer, config } = this.#options;
    const ids = rows.map(({ id }) => id);
    const answers = await answersOf(db, ids);
    const fresh = await db.query<{ approval: string }>(
      'SELECT approval FROM fresh_logins WHERE person = $1 AND approval = ANY($2) AND at > ms() - $3::bigint',
      [viewer.id, ids, config.identity.freshLoginWindow * 1000],
    );
    const freshIds = new Set(fresh.map(({ approval }) => approval));
    return rows.map((row) => viewOf(row, answers.get(row.id) ?? [], viewer, freshIds, sealer));
  }
}

function notFound(): Problem {
  return new Problem('not-found', 'There is nothing of this name here, or it is not yours to see.');
}
