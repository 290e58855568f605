/**
 * Every line of `test/corpus/ordinary.jsonl` under the policy that a new user has: what ordinary programs send asks as seldom as
 * it can. To add a line, write its steps, run with `UPDATE_CORPUS=1`, and read what comes out before keeping it.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, it, describe as suite } from 'node:test';
import type { ApprovalAnswer, PendingApproval } from '../../../../contract/approval.ts';
import { NARROWEST } from '../../../../contract/approval.ts';
import { front, type Proxied, proxied, type RawClient } from './proxied.ts';

interface Line {
  readonly of: string;
  readonly steps: readonly string[];
  /** Numbers of steps, from 1, with the effect that was asked about; of a read, what its rule is. */
  readonly asks?: Readonly<Record<string, string>>;
}

const FILE = new URL('../../../corpus/ordinary.jsonl', import.meta.url);
const [about, ...lines] = readFileSync(FILE, 'utf8')
  .split('\n')
  .filter((text) => text !== '')
  .map((text) => JSON.parse(text) as Line);

suite('what ordinary programs send', { timeout: 300_000 }, () => {
  let p: Proxied;
  let asked: PendingApproval | undefined;
  before(async () => {
    p = await proxied();
    const approve = ({ digest, id }: PendingApproval): ApprovalAnswer => ({ answer: 'approve', id, digest, scope: NARROWEST });
    const next = (): void =>
      void p.t.onAsk((pending) => {
        asked = pending;
        next();
        return approve(pending);
      });
    next();
  });
  after(() => p.stop());

  /** What was asked about, where it was. */
  async function send(raw: RawClient, sql: string, extended: boolean): Promise<string | undefined> {
    asked = undefined;
    // Several statements in one text are for the simple protocol alone.
    raw.send(...(extended && !/;\s+\S/.test(sql) ? [front.parse('', sql), front.bind('', ''), front.execute(), front.sync()] : [front.query(sql)]));
    const answer = await raw.until('Z');
    assert.deepEqual(
      answer.filter(({ type }) => type === 'E').map(({ body }) => body.toString()),
      [],
      sql,
    );
    const pending = asked as PendingApproval | undefined;
    return pending && (pending.facts.effect === 'read' ? pending.verdict.rule.id : pending.facts.effect);
  }

  it('asks about nothing but what changes something, and about masked columns where their values could be told', async () => {
    const made: Line[] = [];
    for (const [i, line] of lines.entries()) {
      const raw = await p.raw();
      const asks: Record<string, string> = {};
      for (const [at, step] of line.steps.entries()) {
        const what = await send(raw, step.replaceAll('@', String(100 + i)), i % 2 === 1);
        if (what !== undefined) asks[at + 1] = what;
      }
      made.push({ of: line.of, steps: line.steps, asks });
      raw.stream.destroy();
    }
    if (process.env['UPDATE_CORPUS'] !== undefined) writeFileSync(FILE, `${[about, ...made].map((line) => JSON.stringify(line)).join('\n')}\n`);
    else assert.deepEqual(made, lines);
  });
});
