/** The team's part of `--check`: two people in two windows, a gateway between them. */
import assert from 'node:assert/strict';
import type { Step } from './check.ts';
import type { Demo } from './demo.ts';
import { eventually } from './eventually.ts';
import { ScriptedPerson } from './person.ts';
import { customers } from './shop.ts';
import { MOVED, SHARED, TEAM_PROMPT } from './story.ts';
import { type Browser, openWorkbench } from './workbench.ts';

export async function teamStory(demo: Demo, browser: Browser, dana: ScriptedPerson, step: Step): Promise<void> {
  const moved = customers().find(({ id }) => id === MOVED);
  assert.ok(moved);
  let opened: ScriptedPerson | undefined;
  const sam = (): ScriptedPerson => {
    assert.ok(opened, 'the second window is not open');
    return opened;
  };

  await step('the team’s gateway, its identity provider and a second editor are up', async () => {
    await demo.startTeam();
    opened = new ScriptedPerson(await browser.context.newPage());
    await openWorkbench(opened.page, demo.team.window.workbench.url());
    await opened.waitUntilOn();
    return undefined;
  });

  await step('Sam signs in from the Accounts menu, and Dana in her window', async () => {
    await sam().signIn('Sam');
    await dana.page.bringToFront();
    await dana.signIn('Dana');
    await dana.openApprovals();
    await dana.openConnections();
    await dana.page.locator('.monaco-list-row', { hasText: SHARED }).filter({ hasText: 'gateway' }).first().waitFor();
    return `${SHARED} is there, whose password is the gateway’s alone`;
  });

  await step('what Dana’s agent asks in production waits for Sam, and Dana cannot approve it', async () => {
    await dana.ask(TEAM_PROMPT);
    await dana.letToolAsk(sam());
    await sam().page.bringToFront();
    const { shownMs } = await sam().waitForAsk();
    const card = await sam().currentCard();
    for (const part of ['UPDATE', 'customers', 'Dana', 'production-writes']) assert.ok(card.includes(part), `Sam’s card does not say ${part}:\n${card}`);
    await dana.page.bringToFront();
    const own = await dana.openApprovals();
    await own.getByText('Waiting for someone else').waitFor();
    assert.equal(await own.locator('cs-armed-button.approve').count(), 0, 'Dana is offered to approve what she asked herself');
    return `on Sam’s screen ${shownMs} ms after it was counted there`;
  });

  await step('Sam approves in his window: it runs, and Dana’s agent gets its rows masked', async () => {
    await sam().page.bringToFront();
    await sam().approve();
    const told = await eventually(
      () => demo.model.toolResults.at(-1)?.match(/[^]*Lisbon[^]*/)?.[0],
      () => `the changed row in what the agent was told (${demo.model.toolResults.at(-1)})`,
    );
    assert.match(told, /‹redacted›/);
    for (const secret of [moved.email, moved.ssn]) assert.ok(!told.includes(secret), `the agent was shown ${secret}`);
    return undefined;
  });

  await step('both find it in Sessions, with who approved it, and what the agent saw', async () => {
    for (const person of [sam(), dana]) {
      await person.page.bringToFront();
      await person.openSessions();
      const row = person.page.locator('.monaco-list-row', { hasText: 'UPDATE customers' }).filter({ hasText: 'approved by Sam' });
      await row.first().waitFor();
    }
    const page = await dana.openOperation('UPDATE customers');
    assert.ok(page.includes('‹redacted›') && page.includes('Lisbon'), page);
    return undefined;
  });
}
