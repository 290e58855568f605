/** Policy files → the policy in force, or everything that is wrong with them. Pure: reads nothing but what it is given. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Person } from '../../contract/actor.ts';
import type { PolicyProblem } from '../../contract/control.ts';
import { EFFECTS, type Effect, type Facts } from '../../contract/facts.ts';
import { DECISIONS, type Decision, type MaskKind, type RuleRef, type Verdict } from '../../contract/verdict.ts';
import { BUILTIN_FILE, BUILTIN_POLICY } from './builtin.ts';
import { compileConnection } from './connections.ts';
import { Decider, type RuleSet } from './decision.ts';
import { type Explanation, explainRules } from './explain.ts';
import { atLeastAsStrict, columnKey, type DetectorSettings, planOf } from './masks.ts';
import type { ConnectionConfig, DecisionContext, MaskPlan, McpConnection, Policy } from './policy.ts';
import { type Found, found, MAX_PROBLEMS, noProblems, type Path, type Problems, plain } from './problems.ts';
import { type CompiledRule, compileRules, DEFAULT_RULE_IDS, defaultRule } from './rules.ts';
import { type DefaultsShape, MAX_CONNECTIONS, MAX_RULES, MAX_SENSITIVE, Outline, TightenMcpShape, TightenShape } from './schema.ts';
import { shapeErrors, valueAt } from './shapeErrors.ts';
import { type TokensShape, tightenTokens, tokenRules } from './tokens.ts';
import { readYaml, type YamlText } from './yamlText.ts';

/** Most layers that one policy is made of: the organisation's, the user's, and one for each workspace folder. */
export const MAX_LAYERS = 20;

export interface PolicyLayer {
  readonly layer: 'organisation' | 'user' | 'workspace';
  /** As shown to a person. */
  readonly file: string;
  readonly text: string;
  /** For a workspace: whether the person trusts it. Left out: it does not. Other layers are always trusted. */
  readonly trusted?: boolean;
  /** From a gateway, for this person: above every file, the organisation's own as well. */
  readonly signed?: { readonly person: Person };
}

export interface LoadOptions {
  /** There is a shared gateway: what only it can do may be asked for. */
  readonly gateway?: boolean;
}

export interface LoadedPolicy extends Policy {
  /** Rules of the files and of the built-in policy, defaults not counted. */
  readonly rules: readonly { readonly ref: RuleRef; readonly decision: Decision }[];
  /** Every rule, whether it matched and why, with the verdict that came of it. */
  explain(facts: Facts, context: DecisionContext): Explanation;
}

export type LoadResult =
  | { readonly ok: true; readonly policy: LoadedPolicy; readonly warnings: readonly PolicyProblem[] }
  | { readonly ok: false; readonly problems: readonly PolicyProblem[]; readonly warnings: readonly PolicyProblem[] };

/**
 * Loops and searches in an untrusted workspace's rules: a cloned repository must not be able to slow down every decision.
 */
const MAX_UNTRUSTED_COST = 50;

/** One layer, read and compiled by itself. */
interface CompiledLayer {
  readonly source: PolicyLayer;
  readonly yaml: YamlText;
  readonly defaults: DefaultsShape;
  readonly rules: readonly CompiledRule[];
  readonly connections: ReadonlyMap<string, unknown>;
}

/**
 * The highest file (the organisation's, else the user's; never a workspace's) may loosen the built-in defaults; every
 * layer below it only tightens. Order of `layers` does not matter, except among workspaces.
 */
export function loadPolicy(layers: readonly PolicyLayer[], options: LoadOptions = {}): LoadResult {
  const { policy, problems } = compilePolicy(layers, options);
  const warnings = problems.warnings.slice(0, MAX_PROBLEMS).map(plain);
  return policy ? { ok: true, policy, warnings } : { ok: false, problems: problems.errors.slice(0, MAX_PROBLEMS).map(plain), warnings };
}

