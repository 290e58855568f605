/**
 * `npm start -- --check`: the whole story by a scripted agent and a scripted person, in the same editor, against the same
 * database, from nothing to nothing. Prints a line a step; the result is 0 only if all held.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { teamStory } from './checkTeam.ts';
import { Demo } from './demo.ts';
import { eventually } from './eventually.ts';
import { lastWords } from './lastWords.ts';
import { ScriptedPerson } from './person.ts';
import { customers } from './shop.ts';
import { PROMPTS, STALE } from './story.ts';
import { type Browser, openBrowser, openWorkbench } from './workbench.ts';

const NOTE = 'Not before the audit on Friday';

export type Step = (what: string, body: () => Promise<string | undefined>) => Promise<void>;

export interface CheckOptions {
  readonly vsix: string;
  readonly say: (line: string) => void;
}

export async function runCheck({ vsix, say }: CheckOptions): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-check-'));
  const demo = new Demo({ folder, vsix, say: () => {}, team: true });
  let browser: Browser | undefined;
  let failed = false;
  const step: Step = async (what, body) => {
    if (failed) return;
    const startedAt = Date.now();
    try {
      const detail = await body();
      say(`✓ ${what}${detail === undefined ? '' : ` — ${detail}`} (${((Date.now() - startedAt) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed = true;
      say(`✗ ${what}\n  ${error instanceof Error ? error.message : String(error)}`);
      const pages = browser?.context.pages() ?? [];
      say(await lastWords(Object.fromEntries(pages.map((page, i) => [`person ${i + 1}`, page])), folder));
      for (const [i, page] of pages.entries()) {
        const picture = join(tmpdir(), `countersign-check-failed-${i + 1}.png`);
        await page.screenshot({ path: picture }).catch(() => undefined);
        say(`  A window at that moment: ${picture}`);
      }
    }
  };

  try {
    await step('a real PostgreSQL and a real editor are up', async () => {
      await demo.start();
      browser = await openBrowser();
      await openWorkbench(browser.page, demo.workbench.url());
      return undefined;
    });
    if (browser) await story(demo, browser, step);
  } finally {
    await browser?.close();
    await step('nothing is left running, and no port taken', async () => {
      await demo.stop();
      assert.equal(demo.proxyPid(), undefined, 'a proxy still runs');
      for (const port of demo.ports) await assertFree(port);
      return undefined;
    });
    await step('no sensitive value is in any file that was written', async () => `${searchForLeaks(folder)} files read`);
    if (failed) await demo.stop().catch(() => undefined);
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
  return failed ? 1 : 0;
}

async function story(demo: Demo, browser: Browser, step: Step): Promise<void> {
  const person = new ScriptedPerson(browser.page);
  const [first] = customers();
  assert.ok(first);

  await step('Countersign is on', async () => {
    await person.waitUntilOn();
    await person.waitForModel();
    return undefined;
  });

  await step('the agent reads customers, and gets them masked', async () => {
    await person.ask(PROMPTS.look);
    await person.waitForChat(/This is what I was given/);
    const shown = demo.model.toolResults.join('\n') + (await person.chatText());
    for (const secret of [first.email, first.ssn, first.card]) assert.ok(!shown.includes(secret), `the agent was shown ${secret}`);
    assert.match(shown, /‹redacted›/, shown);
    assert.match(shown, /‹card·1·[a-z]{5}›/, shown);
    return undefined;
  });

  await step('psql in a terminal goes through the proxy without a setting', async () => {
    if (!hasPsql()) return 'skipped: no psql on this machine';
    const out = join(demo.workspace, 'psql.txt');
    await person.typeInTerminal(`psql -XAt -c "select email, ssn from customers where id = 1" > psql.txt 2>&1; echo done >> psql.txt`);
    const text = await eventually(
      () => (existsSync(out) && readFileSync(out, 'utf8').includes('done') ? readFileSync(out, 'utf8') : undefined),
      () => 'psql’s answer',
    );
    assert.ok(text.includes('‹redacted›'), text);
    assert.ok(!text.includes(first.ssn) && !text.includes(first.email), text);
    return undefined;
  });

  await step('a risky write waits for a person, shown at once and without stealing focus', async () => {
    const before = await staleOrders(demo);
    await person.ask(PROMPTS.refund);
    const { countedMs, shownMs } = await person.waitForAsk();
    assert.ok(await person.focusIsInChat(), 'the ask took the focus from the chat');
    await browser.page.locator('.statusbar-item', { hasText: '1 ask' }).waitFor();
    const ours = browser.page.locator('.activitybar .action-item', { has: browser.page.locator('[aria-label^="Countersign"]') });
    await ours.locator('.badge-content', { hasText: '1' }).waitFor();
    assert.equal(await browser.page.locator('.notification-toast', { hasText: 'Waiting for you' }).count(), 0, 'a notification repeats what is on the screen');
    const card = await eventually(
      async () => {
        const text = await person.currentCard();
        return text.includes('dry run, rolled back') ? text : undefined;
      },
      () => 'the dry run’s rows on the card',
    );
    assert.ok(card.includes(`${before} rows`), `the card does not say that ${before} rows would change:\n${card}`);
    assert.match(card, /status\s*\w+\s*→[\s\S]*refunded/, `the card does not show rows before and after:\n${card}`);
    for (const part of ['UPDATE', 'orders', 'shop-writes', "status = 'refunded'"]) assert.ok(card.includes(part), `the card does not say ${part}:\n${card}`);
    assert.equal(await staleOrders(demo), before, 'the statement ran before anyone answered');
    return `counted ${countedMs} ms after the tool was allowed, on the screen ${shownMs} ms later; ${before} orders wait`;
  });

  await step('denied with a note: the agent gets the note, nothing has run', async () => {
    const before = await staleOrders(demo);
    await person.deny(NOTE);
    await shownToAgent(demo, NOTE);
    assert.equal(await staleOrders(demo), before);
    return undefined;
  });

  await step('approved: it runs, and the agent gets its result', async () => {
    const before = await staleOrders(demo);
    await person.ask(PROMPTS.refund);
    const { shownMs } = await person.waitForAsk();
    await person.approve();
    await shownToAgent(demo, `"rowCount":${before}`);
    assert.equal(await staleOrders(demo), 0);
    return `this time the view was open: on the screen ${shownMs} ms after it was counted`;
  });

  await step('a bulk delete is denied outright, by a rule that names itself', async () => {
    await person.ask(PROMPTS.wipe);
    await person.allowToolUntil(() => demo.model.toolResults.at(-1)?.includes('no-mass-delete') === true);
    await shownToAgent(demo, 'no-mass-delete');
    assert.equal(await count(demo, 'select count(*) from orders'), 9000);
    return undefined;
  });

  await step('Sessions shows who did what, and opens what the agent saw', async () => {
    const parts = ['SELECT customers', '8 rows', 'UPDATE orders', 'approved by', 'DELETE orders', 'no-mass-delete'];
    const rows = await person.openSessions(...parts);
    for (const part of parts) assert.ok(rows.includes(part), `Sessions does not show ${part}:\n${rows}`);
    const page = await person.openOperation('SELECT customers');
    assert.ok(page.includes('What the agent saw'), page);
    assert.ok(page.includes('‹redacted›'), page);
    return undefined;
  });

  await teamStory(demo, browser, person, step);

  await step('nothing left this machine', async () => {
    assert.deepEqual([...browser.external], []);
    return undefined;
  });
}

const staleOrders = (demo: Demo) => count(demo, `select count(*) from orders where ${STALE}`);

/** Waits until the newest tool result that the model was given says something. */
async function shownToAgent(demo: Demo, text: string): Promise<void> {
  await eventually(
    () => (demo.model.toolResults.at(-1)?.includes(text) ? true : undefined),
    () => `“${text}” in what the agent was told (${demo.model.toolResults.at(-1)})`,
  );
}

