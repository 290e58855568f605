/**
 * `match`: what a rule speaks of. A rule that stops is read widely (any target, either case); a rule that allows narrowly
 * (every target, the exact name): where the two readings differ, the operation is not let through.
 */
import type { Facts } from '../../contract/facts.ts';
import { glob, globWithin, type TextTest } from './glob.ts';
import { linearRegex, MAX_MATCHED_CHARS } from './linearRegex.ts';
import type { DecisionContext } from './policy.ts';
import type { Path } from './problems.ts';
import type { MatchShape } from './schema.ts';

/** The contract's cap on targets and columns: a list this long may have been cut, so "all of them" cannot be said of it. */
const MAX_LISTED = 500;
/** Most values of an argument that a pattern is tried on. */
const MAX_LEAVES = 2000;

export interface Clause {
  readonly key: string;
  /** Whether it looks at arguments: another call of the same thing may answer otherwise. */
  readonly varies?: boolean;
  test(facts: Facts, context: DecisionContext): boolean;
  /** What the operation has, in words; with `wanted`, enough to explain both answers. */
  has(facts: Facts, context: DecisionContext): string;
  readonly wanted: string;
}

export interface Matcher {
  readonly clauses: readonly Clause[];
  /** The effects it can match; undefined: any. */
  readonly effects: ReadonlySet<string> | undefined;
  readonly cacheable: boolean;
  /** Whether it can speak of operations of a protocol. */
  readonly speaksOf: (protocol: string) => boolean;
  /** Patterns that are searched for in arguments. */
  readonly cost: number;
}

export interface MatchError {
  readonly path: Path;
  readonly message: string;
}

const list = <T>(value: T | readonly T[]): readonly T[] => (Array.isArray(value) ? (value as readonly T[]) : [value as T]);
const joined = (items: readonly string[]): string =>
  items.length === 0 ? 'none' : items.length > 4 ? `${items.slice(0, 4).join(', ')} and ${items.length - 4} more` : items.join(', ');

export function compileMatch(match: MatchShape | undefined, allows: boolean): { matcher: Matcher; errors: readonly MatchError[] } {
  const clauses: Clause[] = [];
  const errors: MatchError[] = [];
  let cacheable = true;
  const any = (patterns: string | readonly string[]): TextTest => {
    const tests = list(patterns).map((pattern) => glob(pattern, !allows));
    const [only] = tests;
    return only && tests.length === 1 ? only : (text) => tests.some((test) => test(text));
  };
  /** One word of the operation against patterns. */
  const one = (
    key: string,
    patterns: string | readonly string[] | undefined,
    get: (facts: Facts, context: DecisionContext) => readonly (string | undefined)[],
  ): void => {
    if (patterns === undefined) return;
    const test = any(patterns);
    const words = (facts: Facts, context: DecisionContext): string[] => get(facts, context).filter((word) => word !== undefined);
    clauses.push({
      key,
      wanted: joined(list(patterns)),
      test: (facts, context) => get(facts, context).some((word) => word !== undefined && test(word)),
      has: (facts, context) => joined(words(facts, context)),
    });
  };
  /** A list of the operation against patterns: any of it to stop, all of it to allow. */
  const many = (
    key: string,
    patterns: string | readonly string[] | undefined,
    get: (facts: Facts) => readonly string[] | undefined,
    compile: (pattern: string) => TextTest = (pattern) => glob(pattern, !allows),
  ): void => {
    if (patterns === undefined) return;
    const tests = list(patterns).map(compile);
    const test: TextTest = (text) => tests.some((matches) => matches(text));
    clauses.push({
      key,
      wanted: joined(list(patterns)),
      test: (facts) => {
        const items = get(facts);
        if (!items || items.length === 0) return false;
        return allows ? items.length < MAX_LISTED && items.every(test) : items.some(test);
      },
      has: (facts) => joined(get(facts) ?? []),
    });
  };
  const flag = (key: string, wanted: boolean | undefined, get: (facts: Facts) => boolean | undefined): void => {
    if (wanted === undefined) return;
    clauses.push({ key, wanted: String(wanted), test: (facts) => get(facts) === wanted, has: (facts) => String(get(facts) ?? 'not known') });
  };
  const columns = (key: string, wanted: boolean | string | readonly string[] | undefined, get: (facts: Facts) => readonly string[] | undefined): void => {
    if (typeof wanted !== 'boolean') return many(key, wanted, get);
    clauses.push({
      key,
      wanted: wanted ? 'some' : 'none',
      test: (facts) => {
        const items = get(facts);
        return items !== undefined && items.length > 0 === wanted;
      },
      has: (facts) => joined(get(facts) ?? []),
    });
  };

  const effect = match?.effect === undefined ? undefined : new Set<string>(list(match.effect));
  if (effect) clauses.push({ key: 'effect', wanted: [...effect].join(' or '), test: (facts) => effect.has(facts.effect), has: (facts) => facts.effect });
  flag('bulk', match?.bulk, (facts) => facts.bulk);
  one('connection', match?.connection, (_facts, context) => [context.connection]);
  one('protocol', match?.protocol, (_facts, context) => [context.protocol]);
  one('verb', match?.verb, (facts) => [facts.verb]);
  many('target', match?.target, (facts) => facts.targets.map((target) => target.name), targetTest(allows));
  columns('sensitive', match?.sensitive, (facts) => facts.sensitive);
  if (match?.agent !== undefined && allows) {
    errors.push({
      path: ['agent'],
      message: '`agent` is what the client says of itself, so a rule that allows cannot match it. Match `surface` or `person`, or let the rule ask.',
    });
  }
  one('agent', match?.agent, (_facts, { actor }) => [actor.agent.kind, actor.agent.name]);
  // A display name is not an identity: it can stop, not allow.
  one('person', match?.person, (_facts, { actor }) => (allows ? [actor.person.subject] : [actor.person.subject, actor.person.name]));
  one('group', match?.group, (_facts, { actor }) => actor.person.groups);
  one('surface', match?.surface, (_facts, context) => [context.surface]);

  const sql = match?.sql;
  one('sql.statement', sql?.statement, (facts) => [facts.sql?.statement]);
  flag('sql.where', sql?.where, (facts) => facts.sql?.where);
  flag('sql.masks', sql?.masks, (facts) => facts.sql && (facts.sql.masks ?? false));
  flag('sql.session', sql?.session, (facts) => facts.sql?.session);
  many('sql.function', sql?.function, (facts) => facts.sql?.functions);
  columns('sql.returned', sql?.returned, (facts) => facts.sql?.returned);
  columns('sql.predicates', sql?.predicates, (facts) => facts.sql?.predicates);
  columns('sql.written', sql?.written, (facts) => facts.sql?.written);

  const mcp = match?.mcp;
  one('mcp.method', mcp?.method, (facts) => [facts.mcp?.method]);
  one('mcp.tool', mcp?.tool, (facts) => [facts.mcp?.tool]);
  flag('mcp.outward', mcp?.outward, (facts) => facts.mcp?.outward);
  if (mcp?.secrets !== undefined) {
    cacheable = false;
    const before = clauses.length;
    columns('mcp.secrets', mcp.secrets, (facts) => facts.mcp && (facts.mcp.secrets ?? []));
    for (const clause of clauses.splice(before)) clauses.push({ ...clause, varies: true });
  }
  for (const [name, pattern] of Object.entries(mcp?.args ?? {})) {
    cacheable = false;
    const regex = linearRegex(pattern);
    if (!regex.ok) {
      errors.push({ path: ['mcp', 'args', name], message: `In this pattern: ${regex.why}.` });
      continue;
    }
    clauses.push({
      key: `mcp.args.${name}`,
      varies: true,
      wanted: `/${pattern}/`,
      test: (facts) => argumentMatches(facts, name, allows ? regex.whole : regex.found, allows),
      // The value itself stays out of the sentence: it may be sensitive.
      has: (facts) => (facts.mcp && (name === '*' || Object.hasOwn(facts.mcp.args, name)) ? 'a value' : 'no such argument'),
    });
  }
  const protocols = match?.protocol === undefined ? undefined : new Set<string>(list(match.protocol));
  const speaksOf = (protocol: string): boolean =>
    protocols ? protocols.has(protocol) : mcp !== undefined ? protocol === 'mcp' : sql === undefined || protocol !== 'mcp';
  return { matcher: { clauses, effects: effect, cacheable, speaksOf, cost: Object.keys(mcp?.args ?? {}).length }, errors };
}