/** The same with the extent of each problem, for the editor. */
export function compilePolicy(
  layers: readonly PolicyLayer[],
  { gateway = layers.some(({ signed }) => signed) }: LoadOptions = {},
): { readonly policy?: LoadedPolicy; readonly problems: Problems } {
  const problems = noProblems();
  const files = layers.filter(({ signed }) => !signed);
  const ordered = [
    ...layers.filter(({ signed }) => signed),
    ...(['organisation', 'user', 'workspace'] as const).flatMap((layer) => files.filter((one) => one.layer === layer)),
  ];
  for (const layer of ['organisation', 'user'] as const) {
    const extra = files.filter((one) => one.layer === layer)[1];
    if (extra) problems.errors.push(found(extra.file, { line: 1, column: 1 }, `There are two policies of the ${layer}. Keep one.`));
  }
  if (ordered.length > MAX_LAYERS) {
    problems.errors.push(
      found(ordered[MAX_LAYERS]?.file ?? '', { line: 1, column: 1 }, `A policy is made of at most ${MAX_LAYERS} files. Close some workspace folders.`),
    );
    return { problems };
  }
  const top = ordered[0]?.layer === 'workspace' ? undefined : ordered[0];
  const compiled = ordered.flatMap((layer) => compileLayer(layer, layer === top, problems, gateway) ?? []);
  const connections = mergeConnections(compiled, top, problems);
  if (problems.errors.length > 0) return { problems };

  const builtin = compileBuiltin();
  const highest = compiled.find((layer) => layer.source === top);
  const lower = compiled.filter((layer) => layer.source !== top);
  const replaced = new Set(highest?.rules.map((rule) => rule.ref.id));
  const guards = builtin.rules.filter((rule) => !replaced.has(rule.ref.id));
  const fallback = fallbackOf(builtin.defaults, { layer: 'builtin' });
  for (const [effect, rule] of highest ? fallbackOfLayer(highest) : []) fallback.set(effect, rule);
  warnMilderDefaults(fallback, lower, problems);
  const settings = detectorSettings(builtin.defaults, highest, lower, problems);

  const sets: RuleSet[] = [
    { rules: highest?.rules ?? [], fallback, lower: false },
    ...lower.map((layer) => ({ rules: layer.rules, fallback: fallbackOfLayer(layer), lower: true })),
    { rules: guards, fallback: new Map(), lower: false },
  ];
  return { policy: assemble(ordered, sets, connections, settings), problems };
}

function assemble(
  ordered: readonly PolicyLayer[],
  sets: readonly RuleSet[],
  connections: ReadonlyMap<string, ConnectionConfig>,
  settings: DetectorSettings,
): LoadedPolicy {
  const hash = createHash('sha256').update(JSON.stringify([BUILTIN_POLICY, ordered.map((l) => [l.layer, l.file, isTrusted(l), l.text, l.signed?.person])]));
  const version = hash.digest('hex');
  const decider = new Decider(sets, version);
  const plans = new Map([...connections].map(([name, connection]) => [name, planOf(connection.sensitive, settings, connection.tokens)]));
  const noColumns = planOf(new Map(), settings);
  const all = sets.flatMap((set) => set.rules);
  return {
    version,
    connections,
    cacheable: (protocol: string, effect: Effect): boolean => decider.cacheable(protocol, effect),
    deniedForGood: (facts: Facts, context: DecisionContext): boolean => decider.deniedForGood(facts, context),
    rules: all.map((rule) => ({ ref: rule.ref, decision: rule.decision })),
    decide: (facts: Facts, context: DecisionContext): Verdict => decider.decide(facts, context),
    explain: (facts, context) => explainRules(sets, decider, facts, context),
    maskPlan: (connection: string): MaskPlan => plans.get(connection) ?? noColumns,
  };
}

function isTrusted(layer: PolicyLayer): boolean {
  return layer.layer !== 'workspace' || layer.trusted === true;
}

function compileLayer(source: PolicyLayer, loosens: boolean, problems: Problems, gateway: boolean): CompiledLayer | undefined {
  const yaml = readYaml(source.text, source.file);
  problems.errors.push(...yaml.problems);
  if (yaml.problems.length > 0) return undefined;
  if (yaml.value === null || yaml.value === undefined) {
    problems.errors.push(found(source.file, { line: 1, column: 1 }, 'This policy file is empty. Begin it with `version: 1`, or delete it.'));
    return undefined;
  }
  const parsed = Outline.safeParse(yaml.value);
  if (!parsed.success) problems.errors.push(...shapeErrors(yaml, [], parsed.error.issues));
  // What can still be looked at is, so that all problems show at once.
  const { defaults = {}, connections = {}, rules = [] } = parsed.success ? parsed.data : salvage(yaml.value);
  const compiled = compileRules(yaml, rules, source.layer, loosens, problems, gateway);
  for (const rule of compiled) {
    const at: Path = ['rules', rules.findIndex((one) => valueAt(one, ['id']) === rule.ref.id), 'id'];
    if (DEFAULT_RULE_IDS.has(rule.ref.id)) {
      problems.errors.push(
        found(yaml.file, yaml.at(at), `\`${rule.ref.id}\` is what a default calls itself. Give the rule another id, or set it under \`defaults\`.`),
      );
    } else if (!loosens && builtinIds().has(rule.ref.id)) {
      problems.warnings.push(
        found(yaml.file, yaml.at(at), `Only the highest file can replace the built-in rule \`${rule.ref.id}\`: this one stands beside it.`),
      );
    }
  }
  const cost = compiled.reduce((sum, rule) => sum + rule.matcher.cost + (rule.condition?.cost ?? 0), 0);
  if (!isTrusted(source) && cost > MAX_UNTRUSTED_COST) {
    const message = 'This workspace is not trusted, and its rules loop and search too much. Trust the workspace, or make its rules simpler.';
    problems.errors.push(found(yaml.file, yaml.atKey(['rules']), message));
  }
  const { signed } = source;
  // Its rules speak of people as the organisation knows them.
  const asked = signed ? compiled.map((rule) => ({ ...rule, person: signed.person })) : compiled;
  return { source, yaml, defaults, rules: asked, connections: new Map(Object.entries(connections)) };
}

