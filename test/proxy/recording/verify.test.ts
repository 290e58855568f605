import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { cpSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { canonical } from '../../../proxy/recording/canonical.ts';
import { createRecorder } from '../../../proxy/recording/localRecorder.ts';
import { verifyRecord } from '../../../proxy/recording/verify.ts';
import { until } from '../../support/soon.ts';
import { clock, folder, header, intent, lines, outcome, sessionPaths, silent } from './records.ts';

/** Two sealed sessions of two operations, and where they are. */
async function sealed(t: TestContext): Promise<{ readonly directory: string; readonly first: string; readonly second: string; readonly audit: string }> {
  const directory = folder(t);
  await record(directory, ['ses_1', 'ses_2']);
  const [first = '', second = ''] = sessionPaths(directory);
  return { directory, first, second, audit: join(directory, 'audit.jsonl') };
}

async function record(directory: string, sessions: readonly string[]): Promise<void> {
  const recorder = await createRecorder({ directory, clock, log: silent });
  for (const session of sessions) {
    const recording = await recorder.open(header(session));
    for (const n of [1, 2]) {
      recording.append(intent(`op_${session}_${n}`));
      recording.append(outcome(`op_${session}_${n}`));
    }
    await recording.close('done');
  }
  await recorder.stop('done');
}

const recordOne = (directory: string, session: string): Promise<void> => record(directory, [session]);

type Line = Record<string, unknown>;

/** Rewrites a chained file, hashes and numbers and all, as somebody would who knows the format. */
function rechain(path: string, change: (entries: Line[]) => Line[]): { head: string; entries: number } {
  let head = '0'.repeat(64);
  const changed = change(lines(path).map((line) => JSON.parse(line) as Line));
  const written = changed.map((entry, seq) => {
    const line = canonical({ ...entry, seq, prev: head });
    head = createHash('sha256').update(line).digest('hex');
    return `${line}\n`;
  });
  writeFileSync(path, written.join(''));
  return { head, entries: changed.length };
}

async function problems(directory: string): Promise<string> {
  const report = await verifyRecord(directory);
  assert.equal(report.ok, report.problems.length === 0);
  return report.problems.join('\n');
}

function edit(path: string, change: (text: string) => string): void {
  const before = readFileSync(path, 'utf8');
  const after = change(before);
  assert.notEqual(after, before);
  writeFileSync(path, after);
}

describe('verification', () => {
  it('finds nothing wrong with a record that nobody touched, over several starts', async (t) => {
    const { directory } = await sealed(t);
    await record(directory, ['ses_3']);
    const report = await verifyRecord(directory);
    assert.deepEqual([report.problems, report.sessions, report.entries], [[], 3, 18]);
    assert.match(report.key ?? '', /^[0-9a-f]{64}$/);
  });

  it('finds nothing wrong while a recorder is writing', async (t) => {
    const directory = folder(t);
    const recorder = await createRecorder({ directory, clock, log: silent, closeGraceMs: 1 });
    const state = { writing: true };
    // Bounded both ways: a slow machine neither writes nor reads for ever.
    const work = (async () => {
      for (let n = 0; n < 60; n++) {
        const session = await recorder.open(header(`ses_${n}`));
        for (let i = 0; i < 20; i++) session.append(intent(`op_${n}_${i}`));
        await session.sync();
        if (n % 3 > 0) await session.close('done');
      }
      state.writing = false;
    })();
    for (let i = 0; i < 30 && state.writing; i++) assert.equal(await problems(directory), '');
    await work;
    await recorder.stop('done');
    assert.equal(await problems(directory), '');
  });

  it('sees an edited line, whichever it is', async (t) => {
    const { directory, first } = await sealed(t);
    const good = readFileSync(first, 'utf8');
    for (let n = 0; n < 6; n++) {
      const changed = good.split('\n');
      changed[n] = (changed[n] ?? '').replace(/"at":"\d/, '"at":"3');
      writeFileSync(first, changed.join('\n'));
      assert.match(await problems(directory), n < 5 ? new RegExp(`ses_1: line ${n + 1} was changed`) : /ses_1: it was rewritten/);
    }
  });

  it('sees any one byte changed, anywhere', async (t) => {
    const { directory, first, audit } = await sealed(t);
    for (const path of [first, audit]) {
      const good = readFileSync(path);
      for (let at = 0; at < good.length; at += 7) {
        const bad = Buffer.from(good);
        bad[at] = (bad[at] ?? 0) ^ 1;
        writeFileSync(path, bad);
        assert.notEqual(await problems(directory), '', `${basename(path)}, byte ${at}`);
      }
      writeFileSync(path, good);
    }
    assert.equal(await problems(directory), '');
  });

  it('sees lines removed, moved, doubled and added', async (t) => {
    const { directory, first } = await sealed(t);
    const [a = '', b = '', c = '', d = '', e = '', f = ''] = lines(first);
    const bad: readonly [string[], RegExp][] = [
      [[a, b, d, e, f], /line 3 says it is entry 3, not 2/],
      [[b, c, d, e, f], /line 1 says it is entry 1, not 0/],
      [[a, c, b, d, e, f], /line 2 says it is entry 2, not 1/],
      [[a, b, b, c, d, e, f], /line 3 says it is entry 1, not 2/],
      [[a, b, c, d, e, f, f], /line 7 says it is entry 5, not 6/],
      [[a, b, c, d, e], /its end was removed: it has 5 entries, and closed with 6/],
      [[], /its end was removed: it has 0 entries/],
      [[a, b, c, d, e, f, 'x'], /line 7 is not an entry/],
      [[a, '', b, c, d, e, f], /line 2 is not an entry/],
    ];
    for (const [changed, problem] of bad) {
      writeFileSync(first, changed.map((line) => `${line}\n`).join(''));
      assert.match(await problems(directory), problem);
    }
    writeFileSync(first, `${[a, b, c, d, e, f].join('\n')}\nmore`);
    assert.match(await problems(directory), /something was added after it was closed/);
  });

  it('sees a session that was removed, put in place of another, renamed or slipped in', async (t) => {
    const { directory, first, second } = await sealed(t);
    const keep = join(folder(t), 'keep');
    cpSync(directory, keep, { recursive: true });
    const again = (): void => {
      rmSync(directory, { recursive: true });
      cpSync(keep, directory, { recursive: true });
    };
    rmSync(first);
    assert.match(await problems(directory), /ses_1: its file was removed/);
    again();
    writeFileSync(second, readFileSync(first));
    assert.match(await problems(directory), /ses_2: line 1 belongs to session ses_1/);
    again();
    renameSync(first, join(dirname(first), 'ses_9.jsonl'));
    assert.match(await problems(directory), /ses_1: its file was removed[\s\S]*ses_9: the audit does not know it/);
    again();
    const forged = join(dirname(first), 'ses_0.jsonl');
    writeFileSync(forged, readFileSync(first));
    rechain(forged, (entries) => entries.map((entry) => ({ ...entry, session: 'ses_0' })));
    assert.match(await problems(directory), /ses_0: the audit does not know it/);
  });

  it('sees a session that was rewritten with a good chain', async (t) => {
    const { directory, first } = await sealed(t);
    rechain(first, (entries) => [...entries.slice(0, 1), ...entries.slice(3)]);
    assert.match(await problems(directory), /ses_1: its end was removed/);
    rechain(first, (entries) => [...entries.slice(0, 3), ...entries.slice(1)]);
    assert.match(await problems(directory), /ses_1: it was rewritten/);
  });

  it('sees a session and the audit rewritten together, for want of the key', async (t) => {
    const { directory, first, audit } = await sealed(t);
    const now = rechain(first, (entries) => [...entries.slice(0, 1), ...entries.slice(3)]);
    rechain(audit, (entries) =>
      entries.map((entry) => {
        const body = entry.body as Line;
        return body.type === 'session.closed' && body.session === 'ses_1' ? { ...entry, body: { ...body, ...now } } : entry;
      }),
    );
    assert.equal(await problems(directory), 'The audit was rewritten: it does not contain what the last checkpoint was signed over.');
  });

  it('sees the audit’s end, the audit or the checkpoint removed', async (t) => {
    const { directory, audit, first, second } = await sealed(t);
    const good = readFileSync(audit);
    rmSync(second);
    writeFileSync(audit, `${lines(audit).slice(0, 3).join('\n')}\n`);
    assert.match(await problems(directory), /The end of the audit was removed: it has 3 entries, and a checkpoint was signed over 5/);
    rmSync(audit);
    assert.match(await problems(directory), /audit\.jsonl, is missing/);
    rmSync(first);
    assert.match(await problems(directory), /The audit was removed: there is a checkpoint/);
    writeFileSync(audit, good);
    rmSync(join(directory, 'checkpoint.json'));
    assert.match(await problems(directory), /The signed checkpoint is missing/);
  });

  it('sees a checkpoint that was changed or signed with another key', async (t) => {
    const { directory } = await sealed(t);
    const path = join(directory, 'checkpoint.json');
    const good = readFileSync(path, 'utf8');
    edit(path, (text) => text.replace('"entries":5', '"entries":4'));
    assert.match(await problems(directory), /checkpoint does not hold: its signature/);
    writeFileSync(path, '{}');
    assert.match(await problems(directory), /checkpoint does not hold: it is not a checkpoint/);
    writeFileSync(path, good);
    const { publicKey } = generateKeyPairSync('ed25519');
    writeFileSync(join(directory, 'signing-key.pub.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
    assert.match(await problems(directory), /checkpoint does not hold: it was signed with another key/);
    rmSync(join(directory, 'signing-key.pub.pem'));
    assert.match(await problems(directory), /public key, signing-key\.pub\.pem, is missing/);
  });

  it('goes on seeing what was done while no proxy ran, though the next one signs what it finds', async (t) => {
    const ways: readonly [RegExp, (at: Awaited<ReturnType<typeof sealed>>) => void][] = [
      [/started at .*: The audit was rewritten/, ({ audit }) => rechain(audit, (entries) => entries.map((e) => ({ ...e, at: '2020-01-01T00:00:00.000Z' })))],
      [/started at .*: The end of the audit was removed/, ({ audit }) => writeFileSync(audit, `${lines(audit).slice(0, 3).join('\n')}\n`)],
      [/started at .*: The audit was removed.*there were 2 sessions/, ({ audit }) => rmSync(audit)],
      [/started at .*: The signed checkpoint is missing/, ({ directory }) => rmSync(join(directory, 'checkpoint.json'))],
      [/started at .*: The signed checkpoint does not hold: it was signed with another key/, ({ directory }) => rmSync(join(directory, 'signing-key.pem'))],
      [/ses_1: its file was removed/, ({ first }) => rmSync(first)],
      [
        /ses_0: when it was recovered, the audit did not know it/,
        ({ first }) => {
          const forged = join(dirname(first), 'ses_0.jsonl');
          writeFileSync(forged, readFileSync(first));
          rechain(forged, (entries) => entries.map((entry) => ({ ...entry, session: 'ses_0' })));
        },
      ],
      [
        /there were 2 sessions/,
        ({ audit, directory }) => {
          rmSync(audit);
          rmSync(join(directory, 'checkpoint.json'));
        },
      ],
    ];
    for (const [problem, attack] of ways) {
      const record = await sealed(t);
      attack(record);
      for (const session of ['ses_3', 'ses_4']) await recordOne(record.directory, session);
      assert.match(await problems(record.directory), problem);
    }
  });

  it('sees everything rolled back to an earlier good state, by a place noted down elsewhere', async (t) => {
    const { directory } = await sealed(t);
    const backup = join(folder(t), 'backup');
    cpSync(directory, backup, { recursive: true });
    await record(directory, ['ses_3']);
    const { audit: since } = await verifyRecord(directory);
    assert.deepEqual((await verifyRecord(directory, { since })).problems, []);
    assert.deepEqual((await verifyRecord(backup)).problems, [], 'by itself it is whole');
    assert.match((await verifyRecord(backup, { since })).problems.join(), /rolled back: the audit has 5 entries, and had 8/);
    await record(backup, ['ses_4']);
    assert.match((await verifyRecord(backup, { since })).problems.join(), /The record was rewritten/);
  });

  it('sees an open session cut behind a mark that the audit has of it', async (t) => {
    const directory = folder(t);
    const live = await createRecorder({ directory, clock, log: silent, markMs: 5, closeGraceMs: 1 });
    const session = await live.open(header('ses_1'));
    session.append(intent('op_1'));
    session.append(outcome('op_1'));
    // An earlier mark, of the opening alone, may have come while the session was being opened.
    const marked = /"entries":3[^\n]*"session\.mark"/;
    await until('the mark', () => marked.test(readFileSync(join(directory, 'audit.jsonl'), 'utf8')));
    const copy = join(folder(t), 'copy');
    cpSync(directory, copy, { recursive: true });
    await session.close('x');
    await live.stop('x');
    assert.equal(await problems(copy), '');
    const path = sessionPaths(copy)[0] ?? '';
    const good = readFileSync(path, 'utf8');
    edit(path, () => `${good.split('\n').slice(0, 2).join('\n')}\n`);
    assert.match(await problems(copy), /ses_1: its end was removed: it has 2 entries, and had 3/);
    const recorder = await createRecorder({ directory: copy, clock, log: silent });
    await recorder.stop('x');
    assert.match(await problems(copy), /ses_1: /, 'and still does after a recovery');
  });

  it('checks one session alone, and says when there is none', async (t) => {
    const { directory, first } = await sealed(t);
    edit(first, (text) => text.replace('op_ses_1_1', 'op_ses_1_9'));
    assert.equal((await verifyRecord(directory, { session: 'ses_2' })).ok, true);
    assert.equal((await verifyRecord(directory, { session: 'ses_1' })).ok, false);
    assert.match((await verifyRecord(directory, { session: 'ses_7' })).problems.join(), /there is no record of it/);
  });

  it('has nothing to say of a folder without a record', async (t) => {
    const report = await verifyRecord(join(folder(t), 'none'));
    assert.deepEqual([report.ok, report.sessions], [true, 0]);
  });
});
