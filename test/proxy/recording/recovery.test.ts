import assert from 'node:assert/strict';
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { EntryBody } from '../../../contract/recording.ts';
import { AuditView } from '../../../proxy/recording/audit.ts';
import { readChain } from '../../../proxy/recording/chainReader.ts';
import { Halting } from '../../../proxy/recording/halting.ts';
import { createRecorder } from '../../../proxy/recording/localRecorder.ts';
import { recoverSession } from '../../../proxy/recording/recovery.ts';
import { verifyRecord } from '../../../proxy/recording/verify.ts';
import { clock, entries, folder, header, intent, lines, outcome, sessionPaths, silent } from './records.ts';

/** A folder as a recorder leaves it that dies with a session open: two operations, the last without an outcome. */
async function died(t: TestContext): Promise<{ readonly directory: string; readonly session: string }> {
  const live = folder(t, 'memory');
  const recorder = await createRecorder({ directory: live, clock, log: silent, closeGraceMs: 1 });
  const recording = await recorder.open(header('ses_1'));
  for (const operation of ['op_1', 'op_2']) {
    recording.append(intent(operation));
    if (operation !== 'op_2') recording.append(outcome(operation));
  }
  await recording.sync();
  const directory = join(folder(t, 'memory'), 'record');
  cpSync(live, directory, { recursive: true });
  await recorder.stop('x');
  return { directory, session: sessionPaths(directory)[0] ?? '' };
}

async function restart(directory: string): Promise<void> {
  const recorder = await createRecorder({ directory, clock, log: silent });
  assert.equal(recorder.halted, undefined);
  await recorder.stop('x');
}

function outcomes(bodies: readonly EntryBody[]): string[] {
  return bodies.flatMap((b) => (b.type === 'operation.outcome' ? `${b.operation} ${b.outcome}` : []));
}