function salvage(value: unknown): { connections?: Record<string, unknown>; rules?: unknown[]; defaults?: DefaultsShape } {
  const rules = valueAt(value, ['rules']);
  const connections = valueAt(value, ['connections']);
  return {
    ...(Array.isArray(rules) && { rules: rules.slice(0, MAX_RULES) as unknown[] }),
    ...(typeof connections === 'object' && connections !== null && !Array.isArray(connections) && { connections: connections as Record<string, unknown> }),
  };
}

let builtinCompiled: { readonly rules: readonly CompiledRule[]; readonly defaults: DefaultsShape } | undefined;

function compileBuiltin(): { readonly rules: readonly CompiledRule[]; readonly defaults: DefaultsShape } {
  if (builtinCompiled) return builtinCompiled;
  const yaml = readYaml(BUILTIN_POLICY, BUILTIN_FILE);
  const outline = Outline.parse(yaml.value);
  const problems = noProblems();
  const rules = compileRules(yaml, outline.rules ?? [], 'builtin', true, problems);
  if (problems.errors.length > 0) throw new Error(`the built-in policy is broken: ${JSON.stringify(problems.errors)}`);
  builtinCompiled = { rules, defaults: outline.defaults ?? {} };
  return builtinCompiled;
}

function builtinIds(): ReadonlySet<string> {
  return new Set(compileBuiltin().rules.map((rule) => rule.ref.id));
}

function fallbackOf(defaults: DefaultsShape, where: Omit<RuleRef, 'id'>): Map<Effect, CompiledRule> {
  const rules = new Map<Effect, CompiledRule>();
  for (const effect of EFFECTS) {
    const decision = defaults[effect];
    if (decision !== undefined) rules.set(effect, defaultRule(effect, decision, where));
  }
  return rules;
}

function fallbackOfLayer({ source, yaml, defaults }: CompiledLayer): Map<Effect, CompiledRule> {
  const rules = new Map<Effect, CompiledRule>();
  for (const [effect] of fallbackOf(defaults, { layer: source.layer })) {
    const line = yaml.at(['defaults', effect]).line;
    const rule = fallbackOf(defaults, { layer: source.layer, file: source.file, line }).get(effect);
    if (rule) rules.set(effect, rule);
  }
  return rules;
}

function warnMilderDefaults(fallback: ReadonlyMap<Effect, CompiledRule>, lower: readonly CompiledLayer[], problems: Problems): void {
  for (const { yaml, source, defaults } of lower) {
    for (const effect of EFFECTS) {
      const wanted = defaults[effect];
      const above = fallback.get(effect)?.decision;
      if (wanted === undefined || above === undefined || DECISIONS.indexOf(wanted) >= DECISIONS.indexOf(above)) continue;
      const message = `The ${source.layer} can only tighten: a higher layer says \`${effect}: ${above}\`, so \`${wanted}\` has no effect.`;
      problems.warnings.push(found(yaml.file, yaml.at(['defaults', effect]), message));
    }
  }
}

