import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Condition, compileCondition } from '../../../proxy/policy/condition.ts';
import { context, facts, good, mcpFacts, sqlFacts, tables, user } from './examples.ts';

const compile = (source: string, allows = false): Condition => {
  const result = compileCondition(source, allows);
  if (!result.ok) throw new Error(result.message);
  return result.condition;
};
const message = (source: string, allows = false): string => {
  const result = compileCondition(source, allows);
  return result.ok ? 'fine' : `${result.at} ${result.message}`;
};

describe('a condition', () => {
  it('sees operation, actor, connection, surface, conversation and the protocol’s own facts', () => {
    const given = facts({ effect: 'write', targets: tables('orders', 'items'), sensitive: ['orders.note'], sql: sqlFacts({ written: ['orders.note'] }) });
    const there = context({ conversationRead: [{ target: 'shop/customers', sensitive: true }] });
    for (const source of [
      'op.effect == "write" && op.verb == "SELECT" && !op.bulk',
      'op.targets.exists(t, t.name == "items" && t.kind == "table")',
      '"orders.note" in op.sensitive',
      'actor.person.subject == "ada" && "dev" in actor.person.groups && actor.agent.kind == "claude-code" && actor.agent.version == ""',
      'connection.name == "shop" && connection.protocol == "postgres" && surface == "terminal"',
      'conversation.read.exists(t, t.sensitive && t.target.startsWith("shop/"))',
      'sql.written.size() > 0 && sql.where && !sql.equality',
    ]) {
      assert.deepEqual(compile(source).evaluate(given, there), { result: 'yes' }, source);
    }
    assert.deepEqual(
      compile('mcp.tool == "create_issue" && has(mcp.args.n) && mcp.args.n > 2').evaluate(facts({ mcp: mcpFacts({ args: { n: 3 } }) }), context()),
      { result: 'yes' },
    );
  });

  it('is checked when the file is loaded', () => {
    assert.match(message('op.efect == "read"'), /^3 .*Did you mean `effect`/);
    assert.match(message('foo.bar'), /Unknown variable: foo.*It can look at/);
    assert.match(message('op.bulk &&'), /cannot be read/);
    assert.match(message('op.effect'), /gives string where true or false is needed/);
    assert.match(message('op.effect == 1'), /does not fit/);
    assert.match(message('op.effect == "update"'), /`op.effect` is never `update`.*`verb: UPDATE`/);
    assert.match(message('op.effect in ["read", "wirte"]'), /Did you mean `write`/);
    assert.match(message('x'.repeat(4_000)), /Unknown variable/);
    assert.match(message(`${'('.repeat(100)}true${')'.repeat(100)}`), /cannot be read|fine/);
    assert.match(message(Array.from({ length: 400 }, () => 'op.bulk').join(' && ')), /cannot be read/);
  });

  it('cannot be made to hang', () => {
    assert.match(message('op.verb.matches("(?=a)b")'), /bounded time/);
    assert.match(message('op.verb.matches(op.effect)'), /pattern as text in quotes/);
    assert.match(message('matches(op.verb, "a")'), /Write `text.matches/);
    assert.match(message('op.verb.matchesLinear("a")'), /no function/);
    assert.match(message('op.targets.exists(a, op.targets.exists(b, op.targets.exists(c, a == b)))'), /stands inside 2 others/);
    const hostile = compile('op.verb.matches("^(a+)+$")');
    const started = performance.now();
    assert.deepEqual(hostile.evaluate(facts({ verb: `${'a'.repeat(60)}!` }), context()), { result: 'no' });
    assert.ok(performance.now() - started < 20_000, 'it would take hours');
    assert.deepEqual(compile('(op.verb).matches("^S")').evaluate(facts(), context()), { result: 'yes' });
    assert.equal(hostile.evaluate(facts({ verb: 'a'.repeat(70_000) }), context()).result, 'error');
  });

  it('reaches nothing but data', () => {
    const given = facts({ mcp: mcpFacts({ args: JSON.parse('{"__proto__": {"x": 1}}') as Record<string, unknown> }) });
    for (const name of ['constructor', 'toString', 'hasOwnProperty']) {
      assert.notEqual(compile(`has(mcp.args.${name})`).evaluate(given, context()).result, 'yes', name);
      assert.notEqual(compile(`mcp.args["${name}"] != null`).evaluate(given, context()).result, 'yes', name);
    }
  });

  it('cannot step around the types to see more than is declared', () => {
    const given = facts({ mcp: mcpFacts({ args: { x: '1' } }) });
    for (const source of ['dyn(op).mcp.args.x == "1"', 'dyn(op).headline != ""', 'dyn(op)["notes"] != null'])
      assert.notEqual(compile(source).evaluate(given, context()).result, 'yes', source);
    assert.notEqual(compile('dyn(actor).agent.kind == "claude-code"', true).evaluate(given, context()).result, 'yes');
    assert.equal(compile('dyn(mcp).args.x == "1"').cacheable, false);
  });

  it('knows when a verdict can be kept', () => {
    assert.equal(compile('op.bulk && mcp.tool == "x"').cacheable, true);
    assert.equal(compile('mcp.args.x == "1"').cacheable, false);
    assert.equal(compile('has(mcp.args.x)').cacheable, false);
    assert.equal(compile('conversation.read.size() > 0').cacheable, false);
  });

  it('says which effects it can hold for, where nothing before that can fail', () => {
    assert.deepEqual(compile('op.effect == "send" && conversation.read.size() > 0').effects, new Set(['send']));
    assert.deepEqual(compile('(op.effect in ["write", "delete"] && op.bulk) && mcp.args.x == "1"').effects, new Set(['write', 'delete']));
    assert.deepEqual(compile('"send" == op.effect').effects, new Set(['send']));
    for (const any of ['mcp.args.x == "1" && op.effect == "send"', 'op.effect == "send" || op.bulk', 'op.effect != "send"', 'op.effect == op.verb', 'op.bulk'])
      assert.equal(compile(any).effects, undefined, any);
  });

  it('speaks only of operations that have the facts it names', () => {
    const sql = compile('!sql.where');
    assert.deepEqual(sql.evaluate(facts(), context()), { result: 'absent', family: 'sql' });
    assert.deepEqual(compile('op.bulk || !sql.where').evaluate(facts({ bulk: true }), context()), { result: 'yes' });
  });
});

describe('a condition that fails', () => {
  it('asks, says why, and never lets through what the default would stop', () => {
    const rules = (verdict: string): string =>
      `version: 1\ndefaults: { read: deny }\nrules:\n  - { id: r, when: 'mcp.args.path == "a"', verdict: ${verdict} }\n`;
    const call = facts({ effect: 'write', mcp: mcpFacts({ args: {} }) });
    for (const verdict of ['allow', 'deny', 'ask']) {
      const decided = good(user(rules(verdict))).decide(call, context());
      assert.equal(decided.decision, 'ask');
      assert.equal(decided.rule.id, 'r');
      assert.match(decided.because, /could not be worked out \(No such key: path\).*has/);
      assert.equal(good(user(rules(verdict))).decide({ ...call, effect: 'read' }, context()).decision, 'deny');
    }
  });
});
