/**
 * The built panels in a real browser, behind the editor's own content security policy. One long file, because starting the
 * browser is what costs, and both panels share one.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import type { Locator } from 'playwright-core';
import type { ApprovalsSnapshot, FromApprovals } from '../../contract/webview.ts';
import { FromApprovals as FromApprovalsMessage, FromOperation as FromOperationMessage, ToApprovals, ToOperation } from '../../contract/webview.ts';
import { ARMING_MS } from '../../webview/approvals/arming.ts';
import { ADA, accessAsk, BEN, carryingAsk, customers, decided, detail, facts, grant, NOW, pending, snapshot, toolAsk, verdict } from '../support/fixtures.ts';
import { soon } from '../support/soon.ts';
import { CHROMIUM, type PanelHost, type PanelPage, startPanelHost } from './support/panelPage.ts';

const skip = existsSync(CHROMIUM) ? false : `no Chromium at ${CHROMIUM}; set CHROMIUM to one`;

/** The deadline of a fixture is by a fixed clock: the panel is told that clock. */
const shown = (over: Partial<ApprovalsSnapshot>): ApprovalsSnapshot => ToApprovals.parse(snapshot(over)) as ApprovalsSnapshot;

describe('the panels in a browser', { skip, timeout: 300_000, concurrency: 4 }, () => {
  let host: PanelHost;
  before(async () => {
    host = await startPanelHost();
  });
  after(() => host.close());

  const withPanel = async (
    panel: 'approvals' | 'operation',
    use: (p: PanelPage) => Promise<void>,
    options: Parameters<PanelHost['open']>[1] = {},
  ): Promise<void> => {
    const opened = await host.open(panel, options);
    try {
      await use(opened);
      // Whatever a panel posts must pass the decoder that the extension uses.
      for (const message of await opened.posted()) (panel === 'approvals' ? FromApprovalsMessage : FromOperationMessage).parse(message);
    } finally {
      await opened.close();
    }
    assert.deepEqual(opened.trouble, []);
  };
  const answers = async (p: PanelPage): Promise<Extract<FromApprovals, { type: 'answer' }>['answer'][]> =>
    (await p.posted()).flatMap((m) => (m.type === 'answer' ? [(m as Extract<FromApprovals, { type: 'answer' }>).answer] : []));
  const approve = (p: PanelPage): Locator => p.page.locator('cs-armed-button.approve vscode-button');
  const armed = async (p: PanelPage): Promise<void> => {
    await p.page.locator('cs-armed-button.approve vscode-button:not(.waiting)').first().waitFor();
  };

  /** Presses until it counts, once: a button that has moved meanwhile takes no press before it has stood still again. */
  const pressed = async (p: PanelPage, press: () => Promise<void>): Promise<void> => {
    const before = (await answers(p)).length;
    await armed(p);
    await soon(async () => {
      if ((await answers(p)).length === before) await press();
      assert.equal((await answers(p)).length, before + 1);
    });
  };

  it('says that nothing needs anyone, with the last five decisions', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(
        shown({ decided: Array.from({ length: 7 }, (_, i) => decided({ id: `d${i}`, operation: `op-d${i}`, headline: `UPDATE t${i}`, decidedAt: i })) }),
      );
      await p.page.getByText('Nothing needs you').waitFor();
      const lines = p.page.locator('cs-decided button');
      assert.equal(await lines.count(), 5);
      assert.match((await lines.first().textContent()) ?? '', /UPDATE t6\s+Approved by Ada/);
      await lines.first().click();
      assert.deepEqual((await p.posted()).at(-1), { type: 'open', operation: 'op-d6' });
    });
  });

  it('approves with the id and digest that were rendered, the narrowest scope, and takes the buttons away', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [pending()] }));
      await pressed(p, () => approve(p).click());
      assert.deepEqual(await answers(p), [{ answer: 'approve', id: 'app-1', digest: 'd-1', scope: { what: 'exact', howLong: 'once' } }]);
      assert.equal(await approve(p).count(), 0);
      await p.send({ type: 'answered', id: 'app-1', result: 'accepted' });
      await p.page.locator('cs-ask-card .result', { hasText: 'Approved. Waiting for the result.' }).waitFor();
      await p.send(shown({ decided: [decided({ id: 'app-1' })] }));
      await p.page.locator('cs-ask-card .result', { hasText: 'Approved by Ada · done · 214 rows' }).waitFor();
    });
  });

  it('says what was answered of the same kind, and adds no line later that would push a button away', async () => {
    await withPanel('approvals', async (p) => {
      const before = [decided({ id: 'd1' }), decided({ id: 'd2' }), decided({ id: 'd3', answer: 'denied' })];
      await p.send(shown({ pending: [pending()], decided: before }));
      await p.page.locator('cs-ask-card .lately', { hasText: 'The same kind lately: 2 approved, 1 denied.' }).waitFor();
      await p.send(shown({ pending: [toolAsk(1)] }));
      await p.page.locator('cs-ask-card h2', { hasText: 'create_issue' }).waitFor();
      await armed(p);
      const place = await approve(p).boundingBox();
      await p.send(shown({ pending: [toolAsk(1)], decided: [decided({ id: 'd4', headline: 'create_issue', connection: 'github', agent: 'Cursor' })] }));
      assert.deepEqual(await approve(p).boundingBox(), place);
    });
  });

  it('takes no click that lands on a button which has just appeared', async () => {
    await withPanel('approvals', async (p) => {
      await p.stopClock();
      await p.send(shown({ pending: [pending()] }));
      await approve(p).click();
      assert.deepEqual(await answers(p), []);
      await p.page.clock.runFor(ARMING_MS + 200);
      await approve(p).click();
      assert.equal((await answers(p)).length, 1);
    });
  });

  it('takes no click on a button that has just been pushed aside', async () => {
    await withPanel('approvals', async (p) => {
      await p.stopClock();
      await p.send(shown({ pending: [pending()] }));
      await p.page.clock.runFor(ARMING_MS + 200);
      await p.page.locator('summary', { hasText: 'Why asked' }).click();
      await approve(p).click();
      assert.deepEqual(await answers(p), []);
      await p.page.clock.runFor(ARMING_MS + 200);
      await approve(p).click();
      assert.equal((await answers(p)).length, 1);
    });
  });

  it('moves nothing under the pointer when asks come, end or finish their dry run', async () => {
    await withPanel('approvals', async (p) => {
      const first = pending({ dryRun: { state: 'running' } });
      await p.send(shown({ pending: [first, toolAsk(1)] }));
      await armed(p);
      await approve(p).hover();
      const before = await approve(p).boundingBox();
      await p.send(shown({ pending: [pending({ id: 'early', digest: 'early', askedAt: 0 }), pending(), toolAsk(1), toolAsk(2)] }));
      await p.send(shown({ pending: [pending(), toolAsk(2)] }));
      assert.deepEqual(await approve(p).boundingBox(), before);
      assert.equal(
        await p.page
          .locator('cs-ask-card')
          .first()
          .locator('h2')
          .textContent()
          .then((t) => /UPDATE orders/.test(t ?? '')),
        true,
      );
      await approve(p).click();
      assert.equal((await answers(p))[0]?.id, 'app-1');
    });
  });

  it('keeps the decided card in place under the pointer and goes on only when told to', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [pending(), toolAsk(1)] }));
      await pressed(p, () => approve(p).click());
      await p.send({ type: 'answered', id: 'app-1', result: 'accepted' });
      await p.send(shown({ pending: [toolAsk(1)], decided: [decided({ id: 'app-1' })] }));
      const cards = p.page.locator('cs-ask-card');
      assert.match((await cards.first().locator('h2').textContent()) ?? '', /UPDATE orders/);
      await p.page.locator('vscode-button.next').click();
      await p.page.locator('.quietLine', { hasText: 'UPDATE orders · Approved by Ada' }).waitFor();
      await p.page.locator('cs-ask-card h2', { hasText: 'create_issue' }).waitFor();
      assert.equal((await answers(p)).length, 1);
    });
  });

  it('says in a sentence what became of an answer that was not accepted, and never shows it as approved', async () => {
    await withPanel('approvals', async (p) => {
      for (const [result, sentence] of [
        ['stale', /Nothing was approved/],
        ['already-decided', /Already decided elsewhere/],
        ['unknown', /no longer open/],
        ['not-allowed', /may not answer/],
      ] as const) {
        const id = `app-${result}`;
        await p.send(shown({ pending: [pending({ id, digest: result })] }));
        await p.page.mouse.move(0, 890);
        await pressed(p, () => approve(p).click());
        await p.send({ type: 'answered', id, result });
        await p.page.locator('cs-ask-card .result.bad', { hasText: sentence }).waitFor();
        assert.equal(await approve(p).count(), 0);
        await p.page.mouse.move(0, 890);
        await p.page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
        await p.send(shown({}));
      }
    });
  });

  it('offers the buttons again when an answer did not reach the proxy', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [pending()] }));
      await pressed(p, () => approve(p).click());
      await p.send({ type: 'answered', id: 'app-1', result: 'failed', sentence: 'The proxy is restarting. Try again.' });
      await p.page.locator('.result.bad', { hasText: 'The proxy is restarting. Try again.' }).waitFor();
      assert.equal(await approve(p).count(), 1);
    });
  });

  it('denies with a note as it stands, remembers it, and offers it next time', async () => {
    await withPanel(
      'approvals',
      async (p) => {
        await p.send(shown({ pending: [pending(), pending({ id: 'app-2', digest: 'd-2', askedAt: pending().askedAt + 1 })] }));
        await p.page.locator('vscode-button.deny').click();
        await p.page.locator('.recent button', { hasText: 'ask Ben first' }).waitFor();
        await p.page.keyboard.type('  use the <replica>');
        await p.page.keyboard.press('Enter');
        assert.deepEqual(await answers(p), [{ answer: 'deny', id: 'app-1', digest: 'd-1', note: '  use the <replica>' }]);
        await p.send({ type: 'answered', id: 'app-1', result: 'accepted' });
        await p.page.locator('vscode-button.next').click();
        await p.page.locator('cs-ask-card vscode-button.deny').last().click();
        await p.page.locator('.recent button', { hasText: 'use the <replica>' }).click();
        await p.page.locator('cs-deny-form vscode-button.deny').click();
        assert.equal((await answers(p))[1]?.answer === 'deny' && (await answers(p))[1]?.id, 'app-2');
        assert.equal(((await answers(p))[1] as { note?: string }).note, 'use the <replica>');
      },
      { state: { notes: ['ask Ben first'] } },
    );
  });

  it('is worked by keyboard alone, with the focus always visible, and Enter elsewhere approves nothing', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [pending()] }));
      await armed(p);
      await p.page.keyboard.press('Enter');
      const seen: string[] = [];
      for (let i = 0; i < 12; i++) {
        await p.page.keyboard.press('Tab');
        const focus = await p.page.evaluate(() => {
          let active = document.activeElement;
          while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
          if (!active || active === document.body) return undefined;
          const part = active.shadowRoot?.querySelector('[part=base]') ?? active;
          return {
            name: active.getAttribute('aria-label') ?? active.textContent.trim().replace(/\s+/g, ' '),
            ring: getComputedStyle(part).outlineStyle !== 'none' || getComputedStyle(active).outlineStyle !== 'none',
          };
        });
        if (!focus) break;
        assert.equal(focus.ring, true, `${focus.name} shows no focus`);
        seen.push(focus.name);
        if (focus.name.startsWith('Approve:')) break;
        // Enter on a disclosure, never on an answer.
        if (focus.name.startsWith('Why asked')) await p.page.keyboard.press('Enter');
      }
      assert.deepEqual(await answers(p), []);
      assert.equal(seen.at(-1), 'Approve: Claude Code → UPDATE orders');
      assert.ok(seen.some((s) => s.startsWith('What this covers')) && seen.some((s) => s.startsWith('For how long')));
      await pressed(p, () => p.page.keyboard.press('Enter'));
      // The focus went to the result, not to the top of the page.
      assert.match(
        (await p.page.evaluate(() => document.querySelector('cs-approvals')?.shadowRoot?.activeElement?.shadowRoot?.activeElement?.className ?? '')) ?? '',
        /result/,
      );
    });
  });

  it('a key held down answers nothing', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [pending()] }));
      await armed(p);
      await p.page.keyboard.down('Enter');
      await approve(p).focus();
      await p.page.keyboard.down('Enter');
      await p.page.keyboard.down('Enter');
      assert.deepEqual(await answers(p), []);
      await p.page.keyboard.up('Enter');
    });
  });

  it('puts the focus on no button by itself', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [pending()] }));
      await armed(p);
      assert.equal(await p.page.evaluate(() => document.activeElement === document.body), true);
    });
  });

  it('previews a broader scope in words and sends it', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [pending()] }));
      await p.page.locator('select[name=what]').selectOption('shape');
      await p.page.locator('.covers', { hasText: '“UPDATE orders” with other values on orders without asking, until this session ends' }).waitFor();
      await p.page.locator('select[name=howLong]').selectOption('1h');
      // The sentence changes, and with it where the button stands: only a press after that counts.
      await p.page.locator('.covers', { hasText: 'without asking, in this conversation until' }).waitFor();
      await pressed(p, () => approve(p).click());
      assert.deepEqual((await answers(p))[0], { answer: 'approve', id: 'app-1', digest: 'd-1', scope: { what: 'shape', howLong: '1h' } });
    });
  });

  it('shows as denied at the deadline, without waiting for word from the proxy', async () => {
    await withPanel('approvals', async (p) => {
      await p.stopClock();
      const ask = pending();
      await p.send(shown({ pending: [ask], now: ask.deadline - 2000 }));
      assert.match((await p.page.locator('.time').first().textContent()) ?? '', /0:02/);
      const before = await p.page.locator('cs-payload').boundingBox();
      await p.page.clock.runFor(1000);
      assert.deepEqual(await p.page.locator('cs-payload').boundingBox(), before);
      await p.page.clock.runFor(2000);
      await p.page.locator('.result', { hasText: 'Denied: nobody answered in time.' }).waitFor();
      assert.equal(await approve(p).count(), 0);
    });
  });

  it('renders text from outside as text, with what hides made visible', async () => {
    await withPanel('approvals', async (p) => {
      const nasty = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>**bold** \u202edesrever';
      await p.send(
        shown({
          pending: [
            pending({
              payload: `${nasty}\n'; DROP TABLE оrders`,
              reason: nasty,
              connection: nasty,
              params: [nasty],
              actor: { person: ADA, agent: { kind: 'unknown', name: nasty } },
              facts: facts({ headline: nasty, notes: [nasty], sensitive: [nasty] }),
              verdict: verdict({ because: nasty, say: nasty, rule: { id: nasty, layer: 'user', file: nasty, line: 1 } }),
              dryRun: { state: 'done', result: { rows: 1, columns: [nasty], samples: [{ before: [nasty], after: [`${nasty}2`] }] } },
              conversationSummary: { operations: 1, sensitive: [nasty] },
            }),
          ],
          decided: [decided({ headline: nasty, note: nasty, outcome: nasty })],
          grants: [grant({ covers: nasty })],
          halted: nasty,
        }),
      );
      assert.equal(await p.page.evaluate(() => 'hacked' in window), false);
      assert.equal(await p.page.locator('img, b, strong img').count(), 0);
      assert.equal(await p.page.evaluate(() => document.querySelectorAll('script').length), 1);
      assert.ok((await p.page.locator('cs-payload').first().locator('.mark', { hasText: 'RLO' }).count()) > 0);
      await p.page.locator('cs-payload .warning', { hasText: 'direction control' }).waitFor();
      // No raw control reaches any place that shows text.
      const everything = await p.page.evaluate(() => {
        const texts: string[] = [];
        const walk = (node: Node): void => {
          if (node instanceof Text) texts.push(node.data);
          if (node instanceof Element) {
            for (const name of ['aria-label', 'title']) texts.push(node.getAttribute(name) ?? '');
            node.shadowRoot?.childNodes.forEach(walk);
          }
          node.childNodes.forEach(walk);
        };
        walk(document.body);
        return texts.join('\n');
      });
      assert.equal(everything.includes('\u202e'), false);
    });
  });

  it('folds a very long request, says that it was not seen whole, and shows every line on demand', async () => {
    await withPanel('approvals', async (p) => {
      const payload = Array.from({ length: 300 }, (_, i) => `INSERT INTO t VALUES (${i});`).join('\n');
      await p.send(shown({ pending: [pending({ payload })] }));
      await p.page.locator('.partly', { hasText: 'You have not seen the whole request' }).waitFor();
      await p.page.locator('cs-payload button', { hasText: 'Show all 300 lines' }).click();
      assert.match((await p.page.locator('cs-payload pre').textContent()) ?? '', /VALUES \(299\);/);
      assert.equal(await p.page.locator('.partly').count(), 0);
    });
  });

  it('groups alike asks: identical ones can be approved together, others only denied together', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [toolAsk(1), toolAsk(2), toolAsk(3)] }));
      await p.page.locator('.more summary', { hasText: '2 more alike' }).click();
      assert.equal(await p.page.locator('.together cs-armed-button', { hasText: 'Approve all' }).count(), 0);
      await p.page.locator('.together vscode-button:not(.waiting)').first().waitFor();
      await p.page.locator('.together cs-armed-button', { hasText: 'Deny all 3' }).click();
      assert.deepEqual(
        (await answers(p)).map((a) => [a.answer, a.id, a.digest]),
        [1, 2, 3].map((n) => ['deny', `app-tool-${n}`, `d-tool-${n}`]),
      );
    });
    await withPanel('approvals', async (p) => {
      const { payload } = toolAsk(1);
      await p.send(shown({ pending: [1, 2, 3].map((n) => toolAsk(n, { payload })) }));
      await p.page.locator('.more summary').click();
      await p.page.locator('.together vscode-button:not(.waiting)').first().waitFor();
      await p.page.locator('.together cs-armed-button', { hasText: 'Approve all 3' }).click();
      assert.deepEqual(
        (await answers(p)).map((a) => [a.answer, a.digest, a.answer === 'approve' && a.scope.howLong]),
        [1, 2, 3].map((n) => ['approve', `d-tool-${n}`, 'once']),
      );
    });
  });

  it('shows what waits for someone else without buttons', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(
        shown({ pending: [pending({ actor: { person: BEN, agent: { kind: 'copilot', name: 'Copilot' } }, verdict: verdict({ approvers: ['group:dba'] }) })] }),
      );
      await p.page.locator('.row', { hasText: 'UPDATE orders' }).click();
      await p.page.locator('.result', { hasText: 'Waits for the group dba' }).waitFor();
      assert.equal(await approve(p).count(), 0);
      // It still waits: its time is there to be seen, and says for whom it is.
      await p.page.locator('cs-ask-card [role=timer]').waitFor();
      await p.page.locator('cs-ask-card .facts', { hasText: 'for Ben' }).waitFor();
      assert.equal(await p.page.locator('cs-ask-card .settled').count(), 0);
    });
  });

  it('says of nothing that was answered that it waits for someone else, whoever answered', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [pending(), toolAsk(1)], mine: ['app-1'] }));
      await p.page.locator('h2.section', { hasText: 'Waiting for someone else' }).waitFor();
      await pressed(p, () => approve(p).click());
      await p.send({ type: 'answered', id: 'app-1', result: 'accepted' });
      const both = [decided({ id: 'app-1' }), decided({ id: toolAsk(1).id, by: BEN })];
      await p.send(shown({ pending: [], mine: [], decided: both }));
      await p.page.locator('h2.section', { hasText: 'Answered by someone else' }).waitFor();
      const own = p.page.locator('.lists > ol').first();
      assert.match((await own.locator('cs-ask-card h2').first().textContent()) ?? '', /UPDATE orders/);
      assert.equal(await p.page.getByText('Waiting for someone else').count(), 0);
    });
  });

  it('says when it is not connected, when nothing is forwarded, and when the policy has problems', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(
        shown({
          link: { state: 'failed', sentence: 'The proxy did not start: port taken.' },
          halted: 'The disk is full.',
          policyProblems: 2,
          pending: [pending()],
        }),
      );
      for (const text of ['The proxy did not start: port taken.', 'The disk is full.', 'The policy has 2 problems'])
        await p.page.locator('.banner', { hasText: text }).waitFor();
      await p.page.locator('.result', { hasText: 'Nothing can be answered now' }).waitFor();
      assert.equal(await approve(p).count(), 0);
      await p.page.locator('.banner button', { hasText: 'Open policy' }).click();
      assert.deepEqual((await p.posted()).at(-1), { type: 'run', command: 'openPolicy' });
    });
  });

  it('ends a grant at the second press only, and not at Escape or at Keep', async () => {
    await withPanel('approvals', async (p) => {
      // Whoever only looks on is offered nothing to end.
      await p.send(shown({ grants: [grant({ mayEnd: false })] }));
      await p.page.locator('cs-grants li').waitFor();
      assert.equal(await p.page.locator('cs-grants button').count(), 0);
      await p.send(shown({ grants: [grant()] }));
      const end = p.page.getByRole('button', { name: 'End the grant for UPDATE orders (same shape)' });
      const ended = async (): Promise<unknown[]> => (await p.posted()).filter(({ type }) => type === 'endGrant');
      await end.focus();
      await p.page.keyboard.press('Enter');
      await p.page.getByText('connections that run on it are cut off at once').waitFor();
      await p.page.keyboard.press('Escape');
      await end.waitFor();
      // An impatient second Enter is at Keep.
      await p.page.keyboard.press('Enter');
      await p.page.getByRole('button', { name: 'Keep' }).waitFor();
      await p.page.keyboard.press('Enter');
      await end.waitFor();
      assert.deepEqual(await ended(), []);
      await end.click();
      const sure = p.page.locator('cs-grants cs-armed-button vscode-button:not(.waiting)');
      await soon(async () => {
        if ((await ended()).length === 0) await sure.click({ timeout: 2_000 });
        assert.deepEqual(await ended(), [{ type: 'endGrant', id: 'gra-1' }]);
      });
      await p.page.getByText('Ending…').waitFor();
    });
  });

  it('lets whoever waits for others ask for access over a time', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [pending()], mine: [], own: ['app-1'] }));
      await p.page.locator('button.row').first().click();
      await p.page.locator('vscode-button.withdraw').waitFor();
      assert.equal(await p.page.locator('vscode-button.request').count(), 0, 'not where no gateway could grant it');
      await p.send(shown({ pending: [pending()], mine: [], own: ['app-1'], requestable: ['app-1'] }));
      await p.page.getByRole('button', { name: 'Request access over a time' }).click();
      assert.deepEqual((await p.posted()).at(-1), { type: 'requestAccess', id: 'app-1' });
    });
  });

  it('has a request for access granted or denied with what was on the screen, shows what was asked as text, and says what did not count', async () => {
    await withPanel('approvals', async (p) => {
      const reason = `Refunds <img src=x onerror="document.title='owned'"> \u202E evil`;
      const asks = [
        accessAsk({ access: { ...accessAsk().access, reason, targets: ['a<b>b</b>'] } }),
        accessAsk({ id: 'app-own', digest: 'd-own', requester: ADA, access: { ...accessAsk().access, targets: ['*'] }, mine: 'withdraw' }),
        accessAsk({ id: 'app-wait', digest: 'd-wait', approvals: 1, quorum: 2, mine: 'wait' }),
      ];
      await p.send(shown({ access: asks }));
      assert.equal(await p.page.getByText('Nothing needs you').count(), 0);
      const [theirs, own, waits] = [0, 1, 2].map((n) => p.page.locator('cs-access-card').nth(n)) as [Locator, Locator, Locator];
      await theirs.getByText('access to orders for 1 hour').waitFor();
      await theirs.getByText(/Refunds <img src=x onerror/).waitFor();
      await theirs.getByText('a<b>b</b>').waitFor();
      // What would turn the line around is shown as a mark.
      assert.equal(await theirs.locator('dd .mark').count(), 1);
      await own.getByText('anything of orders').waitFor();
      await waits.getByText('2 people, of whom 1 said yes').waitFor();
      assert.deepEqual(await Promise.all([own, waits].map((card) => card.locator('cs-armed-button').count())), [0, 0]);
      assert.equal(await waits.locator('vscode-button').count(), 0);

      const scope = { what: 'exact', howLong: 'once' };
      await soon(async () => {
        if ((await answers(p)).length === 0) await theirs.locator('cs-armed-button vscode-button:not(.waiting)').click({ timeout: 2_000 });
        assert.deepEqual(await answers(p), [{ answer: 'approve', id: 'app-access', digest: 'd-access', scope }]);
      });
      assert.equal(await theirs.locator('cs-armed-button').count(), 0);
      await p.send({ type: 'answered', id: 'app-access', result: 'failed', sentence: 'The gateway does not answer.' });
      await theirs.getByRole('alert').getByText('The gateway does not answer.').waitFor();
      await theirs.locator('vscode-button.deny').click();
      await theirs.getByRole('textbox').fill('Ask for one table');
      await p.page.keyboard.press('Enter');
      assert.deepEqual((await answers(p)).at(-1), { answer: 'deny', id: 'app-access', digest: 'd-access', note: 'Ask for one table' });
      await own.locator('vscode-button.withdraw').click();
      assert.deepEqual((await answers(p)).at(-1), { answer: 'deny', id: 'app-own', digest: 'd-own' });
      // What was decided has no operation to open.
      await p.send(shown({ access: [], decided: [decided({ operation: '', headline: 'Access to orders for 1 hour' })] }));
      await p.page.locator('cs-decided li', { hasText: 'Access to orders for 1 hour' }).getByText('Approved by Ada').waitFor();
      assert.equal(await p.page.locator('cs-decided button').count(), 0);
      assert.equal(await p.page.locator('cs-access-card').count(), 0);
      assert.notEqual(await p.page.title(), 'owned');
    });
  });

  it('offers a rule after the third same yes, says first what it would let through, and leaves whoever declines alone', async () => {
    await withPanel('approvals', async (p) => {
      const yes = [1, 2, 3].map((n) => decided({ id: `d${n}`, operation: `op-${n}`, decidedAt: NOW + n }));
      const offer = p.page.getByRole('region', { name: 'You have approved UPDATE orders on orders 3 times' });
      // Not after two, not where one was denied, and not where no rule of this person's could speak of it.
      for (const over of [
        { decided: yes.slice(1), ruleable: ['d2', 'd3'] },
        { decided: yes },
        { decided: [...yes, decided({ id: 'd4', answer: 'denied' })], ruleable: ['d1', 'd2', 'd3', 'd4'] },
      ]) {
        await p.send(shown(over));
        assert.equal(await offer.count(), 0);
      }
      await p.send(shown({ decided: yes, ruleable: ['d1', 'd2', 'd3'] }));
      await offer.getByText('Show the rule').click();
      assert.deepEqual((await p.posted()).at(-1), { type: 'proposeRule', operation: 'op-3' });
      await offer.getByText('Trying it on your policy').waitFor();
      const latest = [{ operation: 'op-9', headline: 'UPDATE orders', at: NOW, agent: 'Cursor', became: 'denied' as const }];
      const history = { days: 30, whole: true, approved: 5, denied: 1, allowed: 0, latest };
      const rule = '  - id: allow-orders-update-orders\n    verdict: allow\n';
      await p.send({ type: 'proposal', operation: 'op-3', proposal: { helps: true, rule, covers: 'Every agent of yours may run UPDATE of orders.', history } });
      await offer.getByText('Every agent of yours may run UPDATE of orders.').waitFor();
      await offer.getByText('In the last 30 days it would have matched 6: 5 that were approved, 1 that was denied.').waitFor();
      // Where somebody said no, it is seen without being asked for.
      await offer.getByRole('button', { name: 'Open UPDATE orders: denied' }).click();
      assert.deepEqual((await p.posted()).at(-1), { type: 'open', operation: 'op-9' });
      await soon(async () => {
        await offer.locator('cs-armed-button vscode-button:not(.waiting)').click({ timeout: 2_000 });
        assert.deepEqual((await p.posted()).at(-1), { type: 'addRule', operation: 'op-3', rule });
      });
      // Only once it stands in the file.
      assert.equal(await offer.count(), 1);
      await p.send({ type: 'ruleAdded', operation: 'op-3' });
      assert.equal(await offer.count(), 0);
    });
    await withPanel('approvals', async (p) => {
      await p.send(shown({ decided: [1, 2, 3].map((n) => decided({ id: `d${n}` })), ruleable: ['d1', 'd2', 'd3'] }));
      await p.page.getByText('Not now').focus();
      await p.page.keyboard.press('Enter');
      await p.page.getByText('Not now').waitFor({ state: 'detached' });
      await p.send(shown({ decided: [1, 2, 3, 4].map((n) => decided({ id: `d${n}` })), ruleable: ['d1', 'd2', 'd3', 'd4'] }));
      assert.equal(await p.page.locator('cs-rule-offer').count(), 0);
    });
  });

  it('shows what a rule would let through and its button at once, in a low window and a narrow side bar, whatever the names', async () => {
    const headline = `CALL ${'refund_everything_of_the_'.repeat(9)}customer`;
    const connection = 'production_'.repeat(12);
    const covers = `Every agent of yours may call ${'refund_everything_of_the_'.repeat(5)}customer of ${connection} without asking, whatever its arguments.`;
    const latest = Array.from({ length: 5 }, (_, n) => ({ operation: `op-${n}`, headline, at: NOW, agent: 'Cursor', became: 'approved' as const }));
    const history = { days: 30, whole: true, approved: 5, denied: 0, allowed: 0, latest };
    const yes = [1, 2, 3].map((n) => decided({ id: `d${n}`, operation: `op-${n}`, decidedAt: NOW + n, headline, connection }));
    // What is left of 800x600, where the view has its side bar for itself.
    for (const width of [260, 300, 400]) {
      await withPanel(
        'approvals',
        async (p) => {
          await p.send(shown({ pending: [], decided: yes, ruleable: ['d1', 'd2', 'd3'] }));
          const offer = p.page.locator('cs-rule-offer');
          await offer.getByText('Show the rule').focus();
          await p.page.keyboard.press('Enter');
          await p.send({ type: 'proposal', operation: 'op-3', proposal: { helps: true, rule: '    verdict: allow\n'.repeat(30), covers, history } });
          const text = offer.getByText(covers);
          await text.waitFor();
          await soon(async () => assert.equal(await offer.locator('h2').evaluate((el) => el.matches(':focus')), true, 'the keyboard goes on there'));
          const footer = await offer.locator('footer').boundingBox();
          const said = await text.boundingBox();
          const button = await offer.locator('cs-armed-button').boundingBox();
          assert.ok(said && button && footer);
          assert.ok(said.y >= 0 && said.y + said.height <= footer.y, `${width}: ${JSON.stringify({ said, footer })}`);
          assert.ok(button.y + button.height <= 430, `${width}: ${JSON.stringify(button)}`);
          assert.ok(await p.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${width}: sideways`);
          // The rest is below, and the button stays where it is.
          await offer.getByText('The rule as it would stand').click();
          const after = await offer.locator('cs-armed-button').boundingBox();
          assert.ok(after && after.y + after.height <= 430);
        },
        { width, height: 430 },
      );
    }
  });

  it('tells a screen reader of a new ask at once, and of results politely', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [pending()] }));
      await p.page.locator('[aria-live=assertive]', { hasText: 'New ask: Claude Code → UPDATE orders' }).waitFor({ state: 'attached' });
      await pressed(p, () => approve(p).click());
      await p.send({ type: 'answered', id: 'app-1', result: 'accepted' });
      await p.page.locator('[aria-live=polite]', { hasText: 'Approved' }).first().waitFor({ state: 'attached' });
    });
  });

  it('brings a revealed ask into view without answering it', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [pending(), toolAsk(1)] }));
      await p.send({ type: 'reveal', id: 'app-tool-1' });
      await p.page.locator('cs-ask-card h2', { hasText: 'create_issue' }).waitFor();
      assert.deepEqual(await answers(p), []);
    });
  });

  it('brings a decision on access into view where a notification leads to it, and says until when it holds', async () => {
    await withPanel('approvals', async (p) => {
      const access = decided({ id: 'app_9', operation: '', headline: 'Access to orders for 1 hour', decidedAt: NOW - 9_000_000, until: Date.now() + 60_000 });
      const later = Array.from({ length: 9 }, (_, i) => decided({ id: `dec-${i}`, decidedAt: NOW - i }));
      await p.send(shown({ decided: [...later, access] }));
      const line = p.page.locator('cs-decided li', { hasText: 'Access to orders' });
      assert.equal(await line.count(), 0, 'it is not among the last');
      await p.send({ type: 'reveal', id: 'app_9' });
      await line.getByText(/until .*\d\d:\d\d/).waitFor();
      await soon(async () => assert.equal(await line.evaluate((el) => el.matches(':focus')), true));
      await p.send({ type: 'reveal', id: 'gone' });
      assert.deepEqual(await answers(p), []);
    });
  });

  it('needs no sideways scrolling at 280 pixels, and every control has a name', async () => {
    await withPanel(
      'approvals',
      async (p) => {
        await p.send(
          shown({
            pending: [pending({ connection: 'a_very_long_connection_name_without_any_break_in_it_at_all' }), toolAsk(1), toolAsk(2)],
            grants: [grant()],
            decided: [decided()],
            policyProblems: 1,
          }),
        );
        assert.ok((await p.page.evaluate(() => document.documentElement.scrollWidth)) <= 280);
        await namesOnControls(p);
      },
      { width: 280 },
    );
  });

  it('shows what the agent saw, with what stood there before, and says that it is not stored', async () => {
    await withPanel(
      'operation',
      async (p) => {
        await p.send(ToOperation.parse({ type: 'operation', detail: detail() }));
        await p.page.locator('.chip', { hasText: '‹email·1›' }).waitFor();
        await p.page.getByText('The side before masking is not stored.').waitFor();
        assert.match((await p.page.locator('td del').first().textContent()) ?? '', /•••@•••••••\.•••/);
        await p.page.locator('td .chip').first().hover();
        await p.page.locator('.hover', { hasText: 'customers.email, replaced by a token: column customers.email, named in the policy' }).waitFor();
        await p.page.getByLabel('Compare with before masking').click();
        assert.equal(await p.page.locator('td del').count(), 0);
        // By keyboard: what is wrong, in the person's words, with the line that would put it right.
        await p.page.locator('cs-wrong-mask summary').focus();
        await p.page.keyboard.press('Enter');
        await p.page.getByLabel('What is wrong?').selectOption({ label: 'name: seen, and should be masked' });
        await p.page.getByLabel('Note (optional)').fill('  a name is a name ');
        await p.page.keyboard.press('Enter');
        const line = '# add this entry to the connection\nconnections: { orders: { sensitive: { customers.name: redact } } }\n';
        assert.deepEqual((await p.posted()).at(-1), {
          type: 'reportMask',
          operation: 'op-1',
          report: { kind: 'should-hide', name: 'name', note: 'a name is a name', line },
        });
        await p.send({ type: 'maskReported', operation: 'op-1', sentence: 'Noted in /x.' });
        await p.page.getByRole('status').getByText('Noted in /x.').waitFor();
        await p.send(ToOperation.parse({ type: 'operation', detail: detail({ raw: customers().raw }) }));
        await p.page.getByLabel('Compare with before masking').click();
        assert.match((await p.page.locator('td del').first().textContent()) ?? '', /ada\.lovelace@example\.org/);
        await namesOnControls(p);
        await p.page.setViewportSize({ width: 420, height: 800 });
        assert.ok((await p.page.evaluate(() => document.documentElement.scrollWidth)) <= 420);
      },
      { width: 900 },
    );
  });

  it('goes through the session by keyboard, from decision to decision, and plays it to its end', async () => {
    await withPanel('operation', async (p) => {
      const tones = ['allowed', 'approved', 'allowed', 'denied'] as const;
      const steps = tones.map((tone, i) => ({ operation: `op-${i}`, at: NOW + i * 1_000 + (i > 1 ? 600_000 : 0), headline: `SELECT ${i}`, tone }));
      const at = (i: number): object => ToOperation.parse({ type: 'operation', detail: detail({ summary: { ...detail().summary, operation: `op-${i}` } }) });
      const stepped = async (): Promise<unknown[]> => (await p.posted()).filter(({ type }) => type === 'step').map(({ operation }) => operation);
      await p.send(at(0));
      const slider = p.page.getByRole('slider', { name: 'The session, step by step' });
      assert.equal(await slider.count(), 0, 'nothing to go through is known');
      await p.send(ToOperation.parse({ type: 'timeline', of: 'con-1', steps }));
      assert.match((await slider.getAttribute('aria-valuetext')) ?? '', /^1 of 4 · .*: SELECT 0, allowed by a rule$/);
      assert.equal(await p.page.locator('cs-timeline .decision').count(), 2);
      await slider.focus();
      await p.page.keyboard.press('ArrowRight');
      assert.deepEqual(await stepped(), ['op-1']);
      await p.send(at(1));
      await p.page.getByRole('button', { name: 'Next decision' }).click();
      await p.send(at(3));
      assert.deepEqual(await stepped(), ['op-1', 'op-3']);
      assert.equal(await p.page.getByRole('button', { name: 'Next operation' }).isDisabled(), true);
      await p.page.getByRole('button', { name: 'Previous operation' }).click();
      await p.send(at(2));
      await p.page.getByText('3 of 4').waitFor();
      await p.page.getByText('of nothing').waitFor();
      await p.page.getByRole('button', { name: 'Play the session' }).click();
      await soon(async () => assert.deepEqual(await stepped(), ['op-1', 'op-3', 'op-2', 'op-3']));
      await p.send(at(3));
      await p.page.getByRole('button', { name: 'Play the session' }).waitFor();
    });
  });

  it('goes through its tabs by keyboard and remembers the one last shown', async () => {
    await withPanel(
      'operation',
      async (p) => {
        await p.send(
          ToOperation.parse({ type: 'operation', detail: detail({ approval: { answer: 'approved', why: 'person', by: BEN, note: 'fine', waitedMs: 5 } }) }),
        );
        await p.page.getByRole('tab', { name: 'Response' }).focus();
        await p.page.keyboard.press('ArrowRight');
        await p.page.keyboard.press('Enter');
        await p.page.getByText('Waited for an answer').first().waitFor();
        assert.equal(await p.page.getByRole('tab', { name: 'Decision' }).getAttribute('aria-selected'), 'true');
        await p.page.keyboard.press('Home');
        await p.page.locator('cs-payload pre', { hasText: 'FROM customers' }).waitFor();
        await p.page.getByRole('button', { name: 'Copy the request' }).click();
        assert.deepEqual((await p.posted()).at(-1), { type: 'copy', text: detail().payload });
        await p.page.keyboard.press('Tab');
      },
      { width: 600, state: { tab: 1, compare: true } },
    );
  });

  it('makes a rule from what is shown, to paste: nothing is saved, and that it was copied is said once', async () => {
    await withPanel(
      'operation',
      async (p) => {
        await p.send(ToOperation.parse({ type: 'operation', detail: detail() }));
        await p.page.locator('summary', { hasText: 'Make a rule from this' }).focus();
        await p.page.keyboard.press('Enter');
        const text = (await p.page.locator('details.rule pre').textContent()) ?? '';
        assert.match(text, /match: \{ connection: orders, effect: read, target: customers \}\n {4}verdict: allow/);
        await p.page.getByRole('button', { name: 'Copy the rule' }).click();
        assert.deepEqual((await p.posted()).at(-1), { type: 'copy', text });
        await p.page.locator('cs-announcer [role=status]', { hasText: 'Copied' }).waitFor();
        // Another operation has not been copied.
        await p.send(ToOperation.parse({ type: 'operation', detail: detail({ summary: { ...detail().summary, operation: 'op-2' } }) }));
        assert.equal(await p.page.locator('details.rule .inside p .quiet').count(), 0);
      },
      { width: 600, state: { tab: 2, compare: true } },
    );
  });

  it('shows a broken record as broken and checks again on demand', async () => {
    await withPanel(
      'operation',
      async (p) => {
        await p.send(
          ToOperation.parse({ type: 'operation', detail: detail({ verified: { ok: false, entries: 7, head: '', problem: 'entry 7 was changed' } }) }),
        );
        await p.page.locator('.seal.bad', { hasText: 'The record does not hold: entry 7 was changed' }).waitFor();
        await p.page.getByRole('button', { name: 'Check again' }).click();
        assert.deepEqual((await p.posted()).at(-1), { type: 'verify', session: 'ses-1' });
        // What is shown before it was checked does not pass for checked.
        await p.send(ToOperation.parse({ type: 'operation', detail: { ...detail(), verified: undefined } }));
        await p.page.locator('.seal', { hasText: 'was not checked yet' }).waitFor();
        assert.equal(await p.page.locator('.seal', { hasText: 'Verified' }).count(), 0);
        await p.page.getByRole('button', { name: 'Check now' }).waitFor();
      },
      { width: 600 },
    );
  });

  it('pages through a large answer and renders masked text as text', async () => {
    await withPanel(
      'operation',
      async (p) => {
        await p.send(ToOperation.parse({ type: 'operation', detail: detail({ answer: customers(100).answer }) }));
        assert.equal(await p.page.locator('tbody tr').count(), 50);
        await p.page.getByRole('button', { name: 'Next rows' }).click();
        assert.equal(await p.page.locator('tbody th').first().textContent(), '51');
        const text = '<img src=x onerror="window.hacked=1"> mail ‹email·1› \u202e';
        await p.send(
          ToOperation.parse({
            type: 'operation',
            detail: detail({
              answer: {
                kind: 'text',
                text,
                truncated: true,
                findings: [{ label: 'email', by: 'email', mask: 'token', at: [text.indexOf('‹'), text.indexOf('›') + 1], shape: '•@•' }],
              },
            }),
          }),
        );
        await p.page.locator('pre.text .chip', { hasText: '‹email·1›' }).waitFor();
        assert.equal(await p.page.locator('img').count(), 0);
        assert.equal(await p.page.locator('pre.text .mark', { hasText: 'RLO' }).count(), 1);
      },
      { width: 600 },
    );
  });

  it('shows both ends of what could be carried out, as text and to a screen reader, latest first', async () => {
    await withPanel('approvals', async (p) => {
      const ask = carryingAsk();
      const read = { connection: 'crm', target: '<img src=x onerror="window.hacked=1">\u202elatot', what: ['card'], masked: 1, at: ask.askedAt };
      const reads = [read, ...(ask.conversationSummary.reads ?? []), read, read, read];
      await p.send(shown({ pending: [carryingAsk({ conversationSummary: { ...ask.conversationSummary, reads } })] }));
      const ends = p.page.getByRole('region', { name: 'This could carry out what was read' });
      await ends.waitFor();
      const lines = (await ends.locator('dd').allInnerTexts()).map((line) => line.replaceAll(/\s+/g, ' ').trim());
      assert.equal(lines.length, 7);
      assert.match(lines[0] ?? '', /^crm <img src=x onerror="window\.hacked=1">RLOlatot card · 1 value masked · \d/);
      assert.match(lines[1] ?? '', /^orders customers customers\.email, customers\.ssn · 428 values masked · \d/);
      assert.match(lines[3] ?? '', /^files \/srv\/exports\/.*csv iban · \d/);
      assert.equal(lines[5], 'and 2 more');
      assert.equal(lines[6], 'github create_issue');
      assert.equal(await p.page.locator('img').count(), 0);
      await namesOnControls(p);
      // Nothing is wider than the panel, however long a name is.
      assert.ok(await p.page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
    });
  });

  it('says nothing of two ends where nothing sensitive was read', async () => {
    await withPanel('approvals', async (p) => {
      await p.send(shown({ pending: [toolAsk(1), carryingAsk({ id: 'app-none', conversationSummary: { operations: 2, sensitive: [], reads: [] } })] }));
      await p.page.getByRole('article').first().waitFor();
      assert.equal(await p.page.locator('.ends').count(), 0);
    });
  });

  it('says why an operation could not be had, and keeps what it showed', async () => {
    await withPanel('operation', async (p) => {
      await p.send(ToOperation.parse({ type: 'operation', detail: detail() }));
      await p.send({ type: 'missing', operation: 'op-1', sentence: 'Countersign is off. Start it to read the record.' });
      await p.page.locator('.banner', { hasText: 'Countersign is off.' }).waitFor();
      assert.equal(await p.page.locator('h1', { hasText: 'SELECT customers' }).count(), 1);
    });
  });
});

const CONTROLS = new Set(['button', 'combobox', 'textbox', 'checkbox', 'tab', 'link', 'DisclosureTriangle', 'region', 'article', 'timer', 'columnheader']);

/** Asks the browser's own accessibility tree, which is what a screen reader gets: no control without a name. */
async function namesOnControls({ page }: PanelPage): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  const controls = nodes.filter((n) => !n.ignored && CONTROLS.has(String(n.role?.value)));
  assert.ok(controls.length > 3);
  assert.deepEqual(
    controls.filter((n) => String(n.name?.value ?? '').trim() === '').map((n) => n.role?.value),
    [],
  );
}