describe('recovery', () => {
  it('calls operations without an outcome lost, and closes the session', async (t) => {
    const { directory, session } = await died(t);
    await restart(directory);
    const bodies = entries(session).map((e) => e.body);
    assert.deepEqual(outcomes(bodies), ['op_1 done', 'op_2 lost']);
    assert.deepEqual(bodies.at(-1), { type: 'session.close', reason: 'recovered: the recorder went away before this session ended' });
    assert.deepEqual((await verifyRecord(directory)).problems, []);
    const before = readFileSync(session);
    await restart(directory);
    assert.deepEqual(readFileSync(session), before, 'a second recovery changes nothing');
  });

  it('loses no byte wherever the file was cut off, and what it makes of it holds', async (t) => {
    const { directory, session } = await died(t);
    const whole = readFileSync(session);
    const ends = [...whole.entries()].filter(([, byte]) => byte === 10).map(([at]) => at + 1);
    const audit = readFileSync(join(directory, 'audit.jsonl'));
    const checkpoint = readFileSync(join(directory, 'checkpoint.json'));
    const sessions = join(directory, 'sessions');
    const file = `${basename(dirname(session))}/${basename(session)}`;
    for (let cut = 0; cut <= whole.length; cut++) {
      writeFileSync(session, whole.subarray(0, cut));
      rmSync(`${session}.torn`, { force: true });
      // A whole start takes its time: now and then, and at every end of a line.
      const start = cut % 97 === 0 || ends.some((end) => Math.abs(end - cut) <= 1);
      if (start) {
        writeFileSync(join(directory, 'audit.jsonl'), audit);
        writeFileSync(join(directory, 'checkpoint.json'), checkpoint);
        await restart(directory);
        assert.deepEqual((await verifyRecord(directory)).problems, [], `cut at ${cut}`);
      } else await recoverSession(new Halting(directory, silent, assert.fail), sessions, 'ses_1', file, new AuditView(), new Date().toISOString());

      const kept = ends.filter((end) => end <= cut).at(-1) ?? 0;
      const sealed = readFileSync(session);
      assert.deepEqual(sealed.subarray(0, kept), whole.subarray(0, kept), `whole lines, cut at ${cut}`);
      const torn = existsSync(`${session}.torn`) ? readFileSync(`${session}.torn`) : Buffer.alloc(0);
      assert.deepEqual(torn, whole.subarray(kept, cut), `the rest, cut at ${cut}`);
      const bodies = entries(session).map((e) => e.body);
      if (kept > 0) assert.equal(bodies.at(-1)?.type, 'session.close');
      const intents = bodies.flatMap((b) => (b.type === 'operation.intent' ? b.operation : []));
      assert.deepEqual(
        outcomes(bodies)
          .map((o) => o.split(' ')[0])
          .sort(),
        intents,
      );
      assert.equal((await readChain(session, { session: 'ses_1' })).problem, undefined, `cut at ${cut}`);
    }
  });

  it('goes on with an audit that was cut off anywhere after its last checkpoint, and says whose opening is gone', async (t) => {
    const { directory, session } = await died(t);
    const fresh = join(folder(t, 'memory'), 'fresh');
    const path = join(directory, 'audit.jsonl');
    const [first = ''] = lines(path);
    const size = readFileSync(path).length;
    for (let cut = first.length + 1; cut <= size; cut += cut + 5 > size ? 1 : 5) {
      rmSync(fresh, { recursive: true, force: true });
      cpSync(directory, fresh, { recursive: true });
      truncateSync(join(fresh, 'audit.jsonl'), cut);
      await restart(fresh);
      const { problems } = await verifyRecord(fresh);
      if (cut === size) assert.deepEqual(problems, []);
      else assert.match(problems.join('\n'), /^Session ses_1: when it was recovered, the audit did not know it[^\n]*$/, `cut at ${cut}`);
      assert.equal(entries(session.replace(directory, fresh)).at(-1)?.body.type, 'session.close');
    }
  });

  it('sets a torn end aside again when it has one from before', async (t) => {
    const { directory, session } = await died(t);
    writeFileSync(`${session}.torn`, 'from before');
    writeFileSync(session, Buffer.concat([readFileSync(session), Buffer.alloc(100)]));
    await restart(directory);
    assert.equal(readFileSync(`${session}.torn`, 'utf8'), 'from before');
    assert.deepEqual(readFileSync(`${session}.torn.1`), Buffer.alloc(100));
    assert.deepEqual((await verifyRecord(directory)).problems, []);
  });

  it('does not launder a record that was changed while nobody wrote it', async (t) => {
    const { directory, session } = await died(t);
    writeFileSync(session, readFileSync(session, 'utf8').replace('"op_1"', '"op_9"'));
    await restart(directory);
    const { problems } = await verifyRecord(directory);
    assert.match(problems.join(), /ses_1: line 2 was changed/);
    const close = entries(session).at(-1)?.body;
    assert.ok(close?.type === 'session.close' && /does not hold: line 2 was changed/.test(close.reason));
  });

  it('closes a session in the audit whose file is closed already', async (t) => {
    const { directory, session } = await died(t);
    const audit = readFileSync(join(directory, 'audit.jsonl'));
    const checkpoint = readFileSync(join(directory, 'checkpoint.json'));
    await restart(directory);
    const closed = readFileSync(session);
    writeFileSync(join(directory, 'audit.jsonl'), audit);
    writeFileSync(join(directory, 'checkpoint.json'), checkpoint);
    await restart(directory);
    assert.deepEqual(readFileSync(session), closed);
    assert.deepEqual((await verifyRecord(directory)).problems, []);
  });

  it('passes over files that are no session', async (t) => {
    const { directory, session } = await died(t);
    mkdirSync(join(directory, 'sessions', 'notes'));
    copyFileSync(session, join(directory, 'sessions', 'notes', basename(session)));
    writeFileSync(join(dirname(session), 'readme.txt'), 'x');
    await restart(directory);
    assert.deepEqual((await verifyRecord(directory)).problems, []);
  });
});
