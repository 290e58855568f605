/** `when`: conditions in CEL over the facts of an operation, type-checked when the policy is loaded. */
import { type ASTNode, Environment, type ParseResult } from '@marcbachmann/cel-js';
import { EFFECTS, type Facts } from '../../contract/facts.ts';
import { linearRegex, MAX_MATCHED_CHARS } from './linearRegex.ts';
import type { DecisionContext } from './policy.ts';
import { suggestValue } from './suggest.ts';

/** How deep `exists`, `all`, `map` and `filter` may stand in each other: bounds the work that one condition can cause. */
const MAX_NESTED_LOOPS = 2;
const NESTED_COST = 100;
const LIMITS = { maxAstNodes: 500, maxDepth: 40, maxListElements: 200, maxMapEntries: 50, maxCallArguments: 16 };
const LOOPS = new Set(['exists', 'all', 'exists_one', 'map', 'filter', 'sortBy', 'transformList', 'transformMap']);

/** Facts that only some operations have. */
const FAMILIES = ['sql', 'mcp'] as const;
type Family = (typeof FAMILIES)[number];

/** What a condition can see, for messages, completion and hover. */
export const CONDITION_VARIABLES: Readonly<Record<string, { readonly fields: Readonly<Record<string, string>>; readonly about: string }>> = {
  op: {
    about: 'The operation.',
    fields: { effect: 'string', verb: 'string', targets: 'list<Target>', bulk: 'bool', sensitive: 'list<string>' },
  },
  connection: { about: 'The connection it goes to.', fields: { name: 'string', protocol: 'string' } },
  conversation: { about: 'What this run of the agent has touched so far: targets as `connection/name`.', fields: { read: 'list<Read>' } },
  sql: {
    about: 'Facts that only SQL has.',
    fields: {
      statement: 'string',
      where: 'bool',
      functions: 'list<string>',
      returned: 'list<string>',
      predicates: 'list<string>',
      written: 'list<string>',
      session: 'bool',
      equality: 'bool',
      masks: 'bool',
    },
  },
  mcp: {
    about: 'Facts that only MCP has.',
    fields: { method: 'string', tool: 'string', args: 'map<string, dyn>', hints: 'map<string, bool>', secrets: 'list<string>', outward: 'bool' },
  },
};
const PERSON = { issuer: 'string', subject: 'string', name: 'string', groups: 'list<string>' };
const AGENT = { kind: 'string', name: 'string', version: 'string' };

function environment(withAgent: boolean): Environment {
  const env = new Environment({ limits: LIMITS })
    .registerType('Target', { fields: { kind: 'string', name: 'string' } })
    .registerType('Read', { fields: { target: 'string', sensitive: 'bool' } })
    .registerVariable('surface', 'string')
    .registerVariable({ name: 'actor', schema: withAgent ? { person: PERSON, agent: AGENT } : { person: PERSON } })
    .registerFunction({
      name: 'matchesLinear',
      receiverType: 'string',
      returnType: 'bool',
      params: [{ name: 'pattern', type: 'string' }],
      handler: (text: string, pattern: string) => matches(text, pattern),
    });
  for (const [name, { fields }] of Object.entries(CONDITION_VARIABLES)) env.registerVariable({ name, schema: { ...fields } });
  return env;
}

const FULL = environment(true);
/** For rules that allow: what an agent says of itself is out of sight. */
const WITHOUT_AGENT = environment(false);

const patterns = new Map<string, RegExp>();

function matches(text: string, pattern: string): boolean {
  const regex = patterns.get(pattern);
  if (!regex) throw new Error('a pattern that was not checked');
  if (text.length > MAX_MATCHED_CHARS) throw new Error(`text longer than ${MAX_MATCHED_CHARS} characters is not searched`);
  return regex.test(text);
}

export type ConditionResult =
  | { readonly result: 'yes' }
  | { readonly result: 'no' }
  /** The condition speaks of facts that this operation does not have. */
  | { readonly result: 'absent'; readonly family: Family }
  | { readonly result: 'error'; readonly why: string };

export interface Condition {
  readonly source: string;
  /** False where it looks at arguments or the conversation, so that a verdict cannot be kept per shape. */
  readonly cacheable: boolean;
  /** The effects of which it can hold, where its first conjunct says so (`op.effect == "send" && …`); undefined: any. */
  readonly effects: ReadonlySet<string> | undefined;
  /** How much work it can be: loops and searches, with loops within loops counted many times. */
  readonly cost: number;
  evaluate(facts: Facts, context: DecisionContext): ConditionResult;
}

export type CompiledCondition =
  | { readonly ok: true; readonly condition: Condition }
  /** `at` is an offset into the source. */
  | { readonly ok: false; readonly message: string; readonly at: number };

