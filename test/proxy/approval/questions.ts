/** Questions, people and a hand-wound clock for the tests of approvals. */
import type { Person } from '../../../contract/actor.ts';
import type { ApprovalAnswer, PendingApproval, Scope } from '../../../contract/approval.ts';
import type { Facts } from '../../../contract/facts.ts';
import type { Verdict } from '../../../contract/verdict.ts';
import type { Question } from '../../../proxy/approval/approvals.ts';
import { type ApprovalQueue, createApprovals } from '../../../proxy/approval/queue.ts';

export const ada: Person = { issuer: 'os', subject: 'ada', groups: ['dba'] };
export const eve: Person = { issuer: 'os', subject: 'eve', groups: ['dba'] };

/** Time that moves when told to; fires what is due, in order. */
class HandClock {
  #now = 1_000_000;
  #timers: { at: number; fire: () => void }[] = [];

  now = (): number => this.#now;

  setTimer = (ms: number, fire: () => void): (() => void) => {
    const timer = { at: this.#now + ms, fire };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((t) => t !== timer);
    };
  };

  get timers(): number {
    return this.#timers.length;
  }

  /** Moves the clock without firing anything: a machine that slept. */
  sleep(ms: number): void {
    this.#now += ms;
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = this.#timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers = this.#timers.filter((t) => t !== due);
      this.#now = Math.max(this.#now, due.at);
      due.fire();
    }
    this.#now = end;
  }
}

export interface Bench {
  readonly clock: HandClock;
  readonly queue: ApprovalQueue;
  changes: number;
  /** Sessions to be cut, one list a grant that a person ended. */
  readonly cut: (readonly string[])[];
}

/** A queue with one window attached. */
export function bench(): Bench {
  const clock = new HandClock();
  let ids = 0;
  const result: Bench = {
    clock,
    changes: 0,
    cut: [],
    queue: createApprovals({
      clock,
      newId: () => `app_${++ids}`,
      onChange: () => {
        result.changes++;
      },
      onGrantEnded: ({ sessions }) => result.cut.push(sessions),
      setTimer: clock.setTimer,
    }),
  };
  result.queue.setAudience(1);
  return result;
}

export function facts(over: Partial<Facts> = {}): Facts {
  return {
    effect: 'write',
    verb: 'UPDATE',
    targets: [{ kind: 'table', name: 'orders' }],
    bulk: false,
    sensitive: [],
    headline: 'UPDATE orders',
    notes: [],
    ...over,
  };
}

export function verdict(over: Partial<Verdict> = {}): Verdict {
  return {
    decision: 'ask',
    rule: { id: 'writes', layer: 'builtin' },
    because: 'it writes',
    policyVersion: 'p1',
    approvers: ['requester'],
    quorum: 1,
    expiresMs: 60_000,
    preview: 'none',
    ...over,
  };
}

let operations = 0;
export function question(over: Partial<Question> = {}): Question {
  return {
    operation: `op_${++operations}`,
    digest: 'd1',
    session: 'ses_1',
    conversation: 'con_1',
    actor: { person: ada, agent: { kind: 'script', name: 'a script' } },
    connection: 'orders',
    protocol: 'postgres',
    facts: facts(),
    verdict: verdict(),
    payload: "UPDATE orders SET status='refunded' WHERE id=1",
    language: 'sql',
    params: [],
    conversationSummary: { operations: 1, sensitive: [] },
    ...over,
  };
}

export function approve(pending: PendingApproval, scope: Scope = { what: 'exact', howLong: 'once' }): ApprovalAnswer {
  return { answer: 'approve', id: pending.id, digest: pending.digest, scope };
}

export function deny(pending: PendingApproval, note?: string): ApprovalAnswer {
  return { answer: 'deny', id: pending.id, digest: pending.digest, ...(note !== undefined && { note }) };
}

export const never = new AbortController().signal;
