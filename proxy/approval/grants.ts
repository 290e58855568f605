/** Standing approvals: what a person allowed beyond the operation that was on the screen. Held in memory only. */
import type { Actor, Person } from '../../contract/actor.ts';
import type { GrantView, Scope } from '../../contract/approval.ts';
import { assertNever } from '../../contract/problem.ts';
import type { Question } from './approvals.ts';

/** Grants that can stand at once; beyond it the oldest ends. */
const MAX_GRANTS = 200;
const MINUTE_MS = 60_000;

export interface Grant {
  readonly id: string;
  readonly scope: Scope;
  readonly by: Person;
  /** The question that it was given in answer to. */
  readonly given: Question;
  /** Epoch milliseconds; absent for "until the session ends". */
  readonly until?: number;
  /** Sessions that an operation was allowed in: cut when a person ends the grant. */
  readonly sessions: Set<string>;
  used: number;
}

export class Grants {
  readonly #standing = new Map<string, Grant>();

  add(id: string, scope: Scope, by: Person, given: Question, now: number): Grant {
    const until = untilOf(scope.howLong, now);
    const grant: Grant = { id, scope, by, given, sessions: new Set([given.session]), used: 0, ...(until !== undefined && { until }) };
    for (const [oldest] of this.#standing) {
      if (this.#standing.size < MAX_GRANTS) break;
      this.#standing.delete(oldest);
    }
    this.#standing.set(id, grant);
    return grant;
  }

  /** The first grant that covers a question, counted as used. */
  use(question: Question, now: number): Grant | undefined {
    for (const grant of this.#standing.values()) {
      if (grant.until !== undefined && grant.until <= now) continue;
      if (!covers(grant, question)) continue;
      grant.used++;
      grant.sessions.add(question.session);
      return grant;
    }
    return undefined;
  }

  end(id: string): Grant | undefined {
    const grant = this.#standing.get(id);
    this.#standing.delete(id);
    return grant;
  }

  /** Ends what has run out. @returns whether anything did. */
  sweep(now: number): boolean {
    return this.#endWhere((grant) => grant.until !== undefined && grant.until <= now);
  }

  sessionEnded(session: string): boolean {
    for (const grant of this.#standing.values()) grant.sessions.delete(session);
    return this.#endWhere((grant) => grant.scope.howLong === 'session' && grant.given.session === session);
  }

  /** A grant never outlives the policy that it was given under. */
  policyChanged(version: string): boolean {
    return this.#endWhere((grant) => grant.given.verdict.policyVersion !== version);
  }

  clear(): boolean {
    return this.#endWhere(() => true);
  }

  /** When the next one runs out; undefined where none does. */
  get nextEnd(): number | undefined {
    const ends = [...this.#standing.values()].flatMap((grant) => grant.until ?? []);
    return ends.length === 0 ? undefined : Math.min(...ends);
  }

  views(now: number): GrantView[] {
    const live = [...this.#standing.values()].filter((grant) => grant.until === undefined || grant.until > now);
    return live.map((grant) => ({
      id: grant.id,
      what: grant.scope.what,
      covers: inWords(grant),
      connection: grant.given.connection,
      by: grant.by,
      ...(grant.until !== undefined && { until: grant.until }),
      used: grant.used,
    }));
  }

  #endWhere(ends: (grant: Grant) => boolean): boolean {
    const before = this.#standing.size;
    for (const [id, grant] of this.#standing) if (ends(grant)) this.#standing.delete(id);
    return this.#standing.size !== before;
  }
}

/** What a question is compared by: everything but what a person reads. */
export type Compared = Pick<
  Question,
  'connection' | 'protocol' | 'actor' | 'verdict' | 'session' | 'conversation' | 'digest' | 'shape' | 'facts' | 'conversationSummary'
>;

/** Everything that was on the screen must be the same, but for what the scope leaves open. */
export function covers({ scope, given }: { readonly scope: Scope; readonly given: Compared }, asked: Compared): boolean {
  if (asked.connection !== given.connection || asked.protocol !== given.protocol || !sameActor(asked.actor, given.actor)) return false;
  if (asked.verdict.policyVersion !== given.verdict.policyVersion || asked.verdict.rule.id !== given.verdict.rule.id) return false;
  if (scope.howLong === 'session' ? asked.session !== given.session : asked.conversation !== given.conversation) return false;
  if (!coversWhatMayLeave(given, asked)) return false;
  switch (scope.what) {
    case 'exact':
      return asked.digest === given.digest;
    case 'shape':
      return given.shape !== undefined && asked.shape === given.shape && asked.facts.effect === given.facts.effect && !asked.facts.bulk;
    case 'target':
      return coversTarget(given, asked);
    default:
      return assertNever(scope.what);
  }
}

/** Secrets in what is sent, and sensitive reads that it could carry out: only those that were there when the grant was given. */
function coversWhatMayLeave(given: Compared, asked: Compared): boolean {
  if (!isSubset(asked.facts.mcp?.secrets, given.facts.mcp?.secrets)) return false;
  const end = ({ connection, target }: { readonly connection: string; readonly target: string }): string => `${connection}/${target}`;
  return isSubset(asked.conversationSummary.reads?.map(end), given.conversationSummary.reads?.map(end));
}

function coversTarget({ facts: given }: Pick<Question, 'facts'>, { facts: asked }: Pick<Question, 'facts'>): boolean {
  if (asked.bulk || asked.effect !== given.effect || asked.targets.length === 0) return false;
  const targets = new Set(given.targets.map((t) => `${t.kind}\0${t.name}`));
  if (!asked.targets.every((t) => targets.has(`${t.kind}\0${t.name}`))) return false;
  // Sensitive columns and functions with side effects that the person did not see are another matter.
  return isSubset(asked.sensitive, given.sensitive) && isSubset(asked.sql?.functions, given.sql?.functions) && !asked.sql?.session;
}

function isSubset(some: readonly string[] = [], all: readonly string[] = []): boolean {
  return some.every((one) => all.includes(one));
}

function sameActor(a: Actor, b: Actor): boolean {
  return samePerson(a.person, b.person) && a.agent.kind === b.agent.kind && a.agent.name === b.agent.name;
}

export function samePerson(a: Person, b: Person): boolean {
  return a.issuer === b.issuer && a.subject === b.subject;
}

export function untilOf(howLong: Scope['howLong'], now: number): number | undefined {
  switch (howLong) {
    case '15m':
      return now + 15 * MINUTE_MS;
    case '1h':
      return now + 60 * MINUTE_MS;
    case 'session':
      return undefined;
    case 'once':
      throw new Error('an approval for once leaves no grant');
    default:
      return assertNever(howLong);
  }
}

export function inWords({ scope, given: { facts } }: { readonly scope: Scope; readonly given: Pick<Question, 'facts'> }): string {
  switch (scope.what) {
    case 'exact':
      return `${facts.headline} (exactly this)`;
    case 'shape':
      return `${facts.headline} (same shape)`;
    case 'target':
      return `any ${facts.effect} on ${facts.targets.map((t) => t.name).join(', ')}`.slice(0, 400);
    default:
      return assertNever(scope.what);
  }
}
