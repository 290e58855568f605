/**
 * The engine's approvals, over the store: a question waits where every replica can see it, is decided by people wherever they
 * are connected, and comes back to the replica that asked, which alone can use the answer, once.
 */
import type { Person } from '../../contract/actor.ts';
import { NARROWEST, PendingApproval, Scope } from '../../contract/approval.ts';
import { AccessRequest } from '../../contract/gateway/approvals.ts';
import type { ApprovalOutcome, Approvals, Question } from '../../proxy/approval/approvals.ts';
import { DryRunning, dryRunAtFirst, plainTimer } from '../../proxy/approval/dryRunning.ts';
import { covers, samePerson } from '../../proxy/approval/grants.ts';
import { shownQuestion } from '../../proxy/approval/shown.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import { personOf } from '../identity/people.ts';
import type { Sealer } from '../sealed.ts';
import { type Bus, tell } from '../store/bus.ts';
import { type Database, json, one, type Queryable, retried } from '../store/database.ts';
import type { Replica } from '../store/replica.ts';
import { accessCovers } from './access.ts';
import type { Notices } from './notices.ts';
import { type ApprovalRow, comparedOf, type GrantRow, type OpenQuestion, People, QUESTION } from './rows.ts';
import { enough } from './terms.ts';

const MAX_PENDING_PER_SESSION = 20;
const MAX_PENDING_PER_PERSON = 100;
/** An approval that was not used by then is void, in milliseconds. */
const SPEND_WITHIN_MS = 30_000;
/** How often a question that waits is looked at by itself, in milliseconds: a notification can be missed. */
const LOOK_EVERY_MS = 2_000;
/** How long the store may be away until a question that waits is given up, in milliseconds. */
const AWAY_MS = 10_000;

type Denial = Extract<ApprovalOutcome, { answer: 'denied' }>['why'];

interface Waiting {
  readonly id: string;
  readonly question: Question;
  readonly view: PendingApproval;
  readonly askedAt: number;
  readonly resolve: (outcome: ApprovalOutcome) => void;
  readonly letGo: () => void;
  readonly dryRun: DryRunning;
  looking: boolean;
  again: boolean;
  lastSeen: number;
}

interface Unspent {
  readonly operation: string;
  readonly policyVersion: string;
  readonly until: number;
  readonly grant: string | undefined;
}

export interface StoreApprovalsOptions {
  readonly db: Database;
  readonly bus: Bus;
  readonly replica: Replica;
  readonly sealer: Sealer;
  readonly notices: Notices;
  readonly log: Log;
  readonly newId: (prefix: 'app') => string;
  readonly policyVersion: () => string;
  /** Id of the person, or service account, behind a session. */
  readonly requesterOf: (question: Question) => string;
}

export class StoreApprovals implements Approvals {
  readonly #options: StoreApprovalsOptions;
  readonly #waiting = new Map<string, Waiting>();
  readonly #unspent = new Map<string, Unspent>();
  #down = false;

