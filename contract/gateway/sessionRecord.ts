/** A session's lines as operations, with the chain checked where it is read: the console's browser, the editor. */

import type { OperationDetail, OperationSummary } from '../control.ts';
import { Entry } from '../recording.ts';

const FIRST = '0'.repeat(64);

type Body<Type extends Entry['body']['type']> = Extract<Entry['body'], { type: Type }>;

/** Lines come in pages: what is read grows. */
export class SessionRecord {
  readonly #operations = new Map<
    string,
    { intent: Body<'operation.intent'>; at: number; approval?: Body<'operation.approval'>; outcome?: Body<'operation.outcome'> }
  >();
  #open: Body<'session.open'> | undefined;
  #session = '';
  #head = FIRST;
  #entries = 0;
  #problem: string | undefined;
  /** Why it ended, where it has. */
  closed: string | undefined;

  /** How many lines have been read. */
  get entries(): number {
    return this.#entries;
  }

  get verified(): OperationDetail['verified'] {
    return { ok: this.#problem === undefined, entries: this.#entries, head: this.#head, ...(this.#problem !== undefined && { problem: this.#problem }) };
  }

  async add(lines: readonly string[]): Promise<void> {
    for (const line of lines) {
      const parsed = Entry.safeParse(json(line));
      if (!parsed.success) this.#problem ??= `entry ${this.#entries} cannot be read`;
      else this.#take(parsed.data);
      this.#head = await sha256(line);
      this.#entries++;
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
      verified: this.verified,
    };
  }

  #take({ seq, prev, at, body, session }: Entry): void {
    if (seq !== this.#entries) this.#problem ??= `entry ${this.#entries} is missing`;
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

async function sha256(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
