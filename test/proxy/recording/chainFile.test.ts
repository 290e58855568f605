import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { ChainFile, type ChainHost, GENESIS } from '../../../proxy/recording/chainFile.ts';
import { until } from '../../support/soon.ts';

const AT = '2026-01-02T03:04:05.678Z';

class Host implements ChainHost {
  halted: string | undefined;
  queued = 0;
  halt(doing: string): void {
    this.halted = doing;
  }
  haltedProblem(): Error {
    return new Error(this.halted);
  }
}

describe('a chained file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cs-chain-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  let files = 0;
  const create = async (host: ChainHost): Promise<ChainFile> => ChainFile.create(join(folder, `${++files}.jsonl`), host, 'ses_1', () => {});

  const bodiesIn = (file: ChainFile): unknown[] => {
    let before = GENESIS;
    const lines = readFileSync(file.path, 'utf8').trimEnd().split('\n');
    return lines.map((line, i) => {
      const { body, prev, seq } = JSON.parse(line) as { body: unknown; prev: string; seq: number };
      assert.deepEqual({ prev, seq }, { prev: before, seq: i });
      before = createHash('sha256').update(line).digest('hex');
      return body;
    });
  };

  it('has its lines in the order of the appends, whether their text was made at once or later', async () => {
    const host = new Host();
    const file = await create(host);
    for (let i = 0; i < 300; i++) {
      if (i % 7 === 3) file.append(AT, `${i}`);
      else file.appendLater({ at: AT, text: () => `${i}` });
      if (i % 41 === 0) assert.equal(file.at.entries, i + 1);
      if (i % 97 === 0) await file.sync();
    }
    await file.close();
    assert.deepEqual(
      bodiesIn(file),
      Array.from({ length: 300 }, (_, i) => i),
    );
    assert.equal(host.queued, 0);
  });

  it('has on disk after a sync what was to be written later', async () => {
    const file = await create(new Host());
    file.appendLater({ at: AT, text: () => '"soon"' });
    await file.sync();
    assert.deepEqual(bodiesIn(file), ['soon']);
    await file.close();
  });

  it('writes what was to be written later without being asked', async () => {
    const file = await create(new Host());
    file.appendLater({ at: AT, text: () => '"soon"' });
    await until('something in the file', () => readFileSync(file.path).length > 0);
    assert.deepEqual(bodiesIn(file), ['soon']);
    await file.close();
  });

  it('halts the recorder where a text cannot be made, and takes nothing more', async () => {
    const host = new Host();
    const file = await create(host);
    file.appendLater({
      at: AT,
      text: () => {
        throw new Error('no text');
      },
    });
    await file.sync().catch(() => {});
    assert.match(host.halted ?? '', /writing/);
    assert.throws(() => file.appendLater({ at: AT, text: () => '1' }));
    assert.throws(() => file.append(AT, '1'));
    await file.close();
  });
});