  constructor(options: StoreApprovalsOptions) {
    this.#options = options;
    options.bus.on('approval', ({ subject }) => {
      const waiting = this.#waiting.get(subject);
      if (waiting) void this.#look(waiting);
    });
    options.bus.on('grant', ({ subject }) => {
      for (const [approval, unspent] of this.#unspent) if (unspent.grant === subject) this.#unspent.delete(approval);
    });
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  async ask(question: Question, signal: AbortSignal): Promise<ApprovalOutcome> {
    const { db, log, newId, replica } = this.#options;
    const id = newId('app');
    const began = Date.now();
    const denied = (why: Denial): ApprovalOutcome => ({ answer: 'denied', approval: id, why, waitedMs: Date.now() - began });
    if (signal.aborted) return denied('withdrawn');
    if (this.#down || !replica.alive) return denied('shutdown');
    if (question.verdict.policyVersion !== this.#options.policyVersion()) return denied('policy-changed');
    const shown = shownQuestion(id, question, began);
    if (!shown) return denied('too-large');
    const view: PendingApproval = { ...shown, dryRun: dryRunAtFirst(question) };
    try {
      const asked = await retried(db, async (tx) => await this.#write(tx, id, question, view));
      if (asked.kind === 'limit') return denied('limit');
      if (asked.kind === 'fenced') return denied('shutdown');
      if (asked.kind === 'granted') return this.#approved(id, question, asked.by, asked.scope, 'grant', Date.now() - began, asked.grant);
    } catch (cause) {
      log.warn('approval.not-asked', { cause });
      return denied('out-of-reach');
    }
    return await new Promise((resolve) => this.#wait(id, question, view, began, signal, resolve));
  }

  spend(approval: string): boolean {
    const unspent = this.#unspent.get(approval);
    if (!unspent || this.#down || !this.#options.replica.alive) return false;
    this.#unspent.delete(approval);
    return performance.now() < unspent.until;
  }

  ended(operation: string, outcome: string): void {
    for (const [approval, unspent] of this.#unspent) if (unspent.operation === operation) this.#unspent.delete(approval);
    if (outcome === '') return;
    // For the quiet line of a decided question: nothing depends on it.
    void this.#options.db
      .query('UPDATE approvals SET outcome = $2 WHERE operation = $1', [operation, outcome.slice(0, 200)])
      .catch((cause: unknown) => this.#options.log.warn('approval.outcome-not-noted', { cause }));
  }

  /** What was asked under another policy is asked again under this one. */
  policyChanged(version: string): void {
    for (const [approval, unspent] of this.#unspent) if (unspent.policyVersion !== version) this.#unspent.delete(approval);
    for (const waiting of this.#waiting.values()) if (waiting.question.verdict.policyVersion !== version) void this.#give(waiting, 'policy-changed');
  }

  /** This process owns nothing any more: what waits here is withdrawn by whoever ends its lease. */
  fenced(): void {
    this.#unspent.clear();
    for (const waiting of this.#waiting.values())
      this.#resolve(waiting, { answer: 'denied', approval: waiting.id, why: 'shutdown', waitedMs: Date.now() - waiting.askedAt });
  }

  async shutdown(): Promise<void> {
    this.#down = true;
    this.#unspent.clear();
    await Promise.all([...this.#waiting.values()].map((waiting) => this.#give(waiting, 'shutdown')));
  }

  async #write(
    tx: Queryable,
    id: string,
    question: Question,
    view: PendingApproval,
  ): Promise<{ kind: 'asked' | 'limit' | 'fenced' } | { kind: 'granted'; grant: string; by: Person; scope: Scope }> {
    const { replica, requesterOf, sealer, notices } = this.#options;
    const requester = requesterOf(question);
    const { verdict } = question;
    // Held until the end: nobody can end this replica, and give up what it owns, in between.
    if (!(await one(tx, 'SELECT id FROM replicas WHERE id = $1 AND ended_at IS NULL FOR SHARE', [replica.id]))) return { kind: 'fenced' };
    const granted = await this.#byGrant(tx, requester, question);
    const open: OpenQuestion = { requester: question.actor.person, actor: question.actor, headline: question.facts.headline, protocol: question.protocol };
    const common = [id, question.session, replica.id, question.operation, question.digest, verdict.policyVersion, question.connection, requester, json(open)];
    if (granted) {
      await tx.query(
        `INSERT INTO approvals (id, kind, state, session, owner, operation, digest, policy_version, connection, requester, question, approvers, quorum, fresh_login, deadline, why, decided_at, decided_by, grant_id, spent_at)
         VALUES ($1, 'operation', 'spent', $2, $3, $4, $5, $6, $7, $8, $9::jsonb, $10::jsonb, $11, false, ms(), 'grant', ms(), $12::jsonb, $13, ms())`,
        [...common, json(verdict.approvers), verdict.quorum, json(granted.people), granted.id],
      );
      await tx.query('UPDATE grants SET used = used + 1 WHERE id = $1', [granted.id]);
      await tx.query('INSERT INTO grant_sessions (grant_id, session) VALUES ($1, $2) ON CONFLICT DO NOTHING', [granted.id, question.session]);
      const [by] = granted.people;
      if (!by) throw new Error('a grant that nobody gave');
      return { kind: 'granted', grant: granted.id, by, scope: granted.scope };
    }
    const waiting = await one<{ session: number; person: number }>(
      tx,
      "SELECT count(*) FILTER (WHERE session = $1) AS session, count(*) AS person FROM approvals WHERE state = 'pending' AND requester = $2",
      [question.session, requester],
    );
    if ((waiting?.session ?? 0) >= MAX_PENDING_PER_SESSION || (waiting?.person ?? 0) >= MAX_PENDING_PER_PERSON) return { kind: 'limit' };
    await tx.query(
      `INSERT INTO approvals (id, kind, state, session, owner, operation, digest, policy_version, connection, requester, question, approvers, quorum, fresh_login, sealed_question, deadline, escalate_to, escalate_at)
       VALUES ($1, 'operation', 'pending', $2, $3, $4, $5, $6, $7, $8, $9::jsonb, $10::jsonb, $11, $12, $13, ms() + $14::bigint, $15::jsonb, CASE WHEN $16::bigint IS NULL THEN NULL ELSE ms() + $16::bigint END)`,
      [
        ...common,
        json(verdict.approvers),
        verdict.quorum,
        verdict.freshLogin === true,
        sealer.seal(QUESTION, JSON.stringify({ ...view, shape: question.shape })),
        view.deadline - view.askedAt,
        json(verdict.escalate?.to ?? []),
        verdict.escalate?.afterMs ?? null,
      ],
    );
    await notices.queue(tx, 'asked', id, {
      headline: question.facts.headline,
      connection: question.connection,
      requester: question.actor.person,
      agent: question.actor.agent.name,
    });
    await tell(tx, 'approval', id);
    return { kind: 'asked' };
  }

  /** A grant that covers the question and was given by who may answer it. Locked: it cannot be ended while it is used. */
  async #byGrant(tx: Queryable, requester: string, question: Question): Promise<{ id: string; people: Person[]; scope: Scope } | undefined> {
    if (question.verdict.freshLogin) return undefined;
    const rows = await tx.query<GrantRow>(
      'SELECT * FROM grants WHERE person = $1 AND connection = $2 AND ended_at IS NULL AND until > ms() ORDER BY created_at FOR UPDATE',
      [requester, question.connection],
    );
    const { verdict } = question;
    for (const row of rows) {
      const people = await standing(tx, People.parse(row.given_by));
      const scope = Scope.safeParse(row.scope);
      if (scope.success) {
        const given = comparedOf(row.given);
        // Those whom it is escalated to count as well: it may be them who gave it.
        const terms = { ...verdict, freshLogin: false, quorum: 1, escalated: true, escalateTo: verdict.escalate?.to ?? [] };
        if (given && enough(terms, question.actor.person, people) && covers({ scope: scope.data, given }, question))
          return { id: row.id, people, scope: scope.data };
        continue;
      }
      const access = AccessRequest.safeParse(row.scope);
      if (access.success && accessCovers(access.data, people, question)) return { id: row.id, people, scope: NARROWEST };
    }
    return undefined;
  }

  #wait(id: string, question: Question, view: PendingApproval, askedAt: number, signal: AbortSignal, resolve: (outcome: ApprovalOutcome) => void): void {
    const withdraw = (): void => void this.#give(waiting, 'withdrawn');
    const deadline = setTimeout(() => void this.#give(waiting, 'deadline'), view.deadline - askedAt);
    const look = setInterval(() => void this.#look(waiting), LOOK_EVERY_MS);
    const waiting: Waiting = {
      id,
      question,
      view,
      askedAt,
      resolve,
      letGo: () => {
        clearTimeout(deadline);
        clearInterval(look);
        signal.removeEventListener('abort', withdraw);
      },
      dryRun: new DryRunning(question, plainTimer, () => void this.#showDryRun(waiting)),
      looking: false,
      again: false,
      lastSeen: performance.now(),
    };
    this.#waiting.set(id, waiting);
    signal.addEventListener('abort', withdraw, { once: true });
    if (signal.aborted) withdraw();
    // It may have been answered before anyone here listened.
    void this.#look(waiting);
  }

  /** Sees what has become of a question, and uses an approval up: this statement is what makes it count once. */
  async #look(waiting: Waiting): Promise<void> {
    if (waiting.looking) {
      waiting.again = true;
      return;
    }
    waiting.looking = true;
    const { db, replica, log } = this.#options;
    try {
      do {
        waiting.again = false;
        if (!this.#waiting.has(waiting.id)) return;
        const row = await one<Pick<ApprovalRow, 'state' | 'why' | 'note' | 'decided_by' | 'scope' | 'grant_id'>>(
          db,
          'SELECT state, why, note, decided_by, scope, grant_id FROM approvals WHERE id = $1',
          [waiting.id],
        );
        waiting.lastSeen = performance.now();
        if (!row || !this.#waiting.has(waiting.id)) return;
        if (row.state === 'denied') return this.#denied(waiting, row);
        if (row.state === 'spent')
          return this.#resolve(waiting, { answer: 'denied', approval: waiting.id, why: 'withdrawn', waitedMs: Date.now() - waiting.askedAt });
        if (row.state !== 'approved') continue;
        const used = await one(
          db,
          `UPDATE approvals SET state = 'spent', spent_at = ms(), sealed_question = NULL WHERE id = $1 AND state = 'approved' AND owner = $2 AND digest = $3 AND decided_at > ms() - ${SPEND_WITHIN_MS}
           AND EXISTS (SELECT 1 FROM replicas WHERE id = $2 AND ended_at IS NULL AND lease_until > ms()) RETURNING id`,
          [waiting.id, replica.id, waiting.question.digest],
        );
        const [by] = People.parse(row.decided_by);
        const scope = Scope.safeParse(row.scope);
        if (!used || !by || !scope.success) return await this.#give(waiting, 'withdrawn');
        return this.#resolve(
          waiting,
          this.#approved(waiting.id, waiting.question, by, scope.data, 'person', Date.now() - waiting.askedAt, row.grant_id ?? undefined),
        );
      } while (waiting.again);
    } catch (cause) {
      log.warn('approval.not-read', { cause });
      if (performance.now() - waiting.lastSeen > AWAY_MS)
        this.#resolve(waiting, { answer: 'denied', approval: waiting.id, why: 'out-of-reach', waitedMs: Date.now() - waiting.askedAt });
    } finally {
      waiting.looking = false;
    }
  }

  #denied(waiting: Waiting, row: Pick<ApprovalRow, 'why' | 'note' | 'decided_by'>): void {
    const [by] = row.decided_by === null ? [] : People.parse(row.decided_by);
    this.#resolve(waiting, {
      answer: 'denied',
      approval: waiting.id,
      why: (row.why ?? 'withdrawn') as Denial,
      waitedMs: Date.now() - waiting.askedAt,
      ...(by && { by }),
      ...(row.note !== null && { note: row.note }),
    });
  }

  /** Ends a question that nobody has decided. Somebody may have, a moment ago: then that stands. */
  async #give(waiting: Waiting, why: Denial): Promise<void> {
    const { db, log } = this.#options;
    if (!this.#waiting.has(waiting.id)) return;
    try {
      await db.transaction(async (tx) => {
        const row = await one(
          tx,
          "UPDATE approvals SET state = 'denied', why = $2, decided_at = ms(), sealed_question = NULL WHERE id = $1 AND state IN ('pending', 'approved') RETURNING id",
          [waiting.id, why],
        );
        if (row) await tell(tx, 'approval', waiting.id);
      });
    } catch (cause) {
      // The lease or the deadline in the store ends it there.
      log.warn('approval.not-withdrawn', { cause });
    }
    this.#resolve(waiting, { answer: 'denied', approval: waiting.id, why, waitedMs: Date.now() - waiting.askedAt });
  }

  #approved(id: string, question: Question, by: Person, scope: Scope, why: 'person' | 'grant', waitedMs: number, grant?: string): ApprovalOutcome {
    const { digest, operation } = question;
    const { policyVersion } = question.verdict;
    this.#unspent.set(id, { operation, policyVersion, until: performance.now() + SPEND_WITHIN_MS, grant });
    return { answer: 'approved', approval: id, by, scope, why, digest, policyVersion, waitedMs };
  }

  #resolve(waiting: Waiting, outcome: ApprovalOutcome): void {
    if (!this.#waiting.delete(waiting.id)) return;
    waiting.letGo();
    waiting.dryRun.abort();
    // The dry run lets go of its locks before the operation itself is sent.
    void waiting.dryRun.gone().then(() => waiting.resolve(outcome));
  }

  async #showDryRun(waiting: Waiting): Promise<void> {
    const { db, sealer, log } = this.#options;
    const sealed = sealer.seal(QUESTION, JSON.stringify({ ...waiting.view, shape: waiting.question.shape, dryRun: waiting.dryRun.state }));
    try {
      await db.transaction(async (tx) => {
        await tx.query("UPDATE approvals SET sealed_question = $2 WHERE id = $1 AND state = 'pending'", [waiting.id, sealed]);
        await tell(tx, 'approval', waiting.id);
      });
    } catch (cause) {
      log.warn('approval.dry-run-not-shown', { cause });
    }
  }
}

/** Of those who gave a grant, who is still let in, with the groups that they have now: what they might not give any more does not stand in for them. */
async function standing(tx: Queryable, givers: readonly Person[]): Promise<Person[]> {
  const rows = await tx.query<Parameters<typeof personOf>[0]>(
    'SELECT issuer, subject, name, groups FROM people WHERE subject = ANY($1) AND disabled_at IS NULL',
    [givers.map(({ subject }) => subject)],
  );
  return givers.flatMap((giver) => rows.map(personOf).find((person) => samePerson(person, giver)) ?? []);
}

/** What a dead replica asked is withdrawn: nobody is there to use an answer. */
export async function withdrawQuestionsOf(tx: Queryable, replica: string): Promise<void> {
  const rows = await tx.query<{ id: string }>(
    "UPDATE approvals SET state = 'denied', why = 'withdrawn', decided_at = ms(), sealed_question = NULL WHERE owner = $1 AND state IN ('pending', 'approved') RETURNING id",
    [replica],
  );
  for (const { id } of rows) await tell(tx, 'approval', id);
}
