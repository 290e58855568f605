/** Walks the policy's JSON Schema by path: what may stand where. For suggestions, completion and hover. */
import type { Path } from './problems.ts';
import { type JsonSchema, policyJsonSchema } from './schema.ts';

const isSchema = (value: unknown): value is JsonSchema => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A schema and, for a choice, each of its branches. */
function branches(schema: JsonSchema): JsonSchema[] {
  const choices = schema.anyOf ?? schema.oneOf;
  return Array.isArray(choices) ? [schema, ...choices.filter(isSchema).flatMap(branches)] : [schema];
}

/** Every schema that can apply at a path; empty where nothing may stand. */
function schemasAt(path: Path): JsonSchema[] {
  let here = branches(policyJsonSchema());
  for (const step of path) {
    const next: JsonSchema[] = [];
    for (const schema of here) {
      if (typeof step === 'number') {
        if (isSchema(schema.items)) next.push(schema.items);
      } else if (isSchema(schema.properties) && Object.hasOwn(schema.properties, step)) {
        const property = schema.properties[step];
        if (isSchema(property)) next.push(property);
      } else if (isSchema(schema.additionalProperties)) next.push(schema.additionalProperties);
    }
    here = next.flatMap(branches);
  }
  return here;
}

/** Keys that a mapping at a path may have, with what each means. */
export function keysAt(path: Path): Map<string, JsonSchema> {
  const keys = new Map<string, JsonSchema>();
  for (const schema of schemasAt(path)) {
    if (isSchema(schema.propertyNames) && Array.isArray(schema.propertyNames.enum) && isSchema(schema.additionalProperties)) {
      for (const key of schema.propertyNames.enum) keys.set(String(key), schema.additionalProperties);
    }
    if (!isSchema(schema.properties)) continue;
    for (const [key, property] of Object.entries(schema.properties)) if (isSchema(property) && !keys.has(key)) keys.set(key, property);
  }
  return keys;
}

/** Words that a value at a path may be. */
export function valuesAt(path: Path): string[] {
  const values = new Set<string>();
  for (const schema of schemasAt(path)) {
    for (const inner of isSchema(schema.items) ? [schema, ...branches(schema.items)] : [schema]) {
      const list = Array.isArray(inner.enum) ? inner.enum : 'const' in inner ? [inner.const] : inner.type === 'boolean' ? [true, false] : [];
      for (const value of list) values.add(String(value));
    }
  }
  return [...values];
}

/** What stands at a path, in words. */
export function describeAt(path: Path): string | undefined {
  for (const schema of schemasAt(path)) if (typeof schema.description === 'string') return schema.description;
  return undefined;
}
