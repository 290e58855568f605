/**
 * Structured answers that stay valid: where a mask would break the tool's `outputSchema`, a stand-in that fits takes its place, else
 * an optional property is left out, else the whole answer is refused. The schema is the server's: nothing in it is run as code,
 * and its patterns only in linear time.
 */
import { CfWorkerJsonSchemaValidator } from '@modelcontextprotocol/server/validators/cf-worker';
import { linearRegex } from '../../policy/linearRegex.ts';
import { isObject, type Json, type JsonObject, type Reply } from './message.ts';
import type { MaskedReply } from './outcome.ts';
import { withinTime } from './withinTime.ts';

/** Deepest that a schema is followed: `$ref` can go round in circles. */
const MAX_DEPTH = 32;
const MAX_LEAVES = 20;
/** How long one answer may be held against its schema, in milliseconds; what takes longer is withheld. */
const MAX_MS = 1_000;

type Path = readonly (string | number)[];

/** @returns undefined where no stand-in fits, so that nothing can be shown */
export function fitToSchema(raw: Reply, masked: MaskedReply, schema: JsonObject | undefined): Reply | undefined {
  const { reply, places } = masked;
  if (!schema || 'error' in reply || 'error' in raw || !isObject(raw.result.structuredContent) || reply.result.isError === true) return reply;
  const inside = places.flatMap(({ path }) => (path[0] === 'structuredContent' ? [path.slice(1)] : []));
  const before = raw.result.structuredContent;
  // What was not masked is the server's own affair.
  if (inside.length === 0) return reply;
  // A schema may say the same twice at every level, and an answer may be as long as it likes.
  return withinTime(MAX_MS, () => fitted(before, reply.result, inside, schema))?.value;
}

function fitted(before: JsonObject, result: JsonObject, inside: readonly Path[], schema: JsonObject): Reply | undefined {
  const reply: Reply = { result };
  const isValid = validatorOf(schema);
  const now = result.structuredContent ?? {};
  // Nor what was not valid before.
  if (!isValid(before)) return reply;
  if (isValid(now) && inside.every((path) => fits(at(now, path), leavesAt(schema, path)))) return reply;
  let fit: Json = now;
  for (const path of inside) {
    const leaves = leavesAt(schema, path);
    const standIn = standInFor(at(before, path), at(fit, path), leaves);
    if (standIn !== undefined) fit = put(fit, path, standIn);
    else {
      const without = drop(schema, fit, path);
      if (without === undefined) return undefined;
      fit = without;
    }
  }
  if (!isValid(fit)) return undefined;
  return { result: { ...result, structuredContent: fit } };
}

export const UNFIT =
  'Withheld: the answer holds sensitive values, and the tool’s outputSchema leaves no room for masks in their place. Ask for less of it, or have its owner allow text there.';

/** Without its patterns, which are looked at where something was masked, and in linear time. */
function validatorOf(schema: JsonObject): (value: Json) => boolean {
  try {
    const validate = new CfWorkerJsonSchemaValidator().getValidator(withoutPatterns(schema, 0) as never);
    return (value) => {
      try {
        return validate(value).valid;
      } catch {
        return false;
      }
    };
  } catch {
    return () => false;
  }
}

function withoutPatterns(schema: Json, depth: number): Json {
  if (depth > 2 * MAX_DEPTH) return true;
  if (Array.isArray(schema)) return schema.map((one: Json) => withoutPatterns(one, depth + 1));
  if (!isObject(schema)) return schema;
  const kept = Object.entries(schema).filter(([key, value]) => !(key === 'pattern' && typeof value === 'string') && key !== 'patternProperties');
  return Object.fromEntries(kept.map(([key, value]) => [key, withoutPatterns(value, depth + 1)]));
}

/** The schemas that speak of a place, through references and choices. */
function leavesAt(root: JsonObject, path: Path): JsonObject[] {
  let here = expand(root, root, 0);
  for (const step of path) here = here.flatMap((schema) => below(schema, step).flatMap((next) => expand(root, next, 0))).slice(0, MAX_LEAVES);
  return here;
}

