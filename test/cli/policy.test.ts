import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from '../../cli/run.ts';

const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

describe('the command line', () => {
  let cwd: string;
  before(() => {
    cwd = mkdtempSync(join(tmpdir(), 'countersign-cli-'));
    writeFileSync(join(cwd, 'good.yaml'), 'version: 1\nrules:\n  - { id: refunds, match: { effect: write, target: orders }, verdict: deny, say: Not here. }\n');
    writeFileSync(join(cwd, 'bad.yaml'), 'version: 1\nrules:\n  - { id: a, match: { efect: write }, verdict: ask }\n');
    writeFileSync(join(cwd, 'loose.yaml'), 'version: 1\ndefaults: { write: allow }\n');
    writeFileSync(join(cwd, 'operation.json'), '{"effect": "write", "verb": "UPDATE", "target": "orders"}');
    writeFileSync(
      join(cwd, 'cases.yaml'),
      'policy: { user: good.yaml }\ncases:\n  - { name: one, operation: { effect: write, target: orders }, expect: { verdict: deny, rule: refunds } }\n  - { name: two, operation: { effect: read }, expect: deny }\n',
    );
    writeFileSync(join(cwd, 'badcases.yaml'), 'cases:\n  - { name: one, operation: { effect: update }, expect: deny }\n');
  });
  after(() => rmSync(cwd, { recursive: true, force: true }));

  const countersign = async (args: string, input = ''): Promise<{ code: number; out: string; error: string }> => {
    const out: string[] = [];
    const error: string[] = [];
    const code = await run(args.split(' ').filter(Boolean), {
      out: (line) => out.push(line),
      error: (line) => error.push(line),
      input: () => Promise.resolve(input),
      cwd,
    });
    return { code, out: out.join('\n'), error: error.join('\n') };
  };

  it('says what there is when nothing, or nothing known, is asked for', async () => {
    assert.deepEqual(await countersign('--help').then(({ code, out }) => [code, /policy check/.test(out)]), [0, true]);
    assert.deepEqual(await countersign('').then(({ code, error }) => [code, /policy check/.test(error)]), [2, true]);
    const wrong = await countersign('polcy check');
    assert.equal(wrong.code, 2);
    assert.equal(wrong.error, 'There is no command `polcy`.\n`countersign help` lists all there are.');
    const inGroup = await countersign('gateway secret forget');
    assert.deepEqual([inGroup.code, /no command `gateway secret forget`[^]*gateway secret remove/.test(inGroup.error)], [2, true]);
    const group = await countersign('gateway secret --help');
    assert.deepEqual([group.code, /gateway secret set/.test(group.out), /policy check|--join/.test(group.out)], [0, true, false]);
    assert.equal((await countersign('help policy test')).out, (await countersign('policy test --help')).out);
    assert.match((await countersign('--version')).out, /^\d+\.\d+\.\d+/);
    for (const line of (await countersign('help')).out.split('\n')) assert.ok(line.length <= 140, line);
    assert.match((await countersign('policy test --help')).out, /CASES.yaml names the policy/);
  });

  it('checks files', async () => {
    assert.deepEqual(await countersign('policy check good.yaml'), { code: 0, out: 'good.yaml: good. 1 rule, 0 connections.', error: '' });
    const bad = await countersign('policy check good.yaml bad.yaml missing.yaml');
    assert.equal(bad.code, 1);
    assert.match(bad.error, /^bad\.yaml:3:23: `efect` is not known here\. Did you mean `effect`\?$/m);
    assert.match(bad.error, /^missing\.yaml:1:1: There is no such file/m);
    assert.equal((await countersign('policy check')).code, 2);
    assert.match((await countersign('policy check --nonsense x')).error, /nonsense[^]*usage: countersign policy check/);
  });

  it('checks layers together', async () => {
    const both = await countersign('policy check --user good.yaml --workspace loose.yaml');
    assert.equal(both.code, 0);
    assert.match(both.error, /^loose\.yaml:2:20: warning: The workspace can only tighten/m);
  });

  it('reads an organisation’s policy as a gateway does, where it is told that it is one', async () => {
    const text = "version: 1\nrules: [{ id: two, match: { effect: write }, verdict: ask, approvers: 'group:dba', min: 2 }]\n";
    writeFileSync(join(cwd, 'shared.yaml'), text);
    assert.match((await countersign('policy check --organisation shared.yaml')).error, /needs the shared gateway/);
    assert.deepEqual(await countersign('policy check --gateway shared.yaml'), { code: 0, out: 'together: good. 1 rule, 0 connections.', error: '' });
    writeFileSync(
      join(cwd, 'sharedcases.yaml'),
      'policy: { gateway: shared.yaml }\ncases: [{ name: a, operation: { effect: write }, expect: { verdict: ask, rule: two } }]\n',
    );
    assert.match((await countersign('policy test sharedcases.yaml')).out, /1 passed, 0 failed/);
    assert.equal((await countersign('policy check --gateway shared.yaml --organisation shared.yaml')).code, 2);
  });

  it('explains one operation', async () => {
    const explained = await countersign('policy explain good.yaml operation.json');
    assert.equal(explained.code, 0);
    assert.match(explained.out, /^deny by refunds \(user, good\.yaml:3\)\nbecause effect is write, target is orders\nsays: Not here\.\n/);
    assert.match(explained.out, /^ {2}deny {2}no-mass-change \(built in\): bulk is false, not true$/m);
    assert.match((await countersign('policy explain -', '{effect: read}')).out, /^allow by reads-allowed/);
    assert.match((await countersign('policy explain -', '{effect: update}')).error, /effect/);
    assert.match((await countersign('policy explain -', '{')).error, /^-:1:\d+: This is not valid YAML/);
  });

  it('runs cases and prints what fails', async () => {
    const tested = await countersign('policy test cases.yaml');
    assert.equal(tested.code, 1);
    assert.match(tested.out, /^ok {4}one\nFAIL {2}two: expected deny, got allow by reads-allowed: .*\n1 passed, 1 failed$/);
    assert.match((await countersign('policy test badcases.yaml')).error, /^badcases\.yaml:2:\d+: .*effect/);
    assert.match((await countersign('policy test cases.yaml --user loose.yaml')).out, /FAIL {2}one: .*got allow by writes-allowed/);
  });

  it('prints the schema and the built-in policy', async () => {
    assert.equal((JSON.parse((await countersign('policy schema')).out) as { type: string }).type, 'object');
    assert.match((await countersign('policy builtin')).out, /no-mass-change/);
  });

  it('works as a program', () => {
    const ran = spawnSync(process.execPath, [MAIN, 'policy', 'explain', '-'], { input: '{ effect: delete, bulk: true }', encoding: 'utf8', cwd });
    assert.equal(ran.status, 0);
    assert.match(ran.stdout, /^deny by no-mass-change/);
  });
});
