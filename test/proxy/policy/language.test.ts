import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import type { Position } from 'vscode-languageserver-protocol';
import { BUILTIN_POLICY } from '../../../proxy/policy/builtin.ts';
import { complete, diagnose, hover, lenses } from '../../../proxy/policy/language.ts';
import type { PolicyLayer } from '../../../proxy/policy/load.ts';

/** The text without its `|`, and where that stood. */
function cursor(marked: string): [string, Position] {
  const at = marked.indexOf('|');
  const before = marked.slice(0, at).split('\n');
  return [marked.slice(0, at) + marked.slice(at + 1), { line: before.length - 1, character: before.at(-1)?.length ?? 0 }];
}
const labels = (marked: string): string[] => complete(...cursor(marked)).map((item) => item.label);
const hovered = (marked: string): string => {
  const contents = hover(...cursor(marked))?.contents;
  return typeof contents === 'object' && 'value' in contents ? contents.value : '';
};

/** A diagnostic's text, which the protocol lets be marked up as well. */
function said(diagnostic: { readonly message: unknown } | undefined): string {
  return typeof diagnostic?.message === 'string' ? diagnostic.message : JSON.stringify(diagnostic?.message ?? '');
}

describe('completion', () => {
  it('offers the keys of the place the cursor is in', () => {
    assert.deepEqual(labels('|'), ['version', 'defaults', 'connections', 'rules']);
    assert.ok(labels('version: 1\nrules:\n  - id: x\n    |').includes('verdict'));
    assert.ok(labels('rules:\n  - id: x\n    match:\n      |').includes('effect'));
    assert.ok(labels('rules:\n- id: x\n  match: { bulk: true, | }').includes('target'));
    assert.ok(labels('connections:\n  shop:\n    |').includes('upstream'));
    assert.ok(labels('defaults:\n  detectors:\n    |').includes('private-key'));
  });

  it('offers the words that a value may be', () => {
    assert.deepEqual(labels('rules:\n  - id: x\n    verdict: |'), ['allow', 'ask', 'deny']);
    assert.deepEqual(labels('rules:\n  - id: x\n    verdict: de|'), ['allow', 'ask', 'deny']);
    assert.ok(labels('rules:\n  - id: x\n    match: { effect: [read, |] }').includes('delete'));
    assert.deepEqual(labels('connections:\n  shop:\n    sensitive:\n      customers.email: |'), ['redact', 'partial', 'hash', 'token']);
  });

  it('offers the connections of the same file', () => {
    assert.deepEqual(labels('connections:\n  shop: {}\n  crm: {}\nrules:\n  - id: x\n    match:\n      connection: |'), ['shop', 'crm']);
  });

  it('offers the facts in a condition', () => {
    assert.ok(labels('rules:\n  - id: x\n    when: |').includes('conversation'));
    assert.deepEqual(labels('rules:\n  - id: x\n    when: op.bulk && conversation.|'), ['read']);
    assert.ok(labels('rules:\n  - id: x\n    when: op.|').includes('effect'));
  });

  it('never throws and offers nothing impossible, wherever the cursor is', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'abc:{}[],-|>\n "\'#&*'.split('')) }), fc.nat(10), fc.nat(20), (text, line, character) => {
        complete(text, { line, character });
        hover(text, { line, character });
        diagnose(text);
        lenses(text, { matched: new Map(), period: 'this week' });
      }),
    );
    for (let line = 0; line < BUILTIN_POLICY.split('\n').length; line++) complete(BUILTIN_POLICY, { line, character: 6 });
  });
});

describe('hover', () => {
  it('says what a key means', () => {
    assert.match(hovered('rules:\n  - id: x\n    ver|dict: ask'), /strictest/);
    assert.match(hovered('rules:\n  - id: x\n    match: { bu|lk: true }'), /every row/);
    assert.match(hovered('defaults:\n  unk|nown: ask'), /not be understood/);
  });

  it('says what a variable of a condition holds', () => {
    assert.match(hovered('rules:\n  - id: x\n    when: op.bu|lk'), /op\.bulk: bool/);
    assert.match(hovered('rules:\n  - id: x\n    when: conver|sation.read.exists(t, t.sensitive)'), /touched so far/);
  });

  it('says nothing of other words', () => {
    assert.equal(hover(...cursor('rules:\n  - sili|ness: 1')), null);
    assert.equal(hover(...cursor('# ver|sion: 1')), null);
    assert.equal(hover('', { line: 4, character: 4 }), null);
  });
});

describe('diagnostics', () => {
  it('mark the misspelt word, counting from zero', () => {
    const [problem] = diagnose('version: 1\ndefaults: { wirte: ask }\n');
    assert.deepEqual(problem?.range, { start: { line: 1, character: 12 }, end: { line: 1, character: 17 } });
    assert.match(JSON.stringify(problem?.message), /Did you mean `write`/);
    assert.equal(problem?.severity, 1);
  });

  it('warn of what has no effect in a workspace', () => {
    const text = 'version: 1\ndefaults: { write: allow }\n';
    assert.deepEqual(diagnose(text), []);
    assert.deepEqual(
      diagnose(text, { layer: 'workspace', trusted: true }).map((one) => one.severity),
      [2],
    );
  });

  it('find nothing in the built-in policy', () => {
    // Its own ids stand for its rules: a file that repeats them replaces them.
    assert.deepEqual(diagnose(BUILTIN_POLICY), []);
    // Below a gateway's policy more may be said, and less has an effect.
    const team =
      "version: 1\nrules:\n  - { id: two, match: { effect: read }, verdict: ask, approvers: 'group:dba', min: 2 }\n  - { id: free, match: { effect: write }, verdict: allow }\n";
    const above: PolicyLayer = {
      layer: 'organisation',
      file: 'of the gateway',
      text: 'version: 1\n',
      signed: { person: { issuer: 'x', subject: 'ada', groups: [] } },
    };
    assert.match(said(diagnose(team)[0]), /needs the shared gateway/);
    assert.deepEqual(
      diagnose(team, { layer: 'user' }, above).map((one) => said(one).slice(0, 38)),
      ['A rule of the user can only tighten: `'],
    );
  });
});

describe('lenses', () => {
  it('stand at each rule and count', () => {
    const text = 'version: 1\nrules:\n  - id: a\n    match: { bulk: true }\n    verdict: ask\n  - id: b\n    match: { bulk: true }\n    verdict: deny\n';
    const found = lenses(text, { matched: new Map([['a', 14]]), period: 'this week' });
    assert.deepEqual(
      found.map((lens) => [lens.range.start.line, lens.command?.title]),
      [
        [2, 'decided 14 operations this week'],
        [5, 'decided nothing this week'],
      ],
    );
  });
});