function expand(root: JsonObject, schema: Json | undefined, depth: number): JsonObject[] {
  if (!isObject(schema) || depth > MAX_DEPTH) return [];
  const inner = [
    ...(typeof schema.$ref === 'string' ? [pointed(root, schema.$ref)] : []),
    ...['allOf', 'anyOf', 'oneOf'].flatMap((key) => (Array.isArray(schema[key]) ? (schema[key] as readonly Json[]) : [])),
    ...['if', 'then', 'else'].flatMap((key) => (schema[key] === undefined ? [] : [schema[key]])),
  ];
  return [schema, ...inner.flatMap((one) => expand(root, one, depth + 1))].slice(0, MAX_LEAVES);
}

function pointed(root: JsonObject, ref: string): Json | undefined {
  if (!ref.startsWith('#')) return undefined;
  let here: Json | undefined = root;
  for (const step of ref.slice(1).split('/').filter(Boolean)) {
    const key = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
    here = isObject(here) ? here[key] : Array.isArray(here) ? (here as readonly Json[])[Number(key)] : undefined;
  }
  return here;
}

function below(schema: JsonObject, step: string | number): Json[] {
  if (typeof step === 'number') {
    const prefix = Array.isArray(schema.prefixItems) ? (schema.prefixItems as readonly Json[])[step] : undefined;
    return [prefix ?? schema.items].filter((one) => one !== undefined);
  }
  const own = isObject(schema.properties) && Object.hasOwn(schema.properties, step) ? schema.properties[step] : undefined;
  return [own ?? schema.additionalProperties].filter((one) => one !== undefined);
}

/** A value that fits and gives nothing away: the mask itself, its outline, what the format is shown with, a mask of the right length. */
function standInFor(before: Json | undefined, mask: Json | undefined, leaves: readonly JsonObject[]): Json | undefined {
  if (mask === undefined || before === undefined) return undefined;
  // What the schema itself lists is no secret.
  if (leaves.some((leaf) => (Array.isArray(leaf.enum) && (leaf.enum as readonly Json[]).includes(before)) || leaf.const === before)) return before;
  const candidates: Json[] =
    typeof before === 'number'
      ? [mask, 0, 1, ...leaves.flatMap(bounds)]
      : typeof before === 'string'
        ? [mask, ...textCandidates(before, mask, leaves), null]
        : [mask];
  return candidates.find((candidate) => candidate !== before && fits(candidate, leaves));
}

