import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { EFFECTS } from '../../../contract/facts.ts';
import { BUILTIN_POLICY } from '../../../proxy/policy/builtin.ts';
import { Cases, runCases } from '../../../proxy/policy/cases.ts';
import { CONDITION_VARIABLES } from '../../../proxy/policy/condition.ts';
import { type LoadedPolicy, loadPolicy } from '../../../proxy/policy/load.ts';
import { DETECTOR_IDS, Match, Rule } from '../../../proxy/policy/schema.ts';

const page = readFileSync(new URL('../../../docs/policy.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/^```(\S+)(?: (\S+))?(?: (\S+))?\n(.*?)^```$/gms)].map((found) => ({
  kind: found[2] ?? found[1] ?? '',
  layer: (found[3]?.slice('layer='.length) as 'workspace' | 'organisation' | undefined) ?? ('user' as const),
  text: found[4] ?? '',
  line: page.slice(0, found.index).split('\n').length,
}));

describe('docs/policy.md', () => {
  it('has examples of every kind', () => {
    for (const kind of ['policy', 'cases', 'builtin', 'wrong', 'text'])
      assert.ok(
        blocks.some((block) => block.kind === kind),
        kind,
      );
  });

  it('shows the built-in policy as it is', () => {
    assert.equal(blocks.find(({ kind }) => kind === 'builtin')?.text.trim(), BUILTIN_POLICY.trim());
  });

  let policy: LoadedPolicy | undefined;
  for (const block of blocks) {
    if (block.kind === 'policy') {
      it(`has a good policy on line ${block.line}`, () => {
        const result = loadPolicy([{ layer: block.layer, file: 'countersign.yaml', text: block.text, trusted: true }]);
        assert.ok(result.ok, JSON.stringify(result));
        policy = result.policy;
      });
    } else if (block.kind === 'cases') {
      it(`decides as the cases on line ${block.line} say`, () => {
        assert.ok(policy);
        assert.deepEqual(
          runCases(policy, Cases.parse(parse(block.text))).filter(({ passed }) => !passed),
          [],
        );
      });
    } else if (block.kind === 'wrong') {
      it(`shows the errors of the file on line ${block.line} as they are`, () => {
        const result = loadPolicy([{ layer: 'user', file: 'countersign.yaml', text: block.text }]);
        const said = blocks[blocks.indexOf(block) + 1]?.text.trim().split('\n');
        assert.deepEqual(result.ok ? [] : result.problems.map((p) => `${p.file}:${p.line}:${p.column}: ${p.message}`), said);
      });
    }
  }

  it('names every effect, detector, key and variable there is', () => {
    const variables = Object.entries(CONDITION_VARIABLES).flatMap(([name, { fields }]) => [name, ...Object.keys(fields)]);
    const sqlAndMcp = [...Object.keys(Match.shape.sql.unwrap().shape), ...Object.keys(Match.shape.mcp.unwrap().shape)];
    const reference = page.slice(page.indexOf('## Reference'));
    for (const word of [...EFFECTS, ...DETECTOR_IDS, ...Object.keys(Rule.shape), ...Object.keys(Match.shape), ...sqlAndMcp, ...variables]) {
      assert.match(reference, new RegExp(`\\b${word}\\b`), word);
    }
  });
});
