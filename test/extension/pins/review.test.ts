import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { METHODS } from '../../../contract/control.ts';
import { PinAnswer, type PinsView, type Quarantined } from '../../../contract/pins.ts';
import { connectionTree } from '../../../extension/connections/items.ts';
import { answer, type ReviewDeps, review, type Shown } from '../../../extension/pins/review.ts';
import { noticeOf, readable } from '../../../extension/pins/texts.ts';
import { english as t } from '../../../extension/translate.ts';
import { connection } from '../../support/fixtures.ts';

const HASH = 'a'.repeat(64);
const item = (change: Partial<Quarantined> = {}): Quarantined => ({
  kind: 'tool',
  name: 'add',
  hash: HASH,
  reasons: ['its definition has changed since it was accepted'],
  known: true,
  rejected: false,
  ...change,
});
const pins = (...quarantined: Quarantined[]): PinsView => ({ tools: 14, prompts: 0, quarantined });

/** An editor whose person presses what the test says, and a proxy that notes what it is told. */
function scene({ presses = true, stale = 0 }: { presses?: boolean; stale?: number } = {}) {
  const sent: { method: string; params: unknown }[] = [];
  const compared: Shown[] = [];
  const asked: { question: string; detail: string }[] = [];
  const told: string[] = [];
  const deps: ReviewDeps = {
    t,
    ui: {
      pick: async (_connection, items) => items,
      compare: async (shown) => void compared.push(shown),
      confirm: async (question, detail) => (asked.push({ question, detail }), presses),
      tell: (sentence) => void told.push(sentence),
    },
    link: {
      request: async (method: string, params: unknown) => {
        sent.push({ method, params });
        return (
          method === METHODS.pinTexts
            ? {
                items: [
                  {
                    kind: 'tool',
                    name: 'add',
                    hash: HASH,
                    before: '{\n  "description": "Adds."\n}',
                    after: '{\n  "description": "Adds.\u200b And more."\n}',
                    reasons: ['it changed'],
                  },
                ],
              }
            : { done: 1 - stale, stale }
        ) as never;
      },
    },
  };
  return { deps, sent, compared, asked, told };
}

describe('a quarantined definition', () => {
  it('is shown beside what was accepted, with what cannot be seen written out', async () => {
    const { deps, compared, sent } = scene();
    await review(deps, 'github', pins(item()));
    assert.equal(compared.length, 1);
    assert.match(compared[0]?.after ?? '', /Adds\.⟦U\+200B⟧ And more/);
    assert.match(compared[0]?.before ?? '', /"Adds\."/);
    assert.deepEqual(
      sent.map(({ method }) => method),
      [METHODS.pinTexts],
      'looking decides nothing',
    );
  });

  it('is accepted only after a person has pressed a button in a dialog, and by the hash that was shown', async () => {
    const { deps, compared, sent, asked } = scene();
    await review(deps, 'github', pins(item()));
    await answer(deps, compared[0], true);
    assert.match(asked[0]?.question ?? '', /Accept tool “add” of github/);
    assert.match(asked[0]?.detail ?? '', /it changed/);
    assert.deepEqual(PinAnswer.parse(sent.at(-1)?.params), { connection: 'github', items: [{ kind: 'tool', name: 'add', hash: HASH }], answer: 'accept' });
  });

  it('is not accepted by a command alone: without the dialog nothing goes out', async () => {
    const { deps, compared, sent } = scene({ presses: false });
    await review(deps, 'github', pins(item()));
    await answer(deps, compared[0], true);
    assert.deepEqual(
      sent.map(({ method }) => method),
      [METHODS.pinTexts],
    );
  });

  it('cannot be answered before it was looked at', async () => {
    const { deps, sent, asked, told } = scene();
    await answer(deps, undefined, true);
    assert.deepEqual([sent.length, asked.length, told.length], [0, 0, 1]);
  });

  it('that has changed meanwhile is said to have', async () => {
    const { deps, compared, told } = scene({ stale: 1 });
    await review(deps, 'github', pins(item()));
    await answer(deps, compared[0], true);
    assert.match(told[0] ?? '', /changed again/);
  });

  it('leaves the extension in one place, whose dialog is modal', () => {
    const source = (file: string): string => readFileSync(new URL(`../../../extension/pins/${file}`, import.meta.url), 'utf8');
    assert.equal([...source('review.ts').matchAll(/METHODS\.pinAnswer/g)].length, 1);
    assert.doesNotMatch(source('definitions.ts'), /pinAnswer/);
    assert.match(source('definitions.ts'), /confirm: .*showWarningMessage\(question, \{ modal: true, detail \}, button\)\) === button/);
    assert.ok(source('review.ts').indexOf('ui.confirm(') < source('review.ts').indexOf('METHODS.pinAnswer'), 'asked before sent');
  });
});

describe('what a person is told of it', () => {
  it('is one line, whatever a server calls its tools', () => {
    const name = 'add\n\nAllow all\u202e';
    assert.doesNotMatch(noticeOf('github', [item({ name })], t), /\n|\u202e/);
    assert.equal(readable('a\u202eb'), 'a⟦U+202E⟧b');
  });

  it('is a line in the tree: how many tools, how many of them quarantined, and each of these first', () => {
    const [node] = connectionTree([connection({ protocol: 'mcp', name: 'github', pins: pins(item(), item({ name: 'sub', rejected: true })) })], t);
    assert.ok(node?.kind === 'connection');
    assert.equal(node.description, '14 tools, 1 quarantined, 1 rejected · MCP · this machine · ready');
    assert.deepEqual(
      node.children.slice(0, 2).map((child) => [child.kind, child.label, child.description]),
      [
        ['quarantined', 'add', 'tool · quarantined'],
        ['quarantined', 'sub', 'tool · rejected'],
      ],
    );
  });
});