function bounds({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: JsonObject): number[] {
  return [
    minimum,
    maximum,
    typeof exclusiveMinimum === 'number' ? exclusiveMinimum + 1 : undefined,
    typeof exclusiveMaximum === 'number' ? exclusiveMaximum - 1 : undefined,
  ].filter((one) => typeof one === 'number');
}

function textCandidates(before: string, mask: Json, leaves: readonly JsonObject[]): string[] {
  const most = Math.min(...leaves.map(({ maxLength }) => (typeof maxLength === 'number' ? maxLength : Number.POSITIVE_INFINITY)));
  const least = Math.max(0, ...leaves.map(({ minLength }) => (typeof minLength === 'number' ? minLength : 0)));
  const outline = before
    .replace(/\p{Lu}/gu, 'X')
    .replace(/\p{L}/gu, (letter) => (letter === 'X' ? 'X' : 'x'))
    .replace(/\p{N}/gu, '0');
  const text = typeof mask === 'string' ? mask : '';
  const sized = Number.isFinite(most) ? Array.from(text).slice(0, most).join('') : text;
  return [
    ...leaves.flatMap(({ format }) => (typeof format === 'string' && Object.hasOwn(SHOWN_AS, format) ? (SHOWN_AS[format] ?? []) : [])),
    ...(most < 100_000 || least > 0 ? ['•'.repeat(Math.max(least, Math.min(most, 3)))] : []),
    sized.padEnd(Math.min(least, 10_000), '•'),
    outline,
    outline.replaceAll('x', '0').replaceAll('X', '0'),
    outline.replaceAll('0', '1'),
  ];
}

const SHOWN_AS: Readonly<Record<string, readonly string[]>> = {
  email: ['masked@masked.invalid'],
  'idn-email': ['masked@masked.invalid'],
  uri: ['about:masked'],
  'uri-reference': ['about:masked'],
  hostname: ['masked.invalid'],
  ipv4: ['0.0.0.0'],
  ipv6: ['::'],
  uuid: ['00000000-0000-0000-0000-000000000000'],
  date: ['1970-01-01'],
  time: ['00:00:00Z'],
  'date-time': ['1970-01-01T00:00:00Z'],
};

/** Formats that are looked at here; others are notes, as the specification has it. */
const FORMATS: Readonly<Record<string, RegExp>> = {
  email: /^[^\s@‹›•]+@[^\s@‹›•]+$/,
  'idn-email': /^[^\s@‹›•]+@[^\s@‹›•]+$/,
  uri: /^[a-z][a-z0-9+.-]*:[^\s‹›•]*$/i,
  'uri-reference': /^[^\s‹›•]*$/,
  hostname: /^[a-z0-9.-]+$/i,
  ipv4: /^\d{1,3}(?:\.\d{1,3}){3}$/,
  ipv6: /^[0-9a-f:.]+$/i,
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i,
  date: /^\d{4}-\d\d-\d\d$/,
  time: /^\d\d:\d\d:\d\d/,
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/i,
};

/** Whether a value can stand where these schemas speak. Of a choice those count whose type it has, and all of them must agree. */
function fits(value: Json | undefined, leaves: readonly JsonObject[]): boolean {
  if (value === undefined) return true;
  const typed = leaves.filter(({ type }) => type !== undefined);
  if (typed.length > 0 && !typed.some((leaf) => admits(leaf, value))) return false;
  return leaves.every((leaf) => !admits(leaf, value) || fitsLeaf(value, leaf));
}

function admits({ type }: JsonObject, value: Json): boolean {
  if (type === undefined) return true;
  const types: readonly Json[] = Array.isArray(type) ? (type as readonly Json[]) : [type];
  const own = value === null ? 'null' : typeof value;
  return types.includes(own) || (typeof value === 'number' && Number.isInteger(value) && types.includes('integer'));
}

function fitsLeaf(value: Json, leaf: JsonObject): boolean {
  if (Array.isArray(leaf.enum) && !(leaf.enum as readonly Json[]).includes(value)) return false;
  if (leaf.const !== undefined && leaf.const !== value) return false;
  if (typeof value === 'number') return withinBounds(value, leaf);
  if (typeof value !== 'string') return true;
  const length = Array.from(value).length;
  if (typeof leaf.maxLength === 'number' && length > leaf.maxLength) return false;
  if (typeof leaf.minLength === 'number' && length < leaf.minLength) return false;
  if (typeof leaf.format === 'string' && Object.hasOwn(FORMATS, leaf.format) && FORMATS[leaf.format]?.test(value) === false) return false;
  if (typeof leaf.pattern !== 'string') return true;
  const regex = linearRegex(leaf.pattern);
  // A pattern that cannot be run safely may not be met by anything.
  return regex.ok && regex.found.test(value);
}

function withinBounds(value: number, { minimum, maximum, exclusiveMinimum, exclusiveMaximum }: JsonObject): boolean {
  if (typeof minimum === 'number' && value < minimum) return false;
  if (typeof maximum === 'number' && value > maximum) return false;
  if (typeof exclusiveMinimum === 'number' && value <= exclusiveMinimum) return false;
  return !(typeof exclusiveMaximum === 'number' && value >= exclusiveMaximum);
}

function at(value: Json | undefined, path: Path): Json | undefined {
  let here: Json | undefined = value;
  for (const step of path) here = isObject(here) ? here[step] : Array.isArray(here) ? (here as readonly Json[])[Number(step)] : undefined;
  return here;
}

function put(value: Json, path: Path, standIn: Json): Json {
  const [step, ...rest] = path;
  if (step === undefined) return standIn;
  if (Array.isArray(value)) return (value as readonly Json[]).map((item, i) => (i === step ? put(item, rest, standIn) : item));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, key === step ? put(item, rest, standIn) : item]));
}

/** Leaves a property out, where the schema does not ask for it; undefined where it does. */
function drop(schema: JsonObject, value: Json, path: Path): Json | undefined {
  const last = path.at(-1);
  if (typeof last !== 'string') return undefined;
  const parents = leavesAt(schema, path.slice(0, -1));
  if (parents.some(({ required }) => Array.isArray(required) && (required as readonly Json[]).includes(last))) return undefined;
  const parent = at(value, path.slice(0, -1));
  if (!isObject(parent)) return undefined;
  const { [last]: _left, ...kept } = parent;
  return put(value, path.slice(0, -1), kept);
}
