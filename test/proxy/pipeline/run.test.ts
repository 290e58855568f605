import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Person } from '../../../contract/actor.ts';
import { type Effect, type Facts, mergeFacts } from '../../../contract/facts.ts';
import type { Digest, OperationId } from '../../../contract/ids.ts';
import { Problem } from '../../../contract/problem.ts';
import type { EntryBody } from '../../../contract/recording.ts';
import type { Decision, Verdict } from '../../../contract/verdict.ts';
import type { ApprovalOutcome, Question } from '../../../proxy/approval/approvals.ts';
import type { MaskedText, SessionMasking } from '../../../proxy/masking/masking.ts';
import { Conversation } from '../../../proxy/pipeline/conversation.ts';
import type { Engine } from '../../../proxy/pipeline/engine.ts';
import type { Operation, Outcome } from '../../../proxy/pipeline/operation.ts';
import type { Permit } from '../../../proxy/pipeline/permit.ts';
import { pass, run } from '../../../proxy/pipeline/run.ts';
import { Session } from '../../../proxy/pipeline/session.ts';
import type { Policy } from '../../../proxy/policy/policy.ts';

const ada: Person = { issuer: 'os', subject: 'ada', groups: [] };
const DONE: Outcome = { outcome: 'done', masked: 0, rows: 1 };

/** A pipeline whose policy, person and disk do what a test says, and which writes down what happened in which order. */
class Stage {
  readonly events: string[] = [];
  readonly entries: EntryBody[] = [];
  readonly questions: Question[] = [];
  version = 'v1';
  decisions: Decision[] = ['allow'];
  answer: (question: Question) => Promise<ApprovalOutcome> | ApprovalOutcome = () => assert.fail('nobody was to be asked');
  halted: string | undefined;
  readonly spent = new Set<string>();

  readonly engine: Engine = {
    policy: () => this.#policy(),
    approvals: {
      ask: async (question, signal) => {
        this.events.push('ask');
        this.questions.push(question);
        assert.equal(typeof signal.aborted, 'boolean');
        return this.answer(question);
      },
      spend: (approval) => !this.spent.has(approval) && Boolean(this.spent.add(approval)),
      ended: (_, outcome) => void this.events.push(`ended:${outcome}`),
    },
    recorder: {
      open: async () => ({
        append: (body) => this.append(body),
        appendOperation: (entry) => this.append(entry.body()),
        sync: async () => {
          if (this.halted !== undefined) throw new Problem('recorder-halted', this.halted);
          this.events.push('sync');
        },
        close: async () => {},
      }),
      halted: undefined,
      keepRaw: () => this.events.push('keepRaw'),
    },
    masking: () => ({ scrub: (text: string) => ({ text: text.replaceAll('SECRET', '‹redacted›') as MaskedText, findings: [] }) }) as unknown as SessionMasking,
    digest: () => 'd' as Digest,
    newId: (prefix) => `${prefix}-1`,
    clock: { now: () => 1000 },
    log: { info: () => {}, warn: () => {}, error: () => {} },
  };

  constructor() {
    Object.defineProperty(this.engine.recorder, 'halted', { get: () => this.halted });
  }

  open(): Promise<Session> {
    const actor = { person: ada, agent: { kind: 'script', name: 'test' } as const };
    return Session.open(this.engine, { actor, connection: 'orders', protocol: 'postgres', surface: 'terminal', conversation: new Conversation('con-1') });
  }

  async go(operation: Operation, forward: (permit: Permit) => Promise<Outcome> = this.forward(operation), signal = new AbortController().signal) {
    const session = await this.open();
    return run(this.engine, session, operation, signal, forward);
  }

  forward(operation: Operation, outcome: Outcome = DONE) {
    return async (permit: Permit) => {
      permit.use(operation.digest);
      this.events.push('forward');
      return outcome;
    };
  }

  append(body: EntryBody): void {
    if (this.halted !== undefined) throw new Problem('recorder-halted', this.halted);
    this.events.push(body.type);
    this.entries.push(body);
  }

