/**
 * A session's lines as operations, with the chain checked where it is read: the console's browser, the editor. Of a long one the
 * newest lines alone: those follow from each other, and the rest counts as not looked at until a `ChainCheck` has gone through all of it.
 */

import type { OperationDetail, OperationSummary } from '../control.ts';
import { Entry } from '../recording.ts';
import { CHAIN_START, type ChainCheck, sha256 } from './chainCheck.ts';

type Body<Type extends Entry['body']['type']> = Extract<Entry['body'], { type: Type }>;

/** Operations that are kept of one record; of more the newest. */
const MAX_OPERATIONS = 10_000;

/** Where reading of so many lines begins, so that what is read is what can be shown. */
export function windowOf(lines: number, most: number, newest: number): number {
  return lines > most ? lines - newest : 0;
}

/** Lines come in pages: what is read grows. */
export class SessionRecord {
  /** The first line that is read; those before it are not. */
  readonly from: number;
  readonly #operations = new Map<
    string,
    { intent: Body<'operation.intent'>; at: number; approval?: Body<'operation.approval'>; outcome?: Body<'operation.outcome'> }
  >();
  #open: Body<'session.open'> | undefined;
  #session = '';
  /** What the first line that is read says of the one before. */
  #start: string | undefined;
  #head: string;
  #entries: number;
  #problem: string | undefined;
  #confirmed: boolean;
  /** Why it ended, where it has. */
  closed: string | undefined;

  constructor(from = 0) {
    this.from = from;
    this.#entries = from;
    this.#head = CHAIN_START;
    this.#confirmed = from === 0;
    if (from === 0) this.#start = CHAIN_START;
  }

  /** The line that is read next. */
  get entries(): number {
    return this.#entries;
  }

  /** Whether it knows whose session it is, which its first line says. */
  get begun(): boolean {
    return this.#open !== undefined;
  }

  /** Absent: what is read holds together, and what comes before it was not looked at. */
  get verified(): OperationDetail['verified'] {
    if (this.#problem !== undefined) return { ok: false, entries: this.#entries, head: this.#head, problem: this.#problem };
    return this.#confirmed ? { ok: true, entries: this.#entries, head: this.#head } : undefined;
  }

  /** Places at which a check of all of it must meet this one. */
  get places(): readonly number[] {
    return [this.from, this.#entries];
  }

  /** All of it was gone through: what is read here is a part of that, or not. */
  confirm(check: ChainCheck, [from, entries]: readonly number[], head: string): void {
    if (check.problem !== undefined) this.#problem ??= check.problem;
    else if (check.at(from ?? 0) !== this.#start || check.at(entries ?? 0) !== head)
      this.#problem ??= 'what is shown is not what was there when all of it was read';
    else this.#confirmed = true;
  }

  get head(): string {
    return this.#head;
  }

  /** The session's first line, where others are not read. */
  begin(line: string | undefined): void {
    const parsed = Entry.safeParse(json(line ?? ''));
    if (parsed.success && parsed.data.seq === 0 && parsed.data.body.type === 'session.open') this.#open = parsed.data.body;
    else this.#problem ??= 'entry 0 cannot be read';
  }

  async add(lines: readonly string[]): Promise<void> {
    for (const line of lines) {
      const parsed = Entry.safeParse(json(line));
      if (!parsed.success) this.#problem ??= `entry ${this.#entries} cannot be read`;
      else this.#take(parsed.data);
      this.#head = await sha256(line);
      this.#entries++;
    }
    for (const oldest of this.#operations.keys()) {
      if (this.#operations.size <= MAX_OPERATIONS) break;
      this.#operations.delete(oldest);
    }
  }

  operations(): OperationDetail[] {
    return [...this.#operations.keys()].flatMap((id) => this.operation(id) ?? []);
  }

  operation(id: string): OperationDetail | undefined {
    const found = this.#operations.get(id);
    const open = this.#open;
    if (!found || !open) return undefined;
    const { intent, approval, outcome, at } = found;
    const summary: OperationSummary = {
      operation: id,
      session: this.#session,
      conversation: open.conversation,
      at,
      actor: open.actor,
      connection: open.connection,
      protocol: open.protocol,
      headline: intent.facts.headline,
      effect: intent.facts.effect,
      decision: intent.verdict.decision,
      rule: intent.verdict.rule.id,
      ...(approval?.by && approval.answer === 'approved' && { approvedBy: approval.by.name ?? approval.by.subject }),
      ...(outcome && { outcome: outcome.outcome, tookMs: outcome.tookMs }),
      ...(outcome?.rows !== undefined && { rows: outcome.rows }),
      masked: outcome?.masked ?? 0,
      ...(approval && { waitedMs: approval.waitedMs }),
    };
    return {
      summary,
      payload: intent.payload,
      params: intent.params ?? [],
      facts: intent.facts,
      verdict: intent.verdict,
      ...(approval && { approval }),
      ...(outcome?.error && { error: outcome.error }),
      ...(outcome?.answer && { answer: outcome.answer }),
      ...(this.verified && { verified: this.verified }),
    };
  }

  #take({ seq, prev, at, body, session }: Entry): void {
    if (seq !== this.#entries) this.#problem ??= `entry ${this.#entries} is missing`;
    if (this.#start === undefined) {
      this.#start = prev;
      this.#head = prev;
    }
    if (prev !== this.#head) this.#problem ??= `entry ${seq} does not follow from the one before`;
    this.#session = session;
    const operation = 'operation' in body ? this.#operations.get(body.operation) : undefined;
    if (body.type === 'session.open') this.#open = body;
    else if (body.type === 'session.close') this.closed = body.reason;
    else if (body.type === 'operation.intent') this.#operations.set(body.operation, { intent: body, at: Date.parse(at) });
    else if (operation && body.type === 'operation.approval') operation.approval = body;
    else if (operation && body.type === 'operation.outcome') operation.outcome = body;
  }
}

function json(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