/** @param allows whether the rule's verdict is `allow` */
export function compileCondition(source: string, allows: boolean): CompiledCondition {
  const env = allows ? WITHOUT_AGENT : FULL;
  let parsed: ParseResult;
  try {
    parsed = FULL.parse(source);
  } catch (cause) {
    return failed(cause, 'This condition cannot be read');
  }
  const linear = makeLinear(source, parsed.ast);
  if (!linear.ok) return linear;
  const lint = lintEffects(parsed.ast) ?? lintLoops(parsed.ast, 0);
  if (lint) return { ok: false, ...lint };
  const checked = env.check(linear.source);
  if (!checked.valid) {
    if (allows && FULL.check(linear.source).valid) {
      return {
        ok: false,
        at: Math.max(0, source.indexOf('agent')),
        message:
          '`actor.agent` is what the client says of itself, so a rule that allows cannot look at it. Use `surface`, `actor.person` or the operation’s facts.',
      };
    }
    return failed(checked.error, 'This condition does not fit');
  }
  if (checked.type !== 'bool') {
    return { ok: false, at: 0, message: `This condition gives ${checked.type ?? 'no'} where true or false is needed. Compare it with something.` };
  }
  const evaluate = env.parse(linear.source);
  const uses = references(parsed.ast);
  return {
    ok: true,
    condition: {
      source,
      cost: costOf(parsed.ast, 0),
      effects: effectsOf(parsed.ast),
      cacheable: !uses.has('conversation') && !mentionsArgs(parsed.ast),
      evaluate(facts, context) {
        try {
          const value: unknown = evaluate(variables(facts, context, !allows, uses));
          if (value === true) return { result: 'yes' };
          if (value === false) return { result: 'no' };
          return { result: 'error', why: 'it did not give true or false' };
        } catch (cause) {
          const family = FAMILIES.find((name) => uses.has(name) && facts[name] === undefined);
          return family ? { result: 'absent', family } : { result: 'error', why: summary(cause) };
        }
      },
    },
  };
}

/** Exactly what is declared and no more (`dyn(…)` steps around the types), and of that what the condition speaks of. */
function variables(facts: Facts, context: DecisionContext, withAgent: boolean, uses: ReadonlySet<string>): Record<string, unknown> {
  const { person, agent } = context.actor;
  const { effect, verb, targets, bulk, sensitive, sql, mcp } = facts;
  return {
    ...(uses.has('op') && { op: { effect, verb, targets, bulk, sensitive } }),
    ...(uses.has('actor') && { actor: { person: { name: '', ...person }, ...(withAgent && { agent: { version: '', ...agent } }) } }),
    ...(uses.has('connection') && { connection: { name: context.connection, protocol: context.protocol } }),
    ...(uses.has('surface') && { surface: context.surface }),
    ...(uses.has('conversation') && { conversation: { read: context.conversationRead } }),
    ...(sql && uses.has('sql') && { sql: { equality: false, masks: false, ...sql } }),
    ...(mcp && uses.has('mcp') && { mcp: { secrets: [], outward: true, ...mcp } }),
  };
}

function summary(cause: unknown): string {
  if (typeof cause === 'object' && cause !== null && 'summary' in cause && typeof cause.summary === 'string') return cause.summary;
  return cause instanceof Error ? (cause.message.split('\n', 1)[0] ?? '') : 'unknown error';
}

function failed(cause: unknown, start: string): CompiledCondition {
  const range = typeof cause === 'object' && cause !== null && 'range' in cause ? (cause.range as { start?: unknown } | undefined) : undefined;
  const why = summary(cause);
  const unknownName = /^(?:Unknown variable|No such key): (\w+)/.exec(why)?.[1];
  const words = [
    ...Object.keys(CONDITION_VARIABLES),
    'actor',
    'surface',
    'person',
    'agent',
    ...Object.values(CONDITION_VARIABLES).flatMap((v) => Object.keys(v.fields)),
  ];
  const hint = unknownName ? suggestName(unknownName, words) : '';
  return { ok: false, at: typeof range?.start === 'number' ? range.start : 0, message: `${start}: ${why}.${hint}` };
}

function suggestName(name: string, words: readonly string[]): string {
  const suggestion = suggestValue(name, words);
  return suggestion.startsWith(' Choose') ? ` It can look at ${Object.keys(CONDITION_VARIABLES).join(', ')}, actor and surface.` : suggestion;
}

/** The nodes right below one. */
function children(node: ASTNode): ASTNode[] {
  const collect = (value: unknown): ASTNode[] => {
    if (Array.isArray(value)) return value.flatMap(collect);
    if (typeof value === 'object' && value !== null && 'op' in value && 'args' in value) return [value as ASTNode];
    return [];
  };
  return collect(node.args);
}

function* everyNode(node: ASTNode): Generator<ASTNode> {
  yield node;
  for (const child of children(node)) yield* everyNode(child);
}

function references(ast: ASTNode): Set<string> {
  const names = new Set<string>();
  for (const node of everyNode(ast)) if (node.op === 'id') names.add(node.args);
  return names;
}

