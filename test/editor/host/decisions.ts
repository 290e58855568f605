import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { PendingApproval } from '../../../contract/approval.ts';
import { COMMANDS } from '../../../extension/ids.ts';
import { until } from '../../support/soon.ts';
import { whenOn } from './subject.ts';

const START_SERVERS = 'workbench.mcp.startServer';
const UPDATE = "UPDATE orders SET status = 'refunded' WHERE id = 1";

/** Ends what waits or asks the person in a dialog that nobody answers here: neither is an approval. */
const NOT_RUN = new Set<string>([COMMANDS.restart, COMMANDS.stop, COMMANDS.takeOver, COMMANDS.importSecrets, COMMANDS.toolApproval]);

describe('a request that waits', () => {
  let answered: unknown;
  let waiting: PendingApproval | undefined;

  it('comes from a tool call and is named by what it does', async function () {
    const subject = await whenOn();
    await vscode.commands.executeCommand(START_SERVERS, '*', { waitForLiveTools: true });
    const tool = await until('the execute tool', () => vscode.lm.tools.find((t) => /countersign.*execute$/i.test(t.name)));
    const call = vscode.lm.invokeTool(tool.name, { input: { connection: 'shop', sql: UPDATE }, toolInvocationToken: undefined });
    Promise.resolve(call).then(
      (result) => (answered = result),
      (error: unknown) => (answered = error),
    );
    const [ask] = await until('the request', () => {
      const pending = subject.inspect?.()?.pending ?? [];
      return pending.length > 0 ? pending : undefined;
    });
    assert.match(ask?.facts.headline ?? '', /UPDATE orders/);
    waiting = ask;
  });

  it('is not answered by any command, whatever it is given', async () => {
    const subject = await whenOn();
    const ask = waiting;
    assert.ok(ask);
    const answer = { answer: 'approve', id: ask.id, digest: ask.digest, scope: ask.scopes[0] };
    for (const command of Object.values(COMMANDS).filter((id) => !NOT_RUN.has(id))) {
      for (const argument of [answer, { type: 'answer', answer }, ask.id]) {
        // Some open a box and wait for a person: that is no answer either.
        void Promise.resolve(vscode.commands.executeCommand(command, argument)).catch(() => undefined);
      }
    }
    await vscode.commands.executeCommand('workbench.action.closeQuickOpen');
    await new Promise((done) => setTimeout(done, 1_000));
    assert.ok(
      subject.inspect?.()?.pending.some((p) => p.id === ask.id),
      'it still waits',
    );
    assert.equal(answered, undefined);
  });

  it('is not answered by closing or opening its view', async () => {
    const subject = await whenOn();
    const ask = waiting;
    assert.ok(ask);
    await vscode.commands.executeCommand(COMMANDS.showApprovals, ask.id);
    await vscode.commands.executeCommand('workbench.action.closeSidebar');
    await vscode.commands.executeCommand(COMMANDS.showApprovals, ask.id);
    assert.ok(subject.inspect?.()?.pending.some((p) => p.id === ask.id));
  });

  it('is denied when the proxy goes, and the agent is told', async () => {
    const subject = await whenOn();
    assert.ok(waiting);
    assert.equal(answered, undefined, 'nobody answered so far');
    await vscode.commands.executeCommand(COMMANDS.restart);
    await until('the agent’s answer', () => answered);
    assert.doesNotMatch(JSON.stringify(answered), /UPDATE 1/);
    await until('a proxy without it', () => subject.state() === 'on' && subject.inspect?.()?.pending.length === 0);
  });
});
