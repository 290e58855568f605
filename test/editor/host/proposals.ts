/** Putting a rule that was offered into the person's file: with the editor's real documents, and a proposal as the proxy makes one. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { Proposals } from '../../../extension/policy/proposals.ts';
import { addRule, ruleBlock } from '../../../proxy/policy/addRule.ts';

const RULE = { id: 'allow-orders', match: { connection: 'orders', effect: 'write' }, verdict: 'allow' };
const TEXT = '# mine\nversion: 1\nrules:\n  - id: mine\n    match: { effect: delete }\n    verdict: deny\n\n# the end\n';

describe('a rule that is offered', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cs-proposals-'));
  const file = join(folder, 'countersign.yaml');
  const rule = ruleBlock(RULE);

  /** As it is after a person has looked at the rule. */
  async function looked(before: string, at: string = file): Promise<Proposals> {
    const added = addRule(before, RULE);
    assert.ok(added);
    const history = { days: 30, whole: true, approved: 3, denied: 0, allowed: 0, latest: [] };
    const proposal = { operation: 'op', helps: true, rule, covers: '', file: at, before, after: added.text, line: added.line, history };
    const proposals = new Proposals({ request: async (_method, _params, schema) => schema.parse(proposal) as never });
    assert.deepEqual((await proposals.look('op')).proposal, { helps: true, rule, covers: '', history });
    return proposals;
  }

  const textOf = (path: string): string | undefined => vscode.workspace.textDocuments.find((one) => one.uri.fsPath === path)?.getText();

  after(async () => {
    await vscode.commands.executeCommand('workbench.action.revertAndCloseActiveEditor');
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
    rmSync(folder, { recursive: true, force: true });
  });

  it('is put in as it was shown, with every other character as it was, whatever ends the lines', async () => {
    for (const [name, before] of [
      ['lf', TEXT],
      ['crlf', TEXT.replaceAll('\n', '\r\n')],
    ] as const) {
      const path = join(folder, `${name}.yaml`);
      writeFileSync(path, before);
      assert.equal(await (await looked(before, path)).add('op', rule), true, name);
      assert.equal(textOf(path), addRule(before, RULE)?.text, name);
    }
  });

  it('is not put in where another was shown, or none', async () => {
    writeFileSync(file, TEXT);
    const none = new Proposals({ request: async () => assert.fail('nobody asks') });
    assert.equal(await none.add('op', rule), false);
    const proposals = await looked(TEXT);
    assert.equal(await proposals.add('op', `${rule}  - { id: more, verdict: allow }\n`), false);
    assert.equal(await proposals.add('another', rule), false);
    assert.equal(readFileSync(file, 'utf8'), TEXT);
  });

  it('is not put into a file that says something else by now, on the disk or in an editor', async () => {
    writeFileSync(file, TEXT);
    const proposals = await looked(TEXT);
    writeFileSync(file, `${TEXT}# changed since\n`);
    assert.equal(await proposals.add('op', rule), false);
    assert.equal(readFileSync(file, 'utf8'), `${TEXT}# changed since\n`);
    assert.doesNotMatch(textOf(file) ?? '', /allow-orders/);
  });

  it('makes a file where there is none, and says so where that cannot be', async () => {
    const fresh = join(folder, 'new', 'countersign.yaml');
    assert.equal(await (await looked('', fresh)).add('op', rule), true);
    assert.equal(textOf(fresh), addRule('', RULE)?.text);
    const under = join(file, 'countersign.yaml');
    assert.equal(await (await looked('', under)).add('op', rule), false);
    assert.equal(existsSync(under), false);
  });
});
