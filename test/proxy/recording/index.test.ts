import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it, type TestContext } from 'node:test';
import type { OperationPage } from '../../../contract/control.ts';
import type { ConversationId } from '../../../contract/ids.ts';
import { BackgroundIndex } from '../../../proxy/recording/backgroundIndex.ts';
import { OperationIndex } from '../../../proxy/recording/index.ts';
import { type LocalRecord, openRecord } from '../../../proxy/recording/record.ts';
import type { SessionHeader } from '../../../proxy/recording/recorder.ts';
import { soon } from '../../support/soon.ts';
import { folder, header, intent, outcome, sessionPaths, silent } from './records.ts';

/** A record under a clock that moves a minute an operation. */
class Story {
  readonly directory: string;
  record!: LocalRecord;
  #now = Date.UTC(2026, 10, 20, 12);
  #sessions = 0;

  constructor(directory: string) {
    this.directory = directory;
  }

  async open(): Promise<this> {
    this.record = await openRecord({ directory: this.directory, clock: { now: () => this.#now }, log: silent, closeGraceMs: 1 });
    return this;
  }

  /** One session with some operations; a minute between them. */
  async session(over: Partial<SessionHeader>, operations: readonly [string, Parameters<typeof intent>[1]?, Parameters<typeof outcome>[1]?][]): Promise<void> {
    const session = await this.record.open(header(`ses_${++this.#sessions}`, over));
    for (const [id, asked, came] of operations) {
      this.#now += 60_000;
      session.append(intent(id, asked));
      if (asked?.verdict?.decision === 'ask') {
        const by = { issuer: 'os', subject: 'ada', name: 'Ada', groups: [] };
        session.append({
          type: 'operation.approval',
          operation: id,
          approval: 'app_1',
          answer: came?.outcome === 'denied' ? 'denied' : 'approved',
          why: 'person',
          by,
          waitedMs: 40,
        });
      }
      session.append(outcome(id, came));
    }
    await session.close('done');
  }

  async ids(filter = ''): Promise<string[]> {
    return idsOf(await this.record.operations({ filter, limit: 100 }));
  }
}

function idsOf(page: OperationPage): string[] {
  return page.operations.map((o) => o.operation);
}

const ask = { ...intent('x').verdict, decision: 'ask' as const, rule: { id: 'production-writes', layer: 'workspace' as const } };
const deny = { ...intent('x').verdict, decision: 'deny' as const, rule: { id: 'no-mass-delete', layer: 'builtin' as const } };

async function told(t: TestContext): Promise<Story> {
  const story = await new Story(folder(t)).open();
  t.after(() => story.record.stop('end of test'));
  await story.session({}, [
    ['op_read'],
    [
      'op_write',
      {
        verdict: ask,
        payload: "UPDATE order_items SET note = '100%' WHERE id = 7",
        facts: { ...intent('x').facts, effect: 'write', headline: 'UPDATE order_items' },
      },
    ],
    ['op_refused', { verdict: ask }, { outcome: 'denied' }],
  ]);
  await story.session(
    { connection: 'billing', conversation: 'con_2' as ConversationId, actor: { ...header('x').actor, agent: { kind: 'cursor', name: 'Cursor' } } },
    [
      ['op_delete', { verdict: deny, payload: 'DELETE FROM invoices' }, { outcome: 'denied' }],
      ['op_failed', {}, { outcome: 'failed', error: { code: '42P01', message: 'no such table' } }],
    ],
  );
  return story;
}

describe('the index of operations', () => {
  it('lists newest first with what each came to', async (t) => {
    const story = await told(t);
    const { operations, more } = await story.record.operations({ filter: '', limit: 100 });
    assert.deepEqual([operations.map((o) => o.operation), more], [['op_failed', 'op_delete', 'op_refused', 'op_write', 'op_read'], false]);
    const { at, actor, ...write } = operations[3]!;
    assert.equal(at, Date.UTC(2026, 10, 20, 12, 2));
    assert.deepEqual(actor, header('x').actor);
    assert.deepEqual(write, {
      operation: 'op_write',
      session: 'ses_1',
      conversation: 'con_1',
      connection: 'orders',
      protocol: 'postgres',
      headline: 'UPDATE order_items',
      effect: 'write',
      decision: 'ask',
      rule: 'production-writes',
      approvedBy: 'Ada',
      outcome: 'done',
      rows: 1,
      masked: 1,
      tookMs: 1.5,
      waitedMs: 40,
    });
    assert.equal(operations[2]?.approvedBy, undefined, 'who denied has not approved');
  });

  it('finds by term and by text', async (t) => {
    const story = await told(t);
    const found: readonly [string, string[]][] = [
      ['verdict:denied', ['op_delete', 'op_refused']],
      ['verdict:deny verdict:approved', ['op_delete', 'op_refused', 'op_write']],
      ['verdict:allowed', ['op_failed', 'op_read']],
      ['verdict:nonsense', []],
      ['connection:bill', ['op_failed', 'op_delete']],
      ['connection:%', []],
      ['agent:claude', ['op_refused', 'op_write', 'op_read']],
      ['agent:"claude code" outcome:DONE', ['op_write', 'op_read']],
      ['effect:write', ['op_write']],
      ['rule:mass', ['op_delete']],
      ['conversation:con_2', ['op_failed', 'op_delete']],
      ['after:2m', ['op_failed', 'op_delete', 'op_refused']],
      ['after:3m before:1m', ['op_refused', 'op_write']],
      ['invoi', ['op_delete']],
      ['order_items', ['op_write']],
      ['items update', ['op_write']],
      ['"delete from"', ['op_delete']],
      ['"from delete"', []],
      ['100%', ['op_write']],
      ['cursor', ['op_failed', 'op_delete']],
      ['* OR ( " NEAR', ['op_read'].slice(1)],
    ];
    for (const [filter, ids] of found) assert.deepEqual(await story.ids(filter), ids, filter);
    for (const odd of ['"', '*', '^', 'NOT', 'a AND', '(((', "';DROP TABLE operations", '\0', 'x'.repeat(500)]) await story.ids(odd);
    assert.equal((await story.ids()).length, 5);
  });

  it('pages without a gap or a double, also where many share a millisecond', async (t) => {
    const story = await new Story(folder(t)).open();
    t.after(() => story.record.stop('end of test'));
    const session = await story.record.open(header('ses_x'));
    for (let i = 0; i < 50; i++) session.append(intent(`op_${i}`));
    for (let i = 0; i < 50; i++) session.append(outcome(`op_${i}`));
    await session.close('x');
    for (let i = 0; i < 10; i++) await story.session({}, [[`op_a${i}`], [`op_b${i}`]]);
    const seen: string[] = [];
    let before: number | undefined;
    for (let pages = 0; ; pages++) {
      assert.ok(pages < 20);
      const page = await story.record.operations({ filter: '', limit: 7, ...(before !== undefined && { before }) });
      seen.push(...idsOf(page));
      before = page.operations.at(-1)?.at;
      if (!page.more) break;
    }
    assert.equal(seen.length, 70);
    assert.equal(new Set(seen).size, 70);
  });

  it('shows what is recorded while the session is open, and raises its revision', async (t) => {
    const story = await new Story(folder(t)).open();
    t.after(() => story.record.stop('end of test'));
    const session = await story.record.open(header('ses_1'));
    session.append(intent('op_1'));
    await session.sync();
    const before = story.record.revision();
    const [open] = (await story.record.operations({ filter: '', limit: 1 })).operations;
    assert.deepEqual([open?.operation, open?.outcome], ['op_1', undefined]);
    session.append(outcome('op_1'));
    await session.sync();
    const [done] = (await story.record.operations({ filter: '', limit: 1 })).operations;
    assert.equal(done?.outcome, 'done');
    assert.ok(story.record.revision() > before || before > 0);
  });

  it('does not lose sight of an operation whose texts were made too long', async (t) => {
    const story = await new Story(folder(t)).open();
    t.after(() => story.record.stop('end of test'));
    await story.session({}, [['op_long', { facts: { ...intent('x').facts, headline: 'x'.repeat(400) } }]]);
    assert.deepEqual(await story.ids(), ['op_long']);
  });
});

describe('an index that is', () => {
  const ways: readonly [string, (directory: string) => void][] = [
    ['missing', () => undefined],
    ['no database', (directory) => writeFileSync(join(directory, 'index.sqlite'), 'not a database, '.repeat(1000))],
    ['cut off', (directory) => truncateSync(join(directory, 'index.sqlite'), 8192)],
    [
      'of another version',
      (directory) => {
        const database = new DatabaseSync(join(directory, 'index.sqlite'));
        database.exec('PRAGMA user_version = 99');
        database.close();
      },
    ],
    [
      'behind',
      (directory) => {
        const database = new DatabaseSync(join(directory, 'index.sqlite'));
        database.exec("DELETE FROM operations WHERE session = 'ses_2'; DELETE FROM sessions WHERE session = 'ses_2'");
        database.close();
      },
    ],
    [
      'ahead of a file that was cut since',
      (directory) => {
        const database = new DatabaseSync(join(directory, 'index.sqlite'));
        database.exec('UPDATE sessions SET bytes = bytes + 1000');
        database.close();
      },
    ],
  ];
  for (const [what, spoil] of ways) {
    it(`${what} is built from the files`, async (t) => {
      const story = await told(t);
      await story.record.operations({ filter: '', limit: 1 });
      await story.record.stop('restart');
      if (what === 'missing') for (const name of readdirSync(story.directory)) if (name.startsWith('index.')) rmSync(join(story.directory, name));
      spoil(story.directory);
      await story.open();
      assert.deepEqual(await story.ids(), ['op_failed', 'op_delete', 'op_refused', 'op_write', 'op_read']);
      assert.deepEqual(await story.ids('invoices'), ['op_delete']);
    });
  }

  it('impossible stops nothing from being recorded', async (t) => {
    const directory = folder(t);
    mkdirSync(join(directory, 'index.sqlite', 'in the way'), { recursive: true });
    const story = await new Story(directory).open();
    await story.session({}, [['op_1']]);
    assert.deepEqual(await story.ids(), []);
    assert.equal(story.record.halted, undefined);
    assert.equal((await story.record.verify(undefined)).ok, true);
    await story.record.stop('done');
  });

  it('spoiled while it is in use is built again', async (t) => {
    const story = await told(t);
    await story.ids();
    const database = new DatabaseSync(join(story.directory, 'index.sqlite'));
    database.exec('DROP TABLE operations');
    database.close();
    assert.deepEqual(await story.ids(), ['op_failed', 'op_delete', 'op_refused', 'op_write', 'op_read']);
  });

  it('in a thread that cannot read it answers with nothing, and lets go', async (t) => {
    const warned: string[] = [];
    const log = { info: () => undefined, error: () => undefined, warn: (event: string) => void warned.push(event) };
    const index = new BackgroundIndex({ directory: join(folder(t), 'nowhere'), log, onChange: () => undefined });
    index.start();
    index.note('ses_1', '2026-11-25/ses_1.jsonl');
    assert.deepEqual(await index.operations({ filter: '', limit: 10 }, Date.now()), { operations: [], more: false });
    assert.equal(await index.find('op_1'), undefined);
    await index.stop();
    assert.deepEqual(await index.operations({ filter: '', limit: 10 }, Date.now()), { operations: [], more: false });
    assert.ok(warned.includes('index.rebuilt'));
  });

  it('in memory reads a folder without touching it', async (t) => {
    const story = await told(t);
    await story.record.stop('done');
    const copy = join(folder(t), 'copy');
    cpSync(story.directory, copy, { recursive: true });
    for (const name of readdirSync(copy)) if (name.startsWith('index.')) rmSync(join(copy, name));
    const before = readdirSync(copy);
    const index = new OperationIndex({ directory: copy, log: silent, inMemory: true });
    index.start();
    assert.equal((await index.operations({ filter: '', limit: 10 }, Date.now())).operations.length, 5);
    index.stop();
    assert.deepEqual(readdirSync(copy), before);
  });
});

describe('the detail of an operation', () => {
  it('is read from the session’s file, with whether it holds', async (t) => {
    const story = await told(t);
    const detail = await story.record.operation('op_write');
    assert.ok(detail);
    assert.equal(detail.payload, "UPDATE order_items SET note = '100%' WHERE id = 7");
    assert.deepEqual(detail.params, ['1', null]);
    assert.deepEqual([detail.approval?.answer, detail.approval?.by?.name], ['approved', 'Ada']);
    assert.deepEqual([detail.verified?.ok, detail.verified?.entries], [true, 10]);
    assert.match(detail.verified?.head ?? '', /^[0-9a-f]{64}$/);
    assert.equal((await story.record.operation('op_failed'))?.error?.code, '42P01');
    assert.equal(await story.record.operation('op_none'), null);
  });

  it('says so where the file was changed', async (t) => {
    const story = await told(t);
    await story.ids();
    const path = sessionPaths(story.directory)[1] ?? '';
    writeFileSync(path, readFileSync(path, 'utf8').replace('DELETE FROM invoices', 'SELECT FROM invoices'));
    const detail = await story.record.operation('op_delete');
    assert.equal(detail?.verified?.ok, false);
    assert.match(detail?.verified?.problem ?? '', /ses_2: line 2 was changed/);
  });

  it('is had from its own lines alone, and says nothing of the record then', async (t) => {
    const story = await told(t);
    const whole = await story.record.operation('op_write');
    assert.ok(whole);
    const { verified: _verified, ...own } = whole;
    assert.deepEqual(await story.record.operation('op_write', true), own);
    assert.equal((await story.record.operation('op_failed', true))?.error?.code, '42P01');
    assert.equal(await story.record.operation('op_none', true), null);
    // Everything that comes before it was written over: it is shown, and what was checked is told apart from that.
    const path = sessionPaths(story.directory)[0] ?? '';
    const text = readFileSync(path, 'utf8');
    const before = text.lastIndexOf('\n', text.indexOf('"op_write"')) + 1;
    writeFileSync(path, `${text.slice(0, before).replaceAll(/[^\n]/g, 'x')}${text.slice(before)}`);
    assert.deepEqual(await story.record.operation('op_write', true), own);
    assert.equal((await story.record.operation('op_write'))?.verified?.ok, false);
    // Where its own lines are others than were found there, nothing is shown that was not read again.
    writeFileSync(path, `x${text}`);
    assert.equal((await story.record.operation('op_write', true))?.verified?.ok, false);
  });

  it('holds the answer before masking while it is in memory', async (t) => {
    const story = await told(t);
    const raw = { kind: 'text' as const, text: '078-05-1120', truncated: false, findings: [] };
    story.record.keepRaw('op_read', raw);
    assert.deepEqual((await story.record.operation('op_read'))?.raw, raw);
    assert.equal((await story.record.operation('op_write'))?.raw, undefined);
  });
});

describe('an entry that comes while the index reads', () => {
  it('is found as well, whenever it came', async (t) => {
    const directory = folder(t);
    const record = await openRecord({ directory, clock: { now: () => Date.now() }, log: silent, closeGraceMs: 1 });
    t.after(() => record.stop('done'));
    // The index gathers for a while before it reads; these outcomes come around that moment, each a little later.
    await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const session = await record.open(header(`ses_late_${i}`));
        session.append(intent(`op_late_${i}`));
        await new Promise((resolve) => setTimeout(resolve, 100 + i * 2));
        session.append(outcome(`op_late_${i}`));
      }),
    );
    await soon(async () => {
      const { operations } = await record.operations({ filter: '', limit: 100 });
      assert.equal(operations.length, 60);
      assert.deepEqual(
        operations.filter((o) => o.outcome === undefined).map((o) => o.operation),
        [],
      );
    });
  });
});