  #policy(): Policy {
    const decide = (facts: Facts): Verdict => ({
      decision: (this.decisions.length > 1 ? this.decisions.shift() : this.decisions[0]) ?? 'deny',
      rule: { id: `rule-for-${facts.effect}`, layer: 'user' },
      because: 'the test says so',
      policyVersion: this.version,
      approvers: ['requester'],
      quorum: 1,
      expiresMs: 1000,
      preview: 'none',
    });
    return {
      version: this.version,
      connections: new Map(),
      decide,
      cacheable: () => false,
      deniedForGood: () => false,
      maskPlan: () => ({ columns: new Map(), detectors: new Map(), otherwise: 'redact' }),
    };
  }
}

function facts(effect: Effect): Facts {
  return {
    effect,
    verb: effect.toUpperCase(),
    targets: [{ kind: 'table', name: 'orders' }],
    bulk: false,
    sensitive: [],
    headline: `${effect} orders`,
    notes: [],
  };
}

function operation(...effects: [Effect, ...Effect[]]): Operation {
  const [first, ...rest] = effects;
  return {
    id: 'op-1' as OperationId,
    digest: 'd1' as Digest,
    parts: [facts(first), ...rest.map(facts)],
    payload: 'the statement',
    params: [],
    recorded: { payload: 'the statement' },
    language: 'sql',
  };
}

const approved = (question: Question, more: Partial<ApprovalOutcome> = {}): ApprovalOutcome =>
  ({
    answer: 'approved',
    approval: 'app-1',
    by: ada,
    scope: { what: 'exact', howLong: 'once' },
    why: 'person',
    digest: question.digest,
    policyVersion: question.verdict.policyVersion,
    waitedMs: 5,
    ...more,
  }) as ApprovalOutcome;

