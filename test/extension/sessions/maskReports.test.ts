import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { keepMaskReport } from '../../../extension/sessions/maskReports.ts';

describe('a report of a wrong mask', () => {
  it('is kept on this machine, for its owner alone, with names as text and no more than a megabyte of them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-reports-'));
    try {
      const file = join(folder, 'deep', 'wrong-masks.md');
      const report = { kind: 'should-show', name: 'e`mail\n# owned', by: 'email', mask: 'token', note: 'made up\naddresses', line: 'a: ```b\n' } as const;
      await keepMaskReport(file, 'op-1', 'orders', report, new Date(0));
      await keepMaskReport(file, 'op-2', 'orders', { kind: 'should-hide', name: 'note', note: '' }, new Date(1));
      const text = await readFile(file, 'utf8');
      assert.equal(text.match(/^# /gm)?.length, 1);
      assert.match(text, /## 1970-01-01T00:00:00\.000Z: `e'mail # owned` of `orders` is masked and should be seen/);
      assert.match(text, /- found by: `email`, `token`\n- note: made up addresses\n\n```yaml\na: '''b\n```/);
      assert.match(text, /`note` of `orders` is seen and should be masked/);
      if (process.platform !== 'win32') assert.equal((await stat(file)).mode & 0o077, 0);
      await writeFile(file, 'x'.repeat(1024 * 1024 + 1));
      await assert.rejects(keepMaskReport(file, 'op-3', 'orders', report, new Date(2)), /Move it away/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