/** The highest file sets masks freely; the layers below can only make them stricter. */
function detectorSettings(builtin: DefaultsShape, highest: CompiledLayer | undefined, lower: readonly CompiledLayer[], problems: Problems): DetectorSettings {
  const detectors = new Map<string, MaskKind | 'off'>([...Object.entries(builtin.detectors ?? {}), ...Object.entries(highest?.defaults.detectors ?? {})]);
  let otherwise = highest?.defaults.mask ?? builtin.mask ?? 'redact';
  for (const { yaml, source, defaults } of lower) {
    const weaker = (path: Path, above: string): Found =>
      found(yaml.file, yaml.at(path), `The ${source.layer} can only tighten: a higher layer masks this as \`${above}\`, which shows less. Ignored.`);
    // Named detectors first: what they are compared with is the mask of the layers above.
    for (const [id, mask] of Object.entries(defaults.detectors ?? {})) {
      const above = detectors.get(id) ?? otherwise;
      if (atLeastAsStrict(mask, above)) detectors.set(id, mask);
      else problems.warnings.push(weaker(['defaults', 'detectors', id], above));
    }
    if (defaults.mask === undefined) continue;
    if (atLeastAsStrict(defaults.mask, otherwise)) otherwise = defaults.mask;
    else problems.warnings.push(weaker(['defaults', 'mask'], otherwise));
  }
  return { detectors, otherwise };
}

function mergeConnections(layers: readonly CompiledLayer[], top: PolicyLayer | undefined, problems: Problems): Map<string, ConnectionConfig> {
  const connections = new Map<string, ConnectionConfig>();
  const definedIn = new Map<string, string>();
  /** What the organisation says of connections that it leaves to others to define. */
  const classified = new Map<string, Said>();
  for (const { source, yaml, connections: own } of layers) {
    for (const [name, value] of own) {
      const path: Path = ['connections', name];
      const at = yaml.atKey(path);
      const above = connections.get(name);
      if (above) {
        const tightened = tighten(yaml, path, value, above, isTrusted(source) ? definedIn.get(name) : undefined, problems);
        if (tightened) connections.set(name, tightened);
      } else if (!isTrusted(source)) {
        problems.warnings.push(
          found(
            yaml.file,
            at,
            `This workspace is not trusted, so its connection \`${name}\` is not used. Trust the workspace, or define it in your own policy.`,
          ),
        );
      } else if (source.layer === 'organisation' && isTighteningOnly(value)) {
        const problem = shapeOf(value);
        if (problem) problems.errors.push(...shapeErrors(yaml, path, problem.issues));
        else classified.set(name, { yaml, path, value: value as Said['value'] });
      } else if (source !== top && isTighteningOnly(value)) {
        problems.warnings.push(found(yaml.file, at, `No higher layer defines a connection \`${name}\`, so these masks have no effect. Check the name.`));
      } else {
        const connection = compileConnection(yaml, name, value, problems);
        if (connection) {
          const said = classified.get(name);
          connections.set(name, said ? handledAs(connection, said) : connection);
          // What a gateway says takes the place of what a file says: a new version must not break the file.
          if (!source.signed) definedIn.set(name, `${yaml.file}:${at.line}`);
        }
      }
    }
  }
  let columns = 0;
  for (const connection of connections.values()) columns += connection.sensitive.size;
  if (connections.size > MAX_CONNECTIONS || columns > MAX_SENSITIVE) {
    const file = layers.at(-1)?.source.file ?? '';
    problems.errors.push(
      found(file, { line: 1, column: 1 }, `A policy holds at most ${MAX_CONNECTIONS} connections and ${MAX_SENSITIVE} sensitive columns. Remove some.`),
    );
  }
  return connections;
}

/** What a lower layer may say of a connection, by what it says: masks of a database, or handling of an MCP server. */
const TIGHTENING = new Set(['sensitive', 'tokens', 'pin', 'hints', 'arguments', 'share']);

function isTighteningOnly(value: unknown): boolean {
  const keys = typeof value === 'object' && value !== null ? Object.keys(value) : [];
  return keys.length > 0 && keys.every((key) => TIGHTENING.has(key));
}

interface Said {
  readonly yaml: YamlText;
  readonly path: Path;
  readonly value: Record<string, unknown>;
}

/** What is wrong with the shape of such a value. */
function shapeOf(value: unknown): z.ZodError | undefined {
  return z.strictObject({ ...TightenShape.shape, ...TightenMcpShape.shape }).safeParse(value).error;
}

/** A connection that a lower layer defines, as the organisation wants such a one handled: of each, the stricter holds. */
function handledAs(connection: ConnectionConfig, { yaml, path, value }: Said): ConnectionConfig {
  const { tokens, ...rest } = value;
  const strict = tighten(yaml, path, rest, connection, undefined, noProblems()) ?? connection;
  if (tokens === undefined) return strict;
  const above = tokenRules(tokens as TokensShape, connection.name, connection.protocol === 'postgres');
  return { ...strict, tokens: tightenTokens(above, connection.tokens ?? new Map()).rules };
}