describe('the pipeline', () => {
  it('forwards what a rule allows, and records intent before and outcome after', async () => {
    const stage = new Stage();
    const result = await stage.go(operation('read'));
    assert.deepEqual(result, { forwarded: true, outcome: DONE });
    assert.deepEqual(stage.events, ['operation.intent', 'forward', 'operation.outcome']);
  });

  it('calls forward without giving way for a read that is allowed, so that the fast path stays fast', async () => {
    const stage = new Stage();
    const session = await stage.open();
    const op = operation('read');
    const running = run(stage.engine, session, op, new AbortController().signal, stage.forward(op));
    assert.ok(stage.events.includes('forward'));
    await running;
  });

  it('has the intent on disk before anything but a read is forwarded', async () => {
    const stage = new Stage();
    await stage.go(operation('write'));
    assert.ok(stage.events.indexOf('sync') < stage.events.indexOf('forward'));
  });

  it('never forwards what is denied, and names the rule', async () => {
    const stage = new Stage();
    stage.decisions = ['deny'];
    const result = await stage.go(operation('delete'));
    assert.ok(!result.forwarded);
    assert.equal(result.refusal.code, 'denied-by-rule');
    assert.match(result.refusal.sentence, /rule-for-delete/);
    assert.ok(!stage.events.includes('forward'));
    assert.equal(stage.entries.at(-1)?.type, 'operation.outcome');
  });

  it('lets the strictest part decide for the whole', async () => {
    const stage = new Stage();
    stage.decisions = ['allow', 'deny', 'allow'];
    const result = await stage.go(operation('read', 'write', 'read'));
    assert.equal(result.forwarded, false);
    assert.equal(mergeFacts(operation('read', 'write', 'read').parts).effect, 'write');
  });

  it('asks with the intent already on disk, and forwards on an approval', async () => {
    const stage = new Stage();
    stage.decisions = ['ask'];
    stage.answer = (question) => approved(question);
    const result = await stage.go(operation('write'));
    assert.equal(result.forwarded, true);
    assert.deepEqual(stage.events, ['operation.intent', 'sync', 'ask', 'operation.approval', 'sync', 'forward', 'operation.outcome', 'ended:ran · 1 row']);
  });

  it('gives the person’s note to the agent as it stands, and masks it in the record', async () => {
    const stage = new Stage();
    stage.decisions = ['ask'];
    stage.answer = () => ({ answer: 'denied', approval: 'app-1', by: ada, note: 'use the SECRET view', why: 'person', waitedMs: 1 });
    const result = await stage.go(operation('write'));
    assert.ok(!result.forwarded);
    assert.equal(result.refusal.note, 'use the SECRET view');
    assert.match(result.refusal.sentence, /use the SECRET view/);
    assert.doesNotMatch(JSON.stringify(stage.entries), /SECRET/);
  });

  for (const [why, code] of [
    ['deadline', 'no-answer'],
    ['nobody', 'nobody-to-ask'],
    ['limit', 'too-many-asks'],
    ['withdrawn', 'cancelled'],
    ['shutdown', 'session-closed'],
  ] as const) {
    it(`refuses when the answer is ${why}`, async () => {
      const stage = new Stage();
      stage.decisions = ['ask'];
      stage.answer = () => ({ answer: 'denied', approval: 'app-1', why, waitedMs: 1 });
      const result = await stage.go(operation('write'));
      assert.ok(!result.forwarded);
      assert.equal(result.refusal.code, code);
      assert.ok(!stage.events.includes('forward'));
    });
  }

  it('does not forward on an approval that was given for other bytes', async () => {
    const stage = new Stage();
    stage.decisions = ['ask'];
    stage.answer = (question) => approved(question, { digest: 'another' as Digest });
    const result = await stage.go(operation('write'));
    assert.equal(result.forwarded, false);
    assert.ok(!stage.events.includes('forward'));
  });

  it('does not forward on an approval that has been spent', async () => {
    const stage = new Stage();
    stage.decisions = ['ask'];
    stage.spent.add('app-1');
    stage.answer = (question) => approved(question);
    const result = await stage.go(operation('write'));
    assert.equal(result.forwarded, false);
    assert.ok(!stage.events.includes('forward'));
  });

  it('decides again when the policy changed while it waited, and follows the new policy', async () => {
    const stage = new Stage();
    stage.decisions = ['ask', 'deny'];
    stage.answer = (question) => {
      stage.version = 'v2';
      return approved(question);
    };
    const result = await stage.go(operation('write'));
    assert.ok(!result.forwarded);
    assert.equal(result.refusal.code, 'denied-by-rule');
  });

  it('asks again under the new policy where that asks too', async () => {
    const stage = new Stage();
    stage.decisions = ['ask'];
    stage.answer = (question) => {
      const first = stage.version === 'v1';
      stage.version = 'v2';
      return approved(question, { approval: first ? 'app-1' : 'app-2' });
    };
    const result = await stage.go(operation('write'));
    assert.equal(result.forwarded, true);
    assert.equal(stage.questions.length, 2);
    assert.equal(stage.questions[1]?.verdict.policyVersion, 'v2');
  });

  it('refuses anything but a read where the surface promised to change nothing, whatever policy says', async () => {
    const stage = new Stage();
    const result = await stage.go({ ...operation('read', 'write'), readOnly: true });
    assert.ok(!result.forwarded);
    assert.equal(result.refusal.code, 'not-read-only');
    assert.ok(!stage.events.includes('forward'));
  });

  it('forwards nothing when the record cannot be written', async () => {
    const stage = new Stage();
    const session = await stage.open();
    stage.halted = 'The disk is full.';
    const op = operation('read');
    const result = await run(stage.engine, session, op, new AbortController().signal, stage.forward(op));
    assert.ok(!result.forwarded);
    assert.equal(result.refusal.code, 'not-recorded');
    assert.match(result.refusal.sentence, /The disk is full/);
    assert.ok(!stage.events.includes('forward'));
  });

  it('does not forward what was cancelled while the intent went to disk', async () => {
    const stage = new Stage();
    const cancel = new AbortController();
    cancel.abort();
    const op = operation('write');
    const result = await stage.go(op, stage.forward(op), cancel.signal);
    assert.ok(!result.forwarded);
    assert.equal(result.refusal.code, 'cancelled');
  });

  it('refuses on a session that has ended', async () => {
    const stage = new Stage();
    const session = await stage.open();
    await session.close('the client left');
    const op = operation('read');
    const result = await run(stage.engine, session, op, new AbortController().signal, stage.forward(op));
    assert.ok(!result.forwarded);
    assert.equal(result.refusal.code, 'session-closed');
  });

  it('records a failure when forwarding throws', async () => {
    const stage = new Stage();
    await assert.rejects(
      stage.go(operation('write'), () => Promise.reject(new Error('boom'))),
      /boom/,
    );
    const last = stage.entries.at(-1);
    assert.equal(last?.type === 'operation.outcome' && last.outcome, 'failed');
  });

  it('keeps the answer before masking in memory only', async () => {
    const stage = new Stage();
    const raw = { kind: 'text', text: 'SECRET', truncated: false, findings: [] } as const;
    const op = operation('read');
    await stage.go(op, stage.forward(op, { ...DONE, raw: { ...raw, findings: [] } }));
    assert.ok(stage.events.includes('keepRaw'));
    assert.doesNotMatch(JSON.stringify(stage.entries), /SECRET/);
  });
});