/** Facts name tables of the public schema without it, so `public.x` speaks of names without a schema. */
function targetTest(allows: boolean): (pattern: string) => TextTest {
  return (pattern) => {
    const rest = /^public\.(.+)$/i.exec(pattern)?.[1];
    // `*` alone is everything; within a name it stays inside one part of it when it allows, so that `o*` is not `other.secrets`.
    const test = allows && pattern !== '*' ? globWithin(rest ?? pattern, '.') : glob(rest ?? pattern, !allows);
    return rest === undefined ? test : (name) => !name.includes('.') && test(name);
  };
}

function argumentMatches(facts: Facts, name: string, regex: RegExp, allows: boolean): boolean {
  const args = facts.mcp?.args;
  if (!args) return false;
  // Some servers read `Path` as `path`, and of two the last: a rule that stops is met by any spelling, one that allows by the one alone.
  const spelt = name === '*' ? [] : Object.keys(args).filter((key) => folded(key) === folded(name));
  if (name !== '*' && (spelt.length === 0 || (allows && (spelt.length > 1 || spelt[0] !== name)))) return false;
  const leaves: string[] = [];
  const complete = name === '*' ? collect(args, leaves, 0) : spelt.every((key) => collect(args[key], leaves, 0));
  const test = (text: string): boolean => (text.length > MAX_MATCHED_CHARS ? !allows : regex.test(text));
  if (allows) return complete && leaves.length > 0 && leaves.every(test);
  return !complete || leaves.some(test);
}

/** Also of letters that only become the same by way of the other case: the Kelvin sign, a long s. */
function folded(key: string): string {
  return key.toLowerCase().toUpperCase();
}

/** Every text in a value. False where there is more than is looked at: then a rule that stops does, and none allows. */
function collect(value: unknown, into: string[], depth: number): boolean {
  if (depth > 32 || into.length >= MAX_LEAVES) return false;
  if (typeof value === 'object' && value !== null) return Object.values(value).every((inner) => collect(inner, into, depth + 1));
  into.push(String(value));
  return true;
}
