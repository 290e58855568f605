/** What holds for every protocol, whatever its bytes. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { protocols } from '../../proxy/protocols/index.ts';
import { until } from '../support/soon.ts';
import { CANARY_VALUE, type ConformanceClient, type Running } from './harness.ts';
import { harnesses } from './harnesses.ts';

it('every registered protocol has a harness, and only those', () => {
  assert.deepEqual(harnesses.map((h) => h.protocol).sort(), protocols.map((p) => p.name).sort());
});

let markers = 0;
const marker = (): string => `marker-${process.pid}-${++markers}-end`;

for (const harness of harnesses) {
  describe(`protocol ${harness.protocol}`, { timeout: 300_000 }, () => {
    let running: Running;
    let client: ConformanceClient;
    before(async () => {
      running = await harness.start('ask');
      client = await running.client();
    });
    after(() => running?.stop());

    it('forwards an allowed read', async () => {
      const mark = marker();
      await client.read(mark);
      assert.ok((await running.upstream()).includes(mark));
    });

    it('sends no byte of a denied operation upstream, and its client goes on', async () => {
      running.decideWrites('deny');
      const mark = marker();
      await assert.rejects(client.write(mark), (error: Error) => {
        assert.match(error.message, /[Dd]enied/);
        return true;
      });
      assert.ok(!(await running.upstream()).includes(mark));
      await client.read(marker());
      running.decideWrites('ask');
    });

    it('sends no byte of an asked operation upstream before a person has approved it', async () => {
      running.t.holdAsks(true);
      const mark = marker();
      const writing = client.write(mark);
      await until('the question', () => running.t.approvals.pending().length === 1);
      assert.ok(!(await running.upstream()).includes(mark), 'it went upstream without a permit');
      const intents = (await running.t.entries()).filter((e) => e.type === 'operation.intent' && e.payload.includes(mark));
      assert.equal(intents.length, 1, 'its intent is on disk before anybody is asked');
      const approved = running.t.onAsk('approve');
      running.t.holdAsks(false);
      await approved;
      await writing;
      assert.ok((await running.upstream()).includes(mark));
    });

    it('gives the note of who denied it, and its client goes on', async () => {
      const mark = marker();
      const denied = running.t.onAsk('deny', 'Ask me on Monday.');
      await assert.rejects(client.write(mark), /Ask me on Monday\./);
      await denied;
      assert.ok(!(await running.upstream()).includes(mark));
      await client.read(marker());
    });

    it('frees everything when the client cancels what it asked for', async () => {
      running.t.holdAsks(true);
      const mark = marker();
      const abort = new AbortController();
      const writing = client.write(mark, abort.signal);
      writing.catch(() => {});
      await until('the question', () => running.t.approvals.pending().length === 1);
      abort.abort();
      await assert.rejects(writing);
      await until('the end of the question', () => running.t.approvals.pending().length === 0);
      running.t.holdAsks(false);
      assert.ok(!(await running.upstream()).includes(mark));
      await client.read(marker());
    });

    it('frees everything when the client vanishes while a person is asked', async () => {
      running.t.holdAsks(true);
      const other = await running.client();
      const mark = marker();
      other.write(mark).catch(() => {});
      await until('the question', () => running.t.approvals.pending().length === 1);
      other.vanish();
      await until('the end of the question', () => running.t.approvals.pending().length === 0);
      running.t.holdAsks(false);
      assert.ok(!(await running.upstream()).includes(mark));
      await until('its outcome', async () =>
        (await running.t.entries()).some((e) => e.type === 'operation.outcome' && (e.outcome === 'cancelled' || e.outcome === 'denied')),
      );
    });

    it('checks what was prepared again when it is executed', async (test) => {
      if (!client.prepare) return test.skip('it prepares nothing');
      const mark = marker();
      const execute = await client.prepare(mark);
      running.decideWrites('deny');
      await assert.rejects(execute());
      running.decideWrites('allow');
      await execute();
      running.decideWrites('ask');
    });

    it('answers the same wherever the stream is cut, and never with a secret', async () => {
      const answers = await running.cutEverywhere();
      assert.ok(answers.length > 50);
      const first = answers[0]?.got ?? '';
      for (const { got, where } of answers) {
        assert.ok(!got.includes(CANARY_VALUE), where);
        assert.equal(got.replace(/·\d+›/g, '·n›'), first.replace(/·\d+›/g, '·n›'), where);
      }
    });

    it('lets no secret through to the client or to the disk', async () => {
      assert.ok(!(await client.readSecret()).includes(CANARY_VALUE));
      assert.ok(!(await running.t.written()).includes(CANARY_VALUE));
    });

    it('records an intent and an outcome of everything, and of everyone who left', async () => {
      const gone = await running.client();
      await gone.read(marker());
      await gone.close();
      await until('an outcome for every intent', async () => {
        const entries = await running.t.entries();
        const outcomes = new Set(entries.flatMap((e) => (e.type === 'operation.outcome' ? [e.operation] : [])));
        return entries.every((e) => e.type !== 'operation.intent' || outcomes.has(e.operation));
      });
    });
  });
}