describe('a permit', () => {
  it('cannot be used twice', async () => {
    const stage = new Stage();
    const op = operation('read');
    await assert.rejects(
      stage.go(op, async (permit) => {
        permit.use(op.digest);
        permit.use(op.digest);
        return DONE;
      }),
      /used twice/,
    );
  });

  it('cannot be used for other bytes', async () => {
    const stage = new Stage();
    await assert.rejects(
      stage.go(operation('read'), async (permit) => {
        permit.use('other' as Digest);
        return DONE;
      }),
      /other bytes/,
    );
  });
});

describe('the short way of a read', () => {
  const never = new AbortController().signal;
  const nothingDone = (stage: Stage, session: Session): void => {
    assert.deepEqual(stage.events, []);
    assert.equal(session.request.conversation.operations, 0);
  };

  it('is decided, remembered and recorded before it has a permit, which is for it alone and good for once', async () => {
    const stage = new Stage();
    const session = await stage.open();
    const op = operation('read');
    const passage = pass(stage.engine, session, op, never);
    assert.ok(passage);
    assert.deepEqual(stage.events, ['operation.intent']);
    assert.equal(session.request.conversation.operations, 1);
    assert.equal(passage.permit.basis, 'rule:rule-for-read');
    assert.throws(() => passage.permit.use({ ...op, digest: 'other' as Digest }), /other bytes/);
    passage.permit.use(op);
    assert.throws(() => passage.permit.use(op), /twice/);
    passage.end({ outcome: DONE, short: true }, undefined);
    const last = stage.entries.at(-1);
    assert.ok(last?.type === 'operation.outcome' && last.outcome === 'done' && last.operation === op.id);
  });

  it('is not there, and nothing is done, for what policy denies or asks about, changes anything, or is refused', async () => {
    for (const [decision, op] of [
      ['deny', operation('read')],
      ['ask', operation('read')],
      ['allow', operation('write')],
      ['allow', operation('read', 'delete')],
      ['allow', operation('unknown')],
      ['allow', { ...operation('read'), refused: 'It is quarantined.' }],
    ] as const) {
      const stage = new Stage();
      stage.decisions = [decision];
      const session = await stage.open();
      assert.equal(pass(stage.engine, session, op, never), undefined);
      nothingDone(stage, session);
    }
  });

  it('is not there once it was cancelled, its session has ended, or nothing can be recorded', async () => {
    const stage = new Stage();
    const session = await stage.open();
    assert.equal(pass(stage.engine, session, operation('read'), AbortSignal.abort()), undefined);
    stage.halted = 'The disk is full.';
    assert.equal(pass(stage.engine, session, operation('read'), never), undefined);
    stage.halted = undefined;
    await session.close('over');
    assert.equal(pass(stage.engine, session, operation('read'), never), undefined);
    nothingDone(stage, session);
  });
});

describe('a conversation', () => {
  it('remembers what was read, and whether it was sensitive', () => {
    const conversation = new Conversation('con-1');
    conversation.remember('orders', [{ ...facts('read'), sensitive: ['customers.email'] }]);
    conversation.remember('orders', [facts('read')]);
    assert.deepEqual(conversation.read, [{ target: 'orders/orders', sensitive: true }]);
    assert.equal(conversation.operations, 2);
  });

  it('counts everything as sensitive once it can remember no more', () => {
    const conversation = new Conversation('con-1');
    for (let i = 0; i < 1500; i++) conversation.remember('orders', [{ ...facts('read'), targets: [{ kind: 'table', name: `t${i}` }] }]);
    assert.ok(conversation.read.some((r) => r.target === '*' && r.sensitive));
    assert.ok(conversation.read.length <= 1001);
  });
});
