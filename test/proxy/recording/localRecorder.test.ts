import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { appendFileSync, chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Problem } from '../../../contract/problem.ts';
import type { Answer } from '../../../contract/response.ts';
import { canonical } from '../../../proxy/recording/canonical.ts';
import { createRecorder } from '../../../proxy/recording/localRecorder.ts';
import { openRecord } from '../../../proxy/recording/record.ts';
import { verifyRecord } from '../../../proxy/recording/verify.ts';
import { clock, entries, folder, header, intent, lines, outcome, sessionPaths, silent } from './records.ts';

const halted = (e: unknown): boolean => e instanceof Problem && e.code === 'recorder-halted';

describe('a recorder', () => {
  it('writes one file a session, each line canonical and chained to the one before', async (t) => {
    const directory = folder(t);
    const recorder = await createRecorder({ directory, clock: { now: () => Date.UTC(2026, 10, 20, 23, 59, 59, 7) }, log: silent });
    const session = await recorder.open(header('ses_1'));
    for (const operation of ['op_1', 'op_2']) {
      session.append(intent(operation, { payload: 'SELECT “ü” 😀' }));
      session.append(outcome(operation));
    }
    await session.close('the client left');
    await recorder.stop('done');

    const [path = '', ...others] = sessionPaths(directory);
    assert.deepEqual(others, []);
    assert.ok(path.endsWith(join('2026-11-20', 'ses_1.jsonl')));
    const read = entries(path);
    assert.deepEqual(
      read.map((e) => e.body.type),
      ['session.open', 'operation.intent', 'operation.outcome', 'operation.intent', 'operation.outcome', 'session.close'],
    );
    let prev = '0'.repeat(64);
    for (const [i, line] of lines(path).entries()) {
      assert.equal(line, canonical(JSON.parse(line)));
      assert.deepEqual([read[i]?.seq, read[i]?.prev, read[i]?.at, read[i]?.session], [i, prev, '2026-11-20T23:59:59.007Z', 'ses_1']);
      prev = createHash('sha256').update(line).digest('hex');
    }
    assert.deepEqual(await verifyRecord(directory).then(({ ok, sessions, entries: n, problems }) => ({ ok, sessions, n, problems })), {
      ok: true,
      sessions: 1,
      n: 6,
      problems: [],
    });
  });

  it('lets only its owner read', { skip: process.platform === 'win32' && 'Windows has no such modes' }, async (t) => {
    const directory = folder(t);
    chmodSync(directory, 0o755);
    const record = await openRecord({ directory, clock, log: silent });
    const session = await record.open(header('ses_1'));
    session.append(intent('op_1'));
    session.append(outcome('op_1'));
    await session.close('x');
    await record.operations({ filter: '', limit: 1 });
    const look = (path: string): void => {
      const found = statSync(path);
      assert.equal(found.mode & 0o777, found.isDirectory() ? 0o700 : 0o600, path);
      if (found.isDirectory()) for (const name of readdirSync(path)) look(join(path, name));
    };
    look(directory);
    await record.stop('done');
    look(directory);
  });

  it('has the opening on disk before the session exists, and refuses a second session of the same name', async (t) => {
    const directory = folder(t);
    const recorder = await createRecorder({ directory, clock, log: silent });
    const session = await recorder.open(header('ses_1'));
    assert.equal(entries(sessionPaths(directory)[0]!)[0]?.body.type, 'session.open');
    await assert.rejects(recorder.open(header('ses_1')), (e: unknown) => e instanceof Problem && e.code === 'session-exists');
    assert.equal(recorder.halted, undefined);
    await session.close('x');
    await recorder.stop('done');
  });

  it('takes no id that could leave its folder', async (t) => {
    const recorder = await createRecorder({ directory: folder(t), clock, log: silent });
    for (const id of ['../evil', 'a/b', 'a\\b', '', '.', 'a\0b', 'x'.repeat(129), 'ses:1']) {
      await assert.rejects(recorder.open(header(id)), (e: unknown) => e instanceof Problem && e.code === 'bad-session-id');
    }
    await recorder.stop('done');
  });

  it('keeps order and loses nothing over many entries, sessions and syncs at once', async (t) => {
    const directory = folder(t);
    const recorder = await createRecorder({ directory, clock, log: silent });
    const sessions = await Promise.all(Array.from({ length: 20 }, (_, i) => recorder.open(header(`ses_${i}`))));
    const syncs: Promise<void>[] = [];
    for (let n = 0; n < 200; n++) {
      for (const [i, session] of sessions.entries()) {
        session.append(intent(`op_${i}_${n}`));
        session.append(outcome(`op_${i}_${n}`, { error: { code: 'x', message: 'y'.repeat(n * 10) } }));
        if (n % 37 === i) syncs.push(session.sync());
      }
    }
    await Promise.all(syncs);
    await recorder.stop('done');
    const report = await verifyRecord(directory);
    assert.deepEqual([report.ok, report.sessions, report.entries], [true, 20, 20 * 402]);
  });

  it('lets a sync through a steady stream of appends', async (t) => {
    const recorder = await createRecorder({ directory: folder(t), clock, log: silent, closeGraceMs: 1 });
    const session = await recorder.open(header('ses_1'));
    const state = { streaming: true };
    let n = 0;
    const stream = (async () => {
      while (state.streaming) {
        for (let i = 0; i < 20; i++) session.append(intent(`op_${n++}`));
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
      }
    })();
    for (let i = 0; i < 20; i++) await session.sync();
    state.streaming = false;
    await stream;
    await recorder.stop('done');
  });

  it('waits with closing for outcomes that are on their way, and calls what never comes lost', async (t) => {
    const directory = folder(t);
    const recorder = await createRecorder({ directory, clock, log: silent, closeGraceMs: 20 });
    const soon = await recorder.open(header('ses_1'));
    soon.append(intent('op_1'));
    const closing = soon.close('cut');
    assert.throws(() => soon.append(intent('op_2')), /ended/);
    soon.append(outcome('op_1', { outcome: 'cancelled' }));
    await closing;
    const never = await recorder.open(header('ses_2'));
    never.append(intent('op_3'));
    await never.close('cut');
    never.append(outcome('op_3'));
    await recorder.stop('done');
    const ends = sessionPaths(directory).map((path) => entries(path).map(({ body }) => ('outcome' in body ? `${body.type} ${body.outcome}` : body.type)));
    assert.deepEqual(ends, [
      ['session.open', 'operation.intent', 'operation.outcome cancelled', 'session.close'],
      ['session.open', 'operation.intent', 'operation.outcome lost', 'session.close'],
    ]);
    assert.equal((await verifyRecord(directory)).ok, true);
  });

  it('records what an agent sends even where it is not well-formed text', async (t) => {
    const directory = folder(t);
    const recorder = await createRecorder({ directory, clock, log: silent });
    const session = await recorder.open(header('ses_1'));
    const mcp = { method: 'tools/call', tool: 'x', args: { '\ud800': ['\udfff', 1e308 * 10] }, hints: {} };
    session.append(intent('op_1', { payload: 'a\ud800b', facts: { ...intent('x').facts, mcp } }));
    session.append(outcome('op_1'));
    await session.close('x');
    await recorder.stop('done');
    const body = entries(sessionPaths(directory)[0]!)[1]?.body;
    assert.ok(body?.type === 'operation.intent');
    assert.equal(body.payload, 'a\ufffdb');
    assert.deepEqual(body.facts.mcp?.args, { '\ufffd': ['\ufffd', null] });
  });

  it('refuses an operation too large to record, and records an outcome without an answer that is', async (t) => {
    const directory = folder(t);
    const recorder = await createRecorder({ directory, clock, log: silent });
    const session = await recorder.open(header('ses_1'));
    const large = 'x'.repeat(17 * 1024 * 1024);
    assert.throws(() => session.append(intent('op_1', { payload: large })), /too large/);
    session.append(intent('op_2'));
    session.append(outcome('op_2', { answer: { kind: 'text', text: large, truncated: false, findings: [] } }));
    await session.close('x');
    await recorder.stop('done');
    assert.deepEqual(
      entries(sessionPaths(directory)[0]!).map((e) => e.body.type),
      ['session.open', 'operation.intent', 'operation.outcome', 'session.close'],
    );
  });

  it('keeps an answer before masking in memory only', async (t) => {
    const directory = folder(t);
    let now = 0;
    const recorder = await createRecorder({ directory, clock: { now: () => now }, log: silent });
    const session = await recorder.open(header('ses_1'));
    const raw: Answer = { kind: 'rows', columns: ['ssn'], rows: [['078-05-1120']], truncated: false, findings: [] };
    session.append(intent('op_1'));
    session.append(outcome('op_1'));
    recorder.keepRaw('op_1', raw);
    assert.deepEqual(recorder.raw('op_1'), raw);
    now = 10 * 60_000;
    assert.equal(recorder.raw('op_1'), undefined, 'after ten minutes');
    recorder.keepRaw('op_1', raw);
    await session.close('x');
    await recorder.stop('done');
    assert.equal(recorder.raw('op_1'), undefined, 'after the end');
    for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
      const path = join(directory, name);
      if (statSync(path).isFile()) assert.equal(readFileSync(path).includes('078-05-1120'), false, name);
    }
  });

  it('is one to a folder: a second comes up halted and leaves the first alone', async (t) => {
    const directory = folder(t);
    const first = await createRecorder({ directory, clock, log: silent });
    const session = await first.open(header('ses_1'));
    const told: string[] = [];
    const second = await createRecorder({ directory, clock, log: silent, onHalt: (sentence) => told.push(sentence) });
    assert.match(second.halted ?? '', /Another Countersign proxy/);
    assert.equal(told.length, 1);
    await assert.rejects(second.open(header('ses_2')), halted);
    await second.stop('x');
    await session.close('x');
    await first.stop('done');
    const third = await createRecorder({ directory, clock, log: silent });
    assert.equal(third.halted, undefined);
    await third.stop('done');
    assert.equal((await verifyRecord(directory)).ok, true);
  });

  it('closes what is open when it stops, and opens nothing after', async (t) => {
    const directory = folder(t);
    const recorder = await createRecorder({ directory, clock, log: silent });
    await recorder.open(header('ses_1'));
    await recorder.stop('the editor closed');
    const last = entries(sessionPaths(directory)[0]!).at(-1)?.body;
    assert.deepEqual(last, { type: 'session.close', reason: 'the editor closed' });
    await assert.rejects(recorder.open(header('ses_2')));
  });
});