/** Anything but a plain field of `mcp` other than `args` and `secrets` counts: `mcp["args"]`, or `mcp` handed on whole. */
function mentionsArgs(ast: ASTNode): boolean {
  const isMcp = (node: ASTNode): boolean => node.op === 'id' && node.args === 'mcp';
  const look = (node: ASTNode): boolean => {
    if (isMcp(node)) return true;
    if (node.op === '.' && isMcp(node.args[0])) return node.args[1] === 'args' || node.args[1] === 'secrets';
    return children(node).some(look);
  };
  return look(ast);
}

/** The string of a literal node. */
function literal(node: ASTNode | undefined): string | undefined {
  return node?.op === 'value' && typeof node.args === 'string' ? node.args : undefined;
}

/** Swaps `matches`, which CEL runs with a backtracking engine, for one that cannot hang. */
function makeLinear(source: string, ast: ASTNode): { ok: true; source: string } | { ok: false; message: string; at: number } {
  const cuts: { from: number; to: number }[] = [];
  for (const node of everyNode(ast)) {
    if (node.op === 'call' && /^matches(Linear)?$/.test(node.args[0])) return { ok: false, at: node.start, message: 'Write `text.matches("pattern")`.' };
    if (node.op !== 'rcall') continue;
    const [name, receiver, args] = node.args;
    if (name === 'matchesLinear') return { ok: false, at: node.start, message: 'There is no function `matchesLinear`. Write `matches`.' };
    if (name !== 'matches') continue;
    const pattern = literal(args[0]);
    if (pattern === undefined || args.length !== 1)
      return { ok: false, at: args[0]?.start ?? node.start, message: '`matches` needs its pattern as text in quotes.' };
    const regex = linearRegex(pattern);
    if (!regex.ok) return { ok: false, at: args[0]?.start ?? node.start, message: `In \`matches\`, ${regex.why}.` };
    const between = /^[\s)]*\.\s*(?=matches)/.exec(source.slice(receiver.end));
    if (!between) return { ok: false, at: node.start, message: 'Write `text.matches("pattern")` without comments in between.' };
    patterns.set(pattern, regex.found);
    cuts.push({ from: receiver.end + between[0].length, to: receiver.end + between[0].length + 'matches'.length });
  }
  cuts.sort((a, b) => b.from - a.from);
  return { ok: true, source: cuts.reduce((text, cut) => `${text.slice(0, cut.from)}matchesLinear${text.slice(cut.to)}`, source) };
}

function isEffect(node: ASTNode): boolean {
  return node.op === '.' && node.args[1] === 'effect' && node.args[0].op === 'id' && node.args[0].args === 'op';
}

/**
 * The first conjunct alone is looked at: where that is false, nothing after it is worked out, so that nothing after it can
 * fail either, and the rule does not ask for it.
 */
function effectsOf(ast: ASTNode): ReadonlySet<string> | undefined {
  let first = ast;
  while (first.op === '&&') [first] = first.args;
  if (first.op !== '==' && first.op !== 'in') return undefined;
  const [left, right] = first.args;
  if (first.op === 'in' && !isEffect(left)) return undefined;
  const other = isEffect(left) ? right : isEffect(right) ? left : undefined;
  if (!other) return undefined;
  const words = (first.op === 'in' && other.op === 'list' ? other.args : [other]).map(literal);
  const known = words.filter((word) => word !== undefined);
  return known.length === words.length ? new Set(known) : undefined;
}

/** `op.effect == "update"` would never hold, and nobody would know. */
function lintEffects(ast: ASTNode): { message: string; at: number } | undefined {
  for (const node of everyNode(ast)) {
    if (node.op !== '==' && node.op !== '!=' && node.op !== 'in') continue;
    const [left, right] = node.args;
    const others = isEffect(left) ? [right] : isEffect(right) ? [left] : [];
    for (const value of others.flatMap((other) => (other.op === 'list' ? other.args : [other]))) {
      const word = literal(value);
      if (word !== undefined && !(EFFECTS as readonly string[]).includes(word)) {
        return { at: value.start, message: `\`op.effect\` is never \`${word.slice(0, 60)}\`.${suggestValue(word, EFFECTS)}` };
      }
    }
  }
  return undefined;
}

function costOf(node: ASTNode, depth: number): number {
  const loop = node.op === 'rcall' && LOOPS.has(node.args[0]);
  const search = node.op === 'rcall' && node.args[0] === 'matches';
  const own = loop ? (depth === 0 ? 1 : NESTED_COST) : search ? 1 : 0;
  return children(node).reduce((sum, child) => sum + costOf(child, loop ? depth + 1 : depth), own);
}

function lintLoops(node: ASTNode, depth: number): { message: string; at: number } | undefined {
  const loop = node.op === 'rcall' && LOOPS.has(node.args[0]);
  if (loop && depth >= MAX_NESTED_LOOPS)
    return { at: node.start, message: `\`${node.args[0]}\` stands inside ${MAX_NESTED_LOOPS} others. Say it more simply.` };
  for (const child of children(node)) {
    const problem = lintLoops(child, loop ? depth + 1 : depth);
    if (problem) return problem;
  }
  return undefined;
}
