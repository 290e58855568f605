import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import * as vscode from 'vscode';
import { until } from '../../support/soon.ts';
import { whenOn } from './subject.ts';

describe('a broken policy', () => {
  it('is marked in its file while the last good one stays in force, until it is mended', async () => {
    const subject = await whenOn();
    const file = process.env['COUNTERSIGN_POLICY'];
    assert.ok(file);
    const good = readFileSync(file, 'utf8');
    const before = subject.inspect?.()?.policy.version;
    try {
      writeFileSync(file, `${good}\nnonsense: [1\n`);
      const uri = vscode.Uri.file(file);
      const [problem] = await until('a mark', () => {
        const marks = vscode.languages.getDiagnostics(uri).filter((d) => d.severity === vscode.DiagnosticSeverity.Error);
        return marks.length > 0 ? marks : undefined;
      });
      assert.match(problem?.message ?? '', /last good policy is in force/);
      // The mark comes from the language server, and the proxy says it for itself.
      const policy = await until('the proxy says so', () => {
        const now = subject.inspect?.()?.policy;
        return now && now.problems.length > 0 ? now : undefined;
      });
      assert.equal(policy.version, before);
      writeFileSync(file, good);
      await until('the mark goes', () => vscode.languages.getDiagnostics(uri).length === 0);
    } finally {
      writeFileSync(file, good);
    }
  });
});