/** Asks the database itself, past the proxy. */
async function count(demo: Demo, sql: string): Promise<number> {
  const client = new Client({ host: '127.0.0.1', ...demo.database });
  await client.connect();
  try {
    const { rows } = await client.query<{ count: string }>(sql);
    return Number(rows[0]?.count);
  } finally {
    await client.end();
  }
}

function hasPsql(): boolean {
  return (process.env['PATH'] ?? '')
    .split(process.platform === 'win32' ? ';' : ':')
    .some((folder) => existsSync(join(folder, process.platform === 'win32' ? 'psql.exe' : 'psql')));
}

function assertFree(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer()
      .once('error', () => reject(new Error(`port ${port} is still taken`)))
      .listen(port, '127.0.0.1', () => server.close(() => resolve()));
  });
}

/** Reads every file that was written, but for the database's own, and fails on a raw sensitive value in one. */
function searchForLeaks(folder: string): number {
  const needles = customers()
    .slice(0, 100)
    .flatMap((c) => [c.ssn, c.card, c.card.replaceAll('-', ''), c.email]);
  let files = 0;
  const visit = (path: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const full = join(path, entry.name);
      if (entry.isDirectory()) {
        if (full !== join(folder, 'postgres')) visit(full);
      } else if (entry.isFile() && statSync(full).size < 64 << 20) {
        files++;
        const text = readFileSync(full, 'latin1');
        const leak = needles.find((needle) => text.includes(needle));
        assert.equal(leak, undefined, `${full} holds ${leak}`);
      }
    }
  };
  visit(folder);
  return files;
}
