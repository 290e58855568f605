/** A client that gives up after a minute, and a person who takes longer. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Client } from '@modelcontextprotocol/client';
import type { PendingApproval } from '../../../../contract/approval.ts';
import { mcpRelay } from '../../../../proxy/protocols/mcp/mcp.ts';
import { isPatient } from '../../../../proxy/protocols/mcp/patience.ts';
import { Calls, type Held } from '../../../../proxy/protocols/mcp/waiting.ts';
import type { Served } from '../../../../proxy/protocols/protocol.ts';
import { until } from '../../../support/soon.ts';
import { OfferingServer, tool } from './offeringServer.ts';
import { Stage } from './stage.ts';

/** Long enough for a person of the test to be asked, and short for everybody else. */
const ANSWER_MS = 150;

let stage: Stage;
let server: OfferingServer;
let served: Served;

before(async () => {
  stage = await Stage.start();
  server = new OfferingServer({ tools: [tool('pay'), tool('look')] });
  served = await mcpRelay({ answerMs: ANSWER_MS, progressMs: 20 }).serve(server.connection('a'), stage.host);
  stage.decide = (facts) => (facts.mcp?.tool === 'pay' ? 'ask' : 'allow');
});
after(async () => {
  await served?.stop('the test is over');
  await stage?.stop();
  server?.remove();
});
afterEach(() => {
  for (const question of stage.approvals.pending()) deny(question);
});

const text = (result: Awaited<ReturnType<Client['callTool']>>): string => (result.content as { text: string }[]).map((c) => c.text).join('\n');
const pay = (client: Client, args: Record<string, unknown> = { to: 'ann', sum: 5 }, options: object = {}) =>
  client.callTool({ name: 'pay', arguments: args }, options);
const approve = ({ id, digest, actor }: PendingApproval) =>
  stage.approvals.answer({ answer: 'approve', id, digest, scope: { what: 'exact', howLong: 'once' } }, actor.person);
const deny = ({ id, digest, actor }: PendingApproval) => stage.approvals.answer({ answer: 'deny', id, digest }, actor.person);
const sent = (): number =>
  server
    .seen()
    .split('\n')
    .filter((line) => line.includes('"tools/call"') && line.includes('"pay"')).length;
const outcomes = () => stage.entries.flatMap((e) => (e.type === 'operation.outcome' ? [e] : []));