/**
 * A connection that a higher layer defines, with the masks of a lower one added.
 * @param definedIn where it is defined, when anything but masks is an error; undefined: only the masks are looked at
 */
function tighten(
  yaml: YamlText,
  path: Path,
  value: unknown,
  above: ConnectionConfig,
  definedIn: string | undefined,
  problems: Problems,
): ConnectionConfig | undefined {
  const said = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  if (!isTighteningOnly(value)) {
    const message = `Connection \`${above.name}\` is defined by a higher layer${definedIn === undefined ? '' : ` (${definedIn})`}; here, only ${above.protocol === 'mcp' ? '`pin: ask`, `hints: tighten`, `arguments: mask` and `share: session` can be said' : 'more `sensitive` columns can be added'} and \`tokens\` taken away. Use another name, or remove the rest.`;
    (definedIn === undefined ? problems.warnings : problems.errors).push(found(yaml.file, yaml.atKey(path), message));
    if (definedIn !== undefined || !Object.keys(said).some((key) => TIGHTENING.has(key))) return undefined;
  }
  if (above.protocol === 'mcp' && said.sensitive !== undefined) {
    problems.warnings.push(found(yaml.file, yaml.atKey(path), `\`${above.name}\` is not a database, so it has no columns to mask. Ignored.`));
    return undefined;
  }
  const parsed = TightenShape.safeParse({ sensitive: said.sensitive, tokens: said.tokens });
  if (!parsed.success) {
    problems.errors.push(...shapeErrors(yaml, path, parsed.error.issues));
    return undefined;
  }
  const handled = above.protocol === 'mcp' ? tightenMcp(yaml, path, said, above, problems) : above;
  const sensitive = new Map(above.sensitive);
  const byKey = new Map<string, MaskKind>();
  for (const [column, mask] of above.sensitive) {
    const before = byKey.get(columnKey(column));
    if (before === undefined || atLeastAsStrict(mask, before)) byKey.set(columnKey(column), mask);
  }
  for (const [column, mask] of Object.entries(parsed.data.sensitive ?? {})) {
    const before = byKey.get(columnKey(column));
    if (before !== undefined && !atLeastAsStrict(mask, before)) {
      const message = `A higher layer masks \`${column}\` as \`${before}\`, which shows less than \`${mask}\`. Ignored.`;
      problems.warnings.push(found(yaml.file, yaml.at([...path, 'sensitive', column]), message));
    } else sensitive.set(column, mask);
  }
  if (parsed.data.tokens === undefined) return { ...handled, sensitive };
  const below = tokenRules(parsed.data.tokens, above.name, above.protocol === 'postgres');
  const { ignored, rules } = tightenTokens(above.tokens ?? new Map(), below);
  for (const place of ignored) {
    const message = `A higher layer does not let \`${place}\` take all of these tokens, and a lower one can only take away. Ignored.`;
    problems.warnings.push(found(yaml.file, yaml.at([...path, 'tokens']), message));
  }
  return { ...handled, sensitive, tokens: rules };
}

/** An MCP server that a higher layer defines, handled more strictly. */
function tightenMcp(yaml: YamlText, path: Path, said: Record<string, unknown>, above: McpConnection, problems: Problems): McpConnection {
  const { pin, hints, arguments: secretArguments, share } = said;
  const parsed = TightenMcpShape.safeParse({
    ...(pin !== undefined && { pin }),
    ...(hints !== undefined && { hints }),
    ...(secretArguments !== undefined && { arguments: secretArguments }),
    ...(share !== undefined && { share }),
  });
  if (!parsed.success) {
    const message = `A lower layer can only tighten \`${above.name}\`: \`pin: ask\`, \`hints: tighten\`, \`arguments: mask\`, \`share: session\`. Ignored.`;
    problems.warnings.push(found(yaml.file, yaml.atKey(path), message));
    return above;
  }
  const { pin: stricterPin, hints: stricterHints, arguments: stricterArguments, share: stricterShare } = parsed.data;
  return {
    ...above,
    ...(stricterPin && { pin: stricterPin }),
    ...(stricterHints && { hints: stricterHints }),
    ...(stricterArguments && { arguments: stricterArguments }),
    ...(stricterShare && { share: stricterShare }),
  };
}
