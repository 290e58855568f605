import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { COMMANDS } from '../../../extension/ids.ts';
import { api, ID } from './subject.ts';

/** What the editor may be kept waiting at its start: 50 ms, and four times that where others have the processor, in milliseconds. */
const ACTIVATION_BUDGET_MS = 200;

describe('the extension', () => {
  it('activates by itself and within its budget', async () => {
    const subject = await api();
    assert.equal(vscode.extensions.getExtension(ID)?.isActive, true);
    assert.ok(subject.activationMs < ACTIVATION_BUDGET_MS, `${subject.activationMs} ms`);
  });

  it('registers every command of its manifest', async () => {
    await (await api()).ready;
    const all = new Set(await vscode.commands.getCommands(true));
    for (const command of Object.values(COMMANDS)) assert.ok(all.has(command), command);
  });

  it('registers no command beyond its manifest and what the editor makes of its views', async () => {
    await (await api()).ready;
    const known = new Set<string>(Object.values(COMMANDS));
    const own = (await vscode.commands.getCommands(true)).filter((id) => id.startsWith('countersign.') && !known.has(id));
    for (const id of own) {
      assert.match(id, /^countersign\.(approvals|sessions|connections)\.(focus|open|resetViewLocation|removeView|toggleVisibility)$/, id);
    }
  });

  it('gives other extensions nothing that decides', async () => {
    const subject = await api();
    // `inspect` is there for this suite alone: a test host sets the mode, a person's editor does not.
    assert.deepEqual(Object.keys(subject).sort(), ['activationMs', 'inspect', 'ready', 'state', 'version']);
  });
});
