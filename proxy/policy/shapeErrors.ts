/** Turns what zod found wrong into sentences at places in the file. */
import type { z } from 'zod';
import { type Found, found, type Path } from './problems.ts';
import { keysAt, valuesAt } from './shape.ts';
import { suggestKey, suggestValue } from './suggest.ts';
import type { YamlText } from './yamlText.ts';

type Issue = z.core.$ZodIssue;

/** @param base where in the file the checked value stands */
export function shapeErrors(yaml: YamlText, base: Path, issues: readonly Issue[]): Found[] {
  return issues.flatMap((issue) => one(yaml, base, issue));
}

function one(yaml: YamlText, base: Path, issue: Issue): Found[] {
  const path: Path = [...base, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))];
  const name = nameOf(path);
  const here = (message: string): Found[] => [found(yaml.file, yaml.at(path), message)];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => found(yaml.file, yaml.atKey([...path, key]), `\`${key}\` is not known here.${suggestKey(key, [...keysAt(path).keys()])}`));
    case 'invalid_type':
      if (issue.input === undefined && valueAt(yaml.value, path) === undefined) return here(`${name} is missing.${missingHint(path)}`);
      return here(`${name} must be ${kindName(issue.expected)}.${expectedHint(path)}`);
    case 'invalid_value':
      if (path.length === 1 && path[0] === 'version' && valueAt(yaml.value, path) !== undefined) {
        return here('This proxy reads version 1 of the policy language. Begin the file with `version: 1`, or use a newer Countersign.');
      }
      if (valueAt(yaml.value, path) === undefined) return here(`${name} is missing.${missingHint(path)}`);
      return here(`${name} cannot be \`${show(valueAt(yaml.value, path))}\`.${suggestValue(valueAt(yaml.value, path), issue.values.map(String))}`);
    case 'invalid_format':
    case 'custom':
      return here(`${name}: ${issue.message}`);
    case 'too_small':
      return here(issue.origin === 'number' ? `${name} must be at least ${issue.minimum}.` : `${name} cannot be empty.`);
    case 'too_big':
      return here(issue.origin === 'number' ? `${name} must be at most ${issue.maximum}.` : `${name} is too long: at most ${issue.maximum}.`);
    case 'invalid_key': {
      const known = [...keysAt(path.slice(0, -1)).keys()];
      if (known.length > 0)
        return [found(yaml.file, yaml.atKey(path), `\`${String(path.at(-1))}\` is not known here.${suggestKey(String(path.at(-1)), known)}`)];
      return [found(yaml.file, yaml.atKey(path), `\`${String(path.at(-1))}\` cannot stand here. ${issue.issues[0]?.message ?? ''}`)];
    }
    case 'invalid_union':
      return union(yaml, base, path, issue.errors);
    case 'invalid_element':
    case 'not_multiple_of':
    default:
      return here(`${name}: ${issue.message}`);
  }
}

/** Of several shapes a value could have had, speaks of the one it comes nearest to. */
function union(yaml: YamlText, base: Path, path: Path, options: readonly (readonly Issue[])[]): Found[] {
  const wrongKind = (issues: readonly Issue[]): boolean =>
    issues.some((issue) => issue.path.length === 0 && ['invalid_type', 'invalid_value'].includes(issue.code));
  const unknown = (issues: readonly Issue[]): number => issues.reduce((n, issue) => n + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0);
  const near = options.filter((issues) => !wrongKind(issues)).sort((a, b) => unknown(a) - unknown(b))[0];
  if (near) return near.flatMap((issue) => one(yaml, [...base, ...path.slice(base.length)], issue));
  const values = valuesAt(path);
  const end = values.length > 0 ? suggestValue(valueAt(yaml.value, path), values) : expectedHint(path);
  return [found(yaml.file, yaml.at(path), `${nameOf(path)} cannot be ${kindOf(valueAt(yaml.value, path))}.${end}`)];
}

function nameOf(path: Path): string {
  const word = path.findLast((step) => typeof step === 'string');
  if (word === undefined) return 'This';
  return typeof path.at(-1) === 'number' ? `Each of \`${word}\`` : `\`${word}\``;
}

function kindName(expected: string): string {
  switch (expected) {
    case 'object':
    case 'record':
      return 'a mapping (`key: value`)';
    case 'array':
      return 'a list';
    case 'string':
      return 'text';
    case 'boolean':
      return '`true` or `false`';
    case 'int':
      return 'a whole number';
    default:
      return `a ${expected}`;
  }
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  return `\`${show(value)}\``;
}

function show(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}

function missingHint(path: Path): string {
  if (path.length === 1 && path[0] === 'version') return ' Begin the file with `version: 1`.';
  const values = valuesAt(path);
  return values.length > 0 && values.length < 10 ? ` Write one of ${values.join(', ')}.` : expectedHint(path);
}

const EXPECTED: Readonly<Record<string, string>> = {
  id: ' Give the rule a name such as `production-writes`.',
  upstream: ' Write `postgres://HOST:PORT/DATABASE` for a database; `{ command: [program, argument] }` or `{ url: https://… }` for an MCP server.',
  command: ' Write the program and its arguments as a list: `[npx, -y, some-server]`.',
  rules: ' Begin each rule with `- id:`.',
  expires: ' Write a number with its unit: `30s`, `10m` or `1h`.',
};

function expectedHint(path: Path): string {
  const key = String(path.at(-1));
  return (Object.hasOwn(EXPECTED, key) && EXPECTED[key]) || '';
}

export function valueAt(value: unknown, path: Path): unknown {
  let here = value;
  for (const step of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, step)) return undefined;
    here = (here as Record<string | number, unknown>)[step];
  }
  return here;
}
