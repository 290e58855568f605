import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { VerifyReport } from '../../../contract/control.ts';
import { COMMANDS, OPERATION_PANEL, VIEWS } from '../../../extension/ids.ts';
import { until } from '../../support/soon.ts';
import { whenOn } from './subject.ts';

const operationTabs = (): vscode.Tab[] =>
  vscode.window.tabGroups.all
    .flatMap((group) => group.tabs)
    .filter((tab) => tab.input instanceof vscode.TabInputWebview && tab.input.viewType.endsWith(OPERATION_PANEL));

describe('the views', () => {
  it('open', async () => {
    await whenOn();
    for (const view of Object.values(VIEWS)) await vscode.commands.executeCommand(`${view}.focus`);
  });

  it('show one tab for an operation, however often it is opened', async () => {
    await whenOn();
    await vscode.commands.executeCommand(COMMANDS.openOperation, 'op_none');
    await vscode.commands.executeCommand(COMMANDS.openOperation, 'op_none');
    await until('the tab', () => operationTabs().length > 0);
    assert.equal(operationTabs().length, 1);
    await vscode.window.tabGroups.close(operationTabs());
  });

  it('open nothing for what is no operation', async () => {
    for (const bad of [undefined, 7, '', 'x'.repeat(500), { operation: 7 }, null]) await vscode.commands.executeCommand(COMMANDS.openOperation, bad);
    assert.deepEqual(operationTabs(), []);
  });

  it('verify the record', async () => {
    await whenOn();
    const report = await vscode.commands.executeCommand<VerifyReport>(COMMANDS.verify);
    assert.equal(report.ok, true, report.problems.join('\n'));
  });
});