describe('a recorder whose files are tampered with while it writes', () => {
  const attacks: readonly [string, (path: string, directory: string) => void][] = [
    ['the file was deleted', (path) => rmSync(path)],
    ['the whole folder was deleted', (_, directory) => rmSync(directory, { recursive: true })],
    ['the file was cut', (path) => truncateSync(path, 10)],
    ['something was added', (path) => appendFileSync(path, '{}\n')],
  ];
  for (const [what, attack] of attacks) {
    it(`halts for good and says so: ${what}`, { skip: process.platform === 'win32' && 'Windows refuses to touch a file in use' }, async (t) => {
      const directory = folder(t);
      const told: string[] = [];
      const recorder = await createRecorder({ directory, clock, log: silent, onHalt: (sentence) => told.push(sentence) });
      const session = await recorder.open(header('ses_1'));
      attack(sessionPaths(directory)[0]!, directory);
      session.append(intent('op_1'));
      await assert.rejects(session.sync(), halted);
      assert.ok(recorder.halted?.includes(directory));
      assert.deepEqual(told, [recorder.halted]);
      assert.throws(() => session.append(intent('op_2')), halted);
      await assert.rejects(session.sync(), halted);
      await assert.rejects(recorder.open(header('ses_2')), halted);
      await session.close('cut');
      await recorder.stop('x');
    });
  }

  it('comes up halted where its folder cannot be made', async (t) => {
    const directory = folder(t);
    writeFileSync(join(directory, 'file'), '');
    const recorder = await createRecorder({ directory: join(directory, 'file', 'record'), clock, log: silent });
    assert.ok(recorder.halted);
    await assert.rejects(recorder.open(header('ses_1')), halted);
    await recorder.stop('x');
  });

  it('comes up halted where its key is none, and does not replace it', async (t) => {
    const directory = folder(t);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'signing-key.pem'), 'no key');
    const recorder = await createRecorder({ directory, clock, log: silent });
    assert.ok(recorder.halted);
    assert.equal(readFileSync(join(directory, 'signing-key.pem'), 'utf8'), 'no key');
    await recorder.stop('x');
  });
});