for (const modern of [false, true]) {
  // Each on its own: calls that wait belong to one client's run.
  const connect = (window: string) => stage.client('mcp/a', { modern, name: 'impatient', window: `${window}-${modern}` });

  describe(`a call that a person has not answered in time, ${modern ? 'stateless era' : 'era of sessions'}`, () => {
    it('is answered in words, with nothing sent, and runs once when it is made again after the approval', async () => {
      const client = await connect('one');
      const before = sent();
      const first = await pay(client);
      assert.equal(first.isError, true);
      assert.match(text(first), /^Pending approval #app_\w+: .* Retry the same call/);
      const [question] = stage.approvals.pending();
      assert.ok(question);
      approve(question);
      await stage.quiet();
      await new Promise((resolve) => setTimeout(resolve, 30));
      assert.equal(sent(), before, 'nothing is done for a client that is not there');
      // The keys in another order are the same arguments.
      assert.equal(text(await pay(client, { sum: 5, to: 'ann' })), '{"to":"ann","sum":5}', 'what was approved is what is sent');
      assert.equal(sent(), before + 1);
      // Used once: the next is asked about again.
      assert.match(text(await pay(client)), /Pending approval/);
      assert.equal(sent(), before + 1);
    });

    it('waits again on the same question when it is made again before the answer', async () => {
      const client = await connect('two');
      assert.match(text(await pay(client)), /Pending/);
      const [question] = stage.approvals.pending();
      assert.ok(question);
      assert.match(text(await pay(client)), new RegExp(`#${question.id}:`));
      const third = pay(client);
      assert.deepEqual(
        stage.approvals.pending().map(({ id }) => id),
        [question.id],
        'one question',
      );
      approve(question);
      assert.equal(text(await third), '{"to":"ann","sum":5}');
    });

    it('is another call with other arguments', async () => {
      const client = await connect('three');
      await pay(client);
      const [question] = stage.approvals.pending();
      assert.ok(question);
      approve(question);
      const before = sent();
      assert.match(text(await pay(client, { to: 'eve', sum: 5 })), /Pending/);
      assert.equal(sent(), before);
      assert.notEqual(stage.approvals.pending()[0]?.digest, question.digest);
    });

    it('is not another client’s to make', async () => {
      const [mine, others] = await Promise.all([connect('four'), connect('five')]);
      await pay(mine);
      const [question] = stage.approvals.pending();
      assert.ok(question);
      approve(question);
      const before = sent();
      assert.match(text(await pay(others)), /Pending/);
      assert.equal(sent(), before);
    });

    it('that was denied says so when it is made again', async () => {
      const client = await connect('six');
      await pay(client);
      const retry = pay(client);
      const [question] = stage.approvals.pending();
      assert.ok(question);
      deny(question);
      assert.match(text(await retry), /Denied by Ada/);
    });

    it('keeps its question when a client that came back goes again; before that, cancelling takes it back', async () => {
      const client = await connect('seven');
      const abort = new AbortController();
      const first = pay(client, { n: 1 }, { signal: abort.signal });
      await stage.question();
      abort.abort();
      await assert.rejects(first);
      await stage.quiet();
      await pay(client);
      // It goes once it is waited for; on a busy machine a try may be over before that is said.
      const goes = async (): Promise<string> => {
        const again = new AbortController();
        return await pay(client, { to: 'ann', sum: 5 }, { signal: again.signal, onprogress: () => again.abort() }).then(text, () => 'gone');
      };
      await until('a try that is given up', async () => (await goes()) === 'gone');
      // Behind this, the proxy knows.
      await client.callTool({ name: 'look', arguments: {} });
      const [question] = stage.approvals.pending();
      assert.ok(question, 'the question is still there');
      approve(question);
      assert.equal(text(await pay(client)), '{"to":"ann","sum":5}');
    });

    it('is approved under the policy that holds when it is made again, or not at all', async () => {
      const client = await connect('eight');
      await pay(client);
      const [question] = stage.approvals.pending();
      assert.ok(question);
      approve(question);
      stage.policyVersion = 'v2';
      try {
        const before = sent();
        assert.match(text(await pay(client)), /Pending/, 'asked again under the new one');
        assert.equal(sent(), before);
      } finally {
        stage.policyVersion = 'v1';
      }
    });

    it('tells its progress by the token of the try that waits', async () => {
      const client = await connect('nine');
      await pay(client);
      const [question] = stage.approvals.pending();
      assert.ok(question);
      // On a busy machine a try may be over before its progress has come: then it is the next one's.
      const paying = async (): Promise<string> => text(await pay(client, { to: 'ann', sum: 5 }, { onprogress: () => approve(question) }));
      const answer = await until('the answer', async () => [await paying()].find((said) => !said.startsWith('Pending')));
      assert.equal(answer, '{"to":"ann","sum":5}');
    });
  });
}

describe('a client that waits', () => {
  it('is not answered before a person is', async () => {
    const client = await stage.client('mcp/a', { name: 'claude-code' });
    const call = pay(client);
    const question = await stage.question();
    await new Promise((resolve) => setTimeout(resolve, 2 * ANSWER_MS));
    approve(question);
    assert.equal(text(await call), '{"to":"ann","sum":5}');
  });

  it('is known by its kind', () => {
    assert.deepEqual(
      (['vscode-chat', 'claude-code', 'cursor', 'codex', 'unknown', 'terminal'] as const).map((kind) => isPatient({ kind, name: 'x' })),
      [true, true, false, false, false, false],
    );
  });
});

describe('a session that ends', () => {
  it('takes its questions with it', async () => {
    const client = await stage.client('mcp/a', { name: 'impatient', window: 'last' });
    await pay(client);
    assert.equal(stage.approvals.pending().length, 1);
    const { transport } = client;
    await (transport as { terminateSession?: () => Promise<void> }).terminateSession?.();
    await stage.quiet();
    assert.equal(outcomes().at(-1)?.outcome, 'cancelled');
  });
});

describe('a call of a client that does not wait', () => {
  const calls = new Calls<string>({ answerMs: 20, now: () => Date.now(), pending: (sentence) => sentence });
  const attempt = () => ({ caller: { signal: new AbortController().signal, notify: () => {} }, method: 'tools/call', params: undefined });

  it('is not given back for being slow, and is at once when a person is asked late', async () => {
    let held: Held | undefined;
    const answer = calls.run('late', attempt(), false, (call) => {
      held = call;
      return new Promise(() => {});
    });
    const early = await Promise.race([answer, new Promise<string>((resolve) => setTimeout(resolve, 100, 'still waits'))]);
    assert.equal(early, 'still waits');
    held?.asked('app_1', Date.now() + 60_000);
    assert.match(await answer, /^Pending approval #app_1: /);
  });

  it('fails for its client where it fails, also when it was given back before', async () => {
    let fail: (cause: Error) => void = () => {};
    const start = (call: Held): Promise<string> => {
      call.asked('app_2', Date.now() + 60_000);
      return new Promise((_resolve, reject) => {
        fail = reject;
      });
    };
    assert.match(await calls.run('fails', attempt(), false, start), /^Pending approval #app_2: /);
    const again = calls.run('fails', attempt(), true, start);
    fail(new Error('no'));
    await assert.rejects(again, /^Error: no$/);
  });
});
