/** Function calls: what they do to the world, and what their result holds. */
import type { FuncCall, WindowDef } from 'libpg-query';
import { effectRank } from '../../../../contract/facts.ts';
import {
  BUILTIN_EFFECTS,
  HARMLESS_VOLATILE,
  KEEPS_ARGUMENTS,
  KEEPS_VALUE,
  LITERALS_DECIDE,
  NOT_AS_DECLARED,
  REACHES_OUT,
  RETURNS_NOTHING_STORED,
  REVEALING_FUNCTIONS,
  SAYS_NOTHING,
} from './builtins.ts';
import type { Routine } from './catalog.ts';
import { isChanged } from './changes.ts';
import { predicate, predicates, valueOf, valuesOf } from './expression.ts';
import { routineName } from './findings.ts';
import { as, qualified } from './nodes.ts';
import type { RoutineResult } from './routines.ts';
import { type Context, opaque, type Scope } from './scope.ts';
import { setsHarmlessly } from './settings.ts';
import { CLEAN, computed, isTainted, oneOf, plain, presence, unite, type Value } from './value.ts';

export function callValue(context: Context, call: FuncCall, scope: Scope): Value {
  const { found } = context;
  const args = valuesOf(context, call.args, scope);
  const [schema, name] = qualified(call.funcname);
  const ordered = (call.agg_order ?? []).map((node) => valueOf(context, as(node, 'SortBy')?.node, scope));
  // WITHIN GROUP (ORDER BY x) hands x to the aggregate; an ordinary ORDER BY inside a call only orders.
  if (call.agg_within_group) args.push(...ordered);
  else for (const value of ordered) found.predicate(value);
  predicate(context, call.agg_filter, scope);
  if (call.agg_distinct) for (const value of args) found.predicate(value);
  windowUses(context, call.over, scope);

  // f(row) is also how a column may be written: email(customers).
  const field = schema === undefined && args.length === 1 ? args[0]?.row?.find((c) => c.name === name) : undefined;
  if (field) return field.value;

  const routines = context.catalog.findRoutines(schema, name, args.length, context.searchPath);
  if (routines.length === 0) return castOrUnknown(context, schema, name, args);
  if (isChanged(context, name)) {
    found.changed(`function ${name}`);
    return opaque(context, args);
  }
  if (LITERALS_DECIDE.has(name)) found.literalsDecide = true;
  const own = effectsOf(context, routines, call.args ?? []);
  const rows = args.map((value) => (value.row ? plain(value) : value));
  found.meet(rows);
  const builtin = routines.every((r) => r.schema === 'pg_catalog');
  if (builtin && name === 'current_setting') return settingValue(context, call);
  const tainted = rows.some(isTainted);
  if (builtin && tainted) keptBy(context, routines, call, rows);
  // How many rows come out can tell what went in.
  if (tainted && routines.some((r) => r.returnsSet)) for (const value of rows) found.predicate(value);
  if (builtin && tainted && SAYS_NOTHING.has(name)) {
    // VARIADIC counts what is inside of an array.
    for (const value of rows) found.predicate(call.func_variadic ? value : presence(value));
    return CLEAN;
  }
  if (builtin && KEEPS_VALUE.has(name) && (rows[0]?.keeps ?? true) && rows.slice(1).every((v) => !isTainted(v))) {
    return plain(oneOf([rows[0] ?? CLEAN, ...(isTainted(own) ? [own] : [])]));
  }
  return isTainted(own) || tainted ? computed([own, ...rows]) : { taints: [], keeps: true, sources: unite(rows.map((r) => r.sources)) };
}

/**
 * A built-in that keeps what it is given where it can be read by everybody and nothing follows it: the position of a
 * sequence, the key of a lock, a setting that the server reports.
 */
function keptBy(context: Context, routines: readonly Routine[], call: FuncCall, args: readonly Value[]): void {
  const name = routines[0]?.name ?? '';
  if (!KEEPS_ARGUMENTS.test(name)) return;
  const own = as(call.args?.[0], 'A_Const')?.sval?.sval;
  // A setting of the session's own is followed; of large objects, only the number is not.
  if (name === 'set_config' && own?.includes('.') && !isTainted(args[0] ?? CLEAN)) return;
  const kept = name.startsWith('lo_') ? args.slice(0, 1) : args;
  const label = kept.flatMap((value) => value.taints).find((taint) => taint !== context.sensitivity.opaqueTaint)?.label;
  if (label !== undefined)
    context.found.refused ??= `${name}() is refused with a value of ${label}: it would keep it where it can be read unmasked. Give it something that does not come from a masked column.`;
}

/** `text(x)` and the like are casts where there is such a type and no such function. */
function castOrUnknown(context: Context, schema: string | undefined, name: string, args: readonly Value[]): Value {
  if (args.length === 1 && context.catalog.isType(name)) return computed(args);
  const written = schema === undefined ? name : `${schema}.${name}`;
  context.found.functions.add(written);
  context.found.miss(`function ${written}`);
  return opaque(context, args);
}

/** Records what calling any of these could do; gives what their results hold besides what the arguments bring. */
export function effectsOf(context: Context, routines: readonly Routine[], args: FuncCall['args'] & object): Value {
  const { found } = context;
  const values: Value[] = [];
  for (const routine of routines) {
    if (routine.schema === 'pg_catalog') values.push(builtinEffects(context, routine, args));
    else {
      const result = context.sensitivity.routine(routine, routine.searchPath ?? context.callerPath ?? context.searchPath);
      userEffects(context, routine, result);
      const changed = isChanged(context, routine.name, result.findings.targets.values());
      if (changed) found.changed(`what function ${routineName(routine)} uses`);
      // Called from a view, its names mean what the search path of whoever reads the view makes of them.
      const doubt = context.callerPath && routine.searchPath === undefined && routine.namesAtCall ? opaque(context).taints : [];
      const taints = unite([result.taints, doubt, changed ? opaque(context).taints : []]);
      if (taints.length > 0) {
        context.found.touch(taints);
        context.found.routineTaint = true;
        values.push({ taints, keeps: false, sources: [] });
      }
    }
  }
  return computed(values);
}

function builtinEffects(context: Context, routine: Routine, args: FuncCall['args'] & object): Value {
  const { found, sensitivity } = context;
  const { name } = routine;
  const effect = BUILTIN_EFFECTS.get(name);
  if (name === 'set_config' && setsHarmlessly(args)) {
    found.changesSession = true;
    return CLEAN;
  }
  const safe = !NOT_AS_DECLARED.has(name) && (routine.volatility !== 'volatile' || HARMLESS_VOLATILE.has(name) || name.startsWith('pg_stat_get_'));
  if (effect !== undefined || !safe) {
    found.raise(effect ?? 'execute');
    found.functions.add(name);
    if (name === 'set_config') found.changesSession = true;
    const object = as(args[0], 'A_Const')?.sval?.sval;
    if (object !== undefined && (name === 'nextval' || name === 'setval')) found.target('sequence', object.replace(/^public\./, ''));
    if (object !== undefined && name === 'pg_notify') found.target('channel', object);
  }
  // What runs its argument as SQL, or reads what is stored elsewhere, can bring anything.
  const label = REVEALING_FUNCTIONS.get(name);
  if (label !== undefined && sensitivity.any) {
    const taint = { label, mask: 'redact' } as const;
    found.touch([taint]);
    return { taints: [taint], keeps: false, sources: [] };
  }
  if (effect === undefined && !safe && !RETURNS_NOTHING_STORED.test(name)) {
    if (sensitivity.opaqueTaint) found.touch([sensitivity.opaqueTaint]);
    return opaque(context);
  }
  return CLEAN;
}

function userEffects(context: Context, routine: Routine, result: RoutineResult): void {
  const { found } = context;
  const label = routineName(routine);
  found.target('function', label);
  if (REACHES_OUT.test(routine.name)) {
    found.raise('execute');
    found.notes.add(`${label} talks to another server`);
  }
  if (effectRank(result.findings.effect) > 0 || routine.volatility === 'volatile') found.functions.add(label);
  if (routine.definer) found.notes.add(`${label} runs with its owner's rights`);
  found.include(result.findings);
}

/** A setting of the session's own may hold what was put there from a table. */
function settingValue(context: Context, call: FuncCall): Value {
  const name = as(call.args?.[0], 'A_Const')?.sval?.sval;
  return context.settingsTainted || name === undefined || name.includes('.') ? opaque(context) : CLEAN;
}

/** PARTITION BY and ORDER BY of a window decide by what they look at. */
export function windowUses(context: Context, window: WindowDef | undefined, scope: Scope): void {
  if (!window) return;
  predicates(context, window.partitionClause, scope);
  for (const node of window.orderClause ?? []) predicate(context, as(node, 'SortBy')?.node, scope);
  predicate(context, window.startOffset, scope);
  predicate(context, window.endOffset, scope);
}
