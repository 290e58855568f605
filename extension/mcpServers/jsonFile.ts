/**
 * MCP servers in a JSON file, comments and all. Every edit is a replacement of exactly the characters it is about: what
 * stands around it, comments and formatting, stays as it is. Pure.
 */
import { getNodeValue, type Node, parseTree } from 'jsonc-parser';
import { Problem } from '../../contract/problem.ts';
import { DEFINING_KEYS, decode } from './decode.ts';
import type { Dialect, Entry, Launch } from './definition.ts';

/** Deepest nesting that is read. */
const MAX_DEPTH = 50;
/** Most servers of one file. */
const MAX_ENTRIES = 500;

/** Where the servers stand: `['mcpServers']`; `*` is any key. */
export type Section = readonly string[];

export interface JsonLook {
  readonly sections: readonly Section[];
  readonly dialect: Dialect;
  readonly launcher: string | undefined;
}

interface Replacement {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

export function jsonEntries(text: string, look: JsonLook): Entry[] {
  const root = parse(text);
  if (root === undefined) return [];
  const entries: Entry[] = [];
  for (const section of look.sections) {
    for (const { path, node } of nodesAt(root, section)) {
      for (const property of node.children ?? []) {
        const [key, value] = property.children ?? [];
        if (key === undefined || value === undefined || entries.length >= MAX_ENTRIES) continue;
        const name = String(key.value);
        const twice = count(node, name) > 1;
        entries.push({
          name,
          path: [...path, name],
          definition: twice
            ? { kind: 'unclear', why: `The file has "${name}" twice. Keep one.` }
            : (duplicateKey(value) ?? decode(plain(value), look.dialect, look.launcher)),
        });
      }
    }
  }
  return entries;
}

/** The inputs of VS Code's `mcp.json`, as they stand. */
export function jsonInputs(text: string): unknown {
  const root = parse(text);
  const [found] = root === undefined ? [] : nodesOf(root, ['inputs']);
  return found === undefined ? [] : plain(found.node);
}

/** The entry's own characters. @throws Problem `config-entry` */
export function jsonEntryText(text: string, path: readonly string[]): string {
  const { offset, length } = entryNode(text, path);
  return text.slice(offset, offset + length);
}

/** The text with the entry going through us. @throws Problem `config-entry` */
export function protectJson(text: string, path: readonly string[], launch: Launch): string {
  const entry = entryNode(text, path);
  const properties = entry.children ?? [];
  const named = (...names: string[]): Node | undefined => properties.find((property) => names.includes(keyOf(property)));
  const command = named('command', 'url', 'serverUrl', 'httpUrl');
  if (entry.type !== 'object' || command === undefined) throw changed(path);
  const args = named('args');
  const type = named('type');
  const edits: Replacement[] = [];
  const kept = new Set<Node>([command]);
  const commandText = `"command": ${JSON.stringify(launch.command)}`;
  const argsText = `"args": [${JSON.stringify(launch.connection)}]`;
  if (args === undefined) edits.push(replace(command, `${commandText},${separatorBefore(text, command)}${argsText}`));
  else {
    edits.push(replace(command, commandText), replace(args, argsText));
    kept.add(args);
  }
  if (type !== undefined) {
    edits.push(replace(type, '"type": "stdio"'));
    kept.add(type);
  }
  for (const property of properties) if (!DEFINING_KEYS.has(keyOf(property))) kept.add(property);
  const last = properties.findLast((property) => kept.has(property)) ?? command;
  properties.forEach((property, i) => {
    const comma = commaAfter(text, property.offset + property.length, entry.offset + entry.length - 1);
    if (!kept.has(property)) edits.push(wholeLine(text, property.offset, comma ?? property.offset + property.length));
    // What follows the last one that stays has gone: so does its comma, which strict JSON would not take.
    else if (property === last && i < properties.length - 1 && comma !== undefined) edits.push({ from: comma - 1, to: comma, text: '' });
  });
  return apply(text, edits);
}

/** The text with the entry as it was. @throws Problem `config-entry` */
export function restoreJson(text: string, path: readonly string[], original: string): string {
  return apply(text, [replace(entryNode(text, path), original)]);
}

function parse(text: string): Node | undefined {
  if (text.trim() === '') return undefined;
  guardDepth(text);
  const errors: { error: number; offset: number; length: number }[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true });
  const [first] = errors;
  if (root === undefined || first !== undefined) {
    const line = text.slice(0, first?.offset ?? 0).split('\n').length;
    throw new Problem('config-unreadable', `It is not valid JSON (line ${line}).`);
  }
  return root;
}

/** The parser calls itself for each level: a file that is nothing but brackets must not end the extension. */
function guardDepth(text: string): void {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === '\\') i++;
      else if (c === '"' || c === '\n') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === '{' || c === '[') {
      if (++depth > MAX_DEPTH * 4) throw new Problem('config-unreadable', 'It is nested too deeply.');
    } else if (c === '}' || c === ']') depth--;
  }
}

function* nodesAt(root: Node, section: Section): Generator<{ readonly path: string[]; readonly node: Node }> {
  for (const found of nodesOf(root, section)) if (found.node.type === 'object') yield found;
}

function* nodesOf(node: Node, section: Section, path: string[] = []): Generator<{ readonly path: string[]; readonly node: Node }> {
  const [step, ...rest] = section;
  if (step === undefined) return yield { path, node };
  if (node.type !== 'object') return undefined;
  for (const property of node.children ?? []) {
    const [, value] = property.children ?? [];
    const key = keyOf(property);
    // Of two with one key, clients differ in which they take: neither is shown as if it were the one.
    if (value === undefined || (step !== '*' && step !== key) || count(node, key) > 1) continue;
    yield* nodesOf(value, rest, [...path, key]);
  }
  return undefined;
}

function entryNode(text: string, path: readonly string[]): Node {
  let node = parse(text);
  for (const step of path) {
    const found: Node[] = node?.type === 'object' ? (node.children ?? []).filter((property) => keyOf(property) === step) : [];
    if (found.length !== 1) throw changed(path);
    node = found[0]?.children?.[1];
  }
  if (node === undefined) throw changed(path);
  return node;
}

function changed(path: readonly string[]): Problem {
  return new Problem('config-entry', `The entry "${path.at(-1) ?? ''}" is no longer there, or is there twice.`);
}

function keyOf(property: Node): string {
  return String(property.children?.[0]?.value);
}

function count(object: Node, key: string): number {
  return (object.children ?? []).filter((property) => keyOf(property) === key).length;
}

function duplicateKey(node: Node): { kind: 'unclear'; why: string } | undefined {
  if (node.type === 'object') {
    for (const property of node.children ?? []) {
      if (count(node, keyOf(property)) > 1) return { kind: 'unclear', why: `It has "${keyOf(property)}" twice. Keep one.` };
    }
  }
  for (const child of node.children ?? []) {
    const found = duplicateKey(child);
    if (found) return found;
  }
  return undefined;
}

function plain(node: Node): unknown {
  return getNodeValue(node) as unknown;
}

function replace(node: Node, text: string): Replacement {
  return { from: node.offset, to: node.offset + node.length, text };
}

/** The comma after a property, as the offset behind it; comments in between are passed over. */
function commaAfter(text: string, from: number, end: number): number | undefined {
  for (let i = from; i < end; i++) {
    if (text.startsWith('//', i)) i = lineEnd(text, i) - 1;
    else if (text.startsWith('/*', i)) i = Math.max(i, text.indexOf('*/', i + 2) + 1);
    else if (text[i] === ',') return i + 1;
    else if (!/\s/.test(text[i] ?? '')) return undefined;
  }
  return undefined;
}

/** Takes the whole line with it where nothing else stands there. */
function wholeLine(text: string, from: number, to: number): Replacement {
  const start = text.lastIndexOf('\n', from - 1) + 1;
  const end = lineEnd(text, to);
  if (text.slice(start, from).trim() !== '') return { from: from - (/\s+$/.exec(text.slice(start, from))?.[0].length ?? 0), to, text: '' };
  return text.slice(to, end).trim() === '' && end < text.length ? { from: start, to: end + 1, text: '' } : { from, to, text: '' };
}

function separatorBefore(text: string, node: Node): string {
  const start = text.lastIndexOf('\n', node.offset - 1) + 1;
  const before = text.slice(start, node.offset);
  if (before.trim() !== '' || start === 0) return ' ';
  return `${text[start - 2] === '\r' ? '\r\n' : '\n'}${before}`;
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

function apply(text: string, edits: readonly Replacement[]): string {
  return [...edits].sort((a, b) => b.from - a.from).reduce((t, { from, to, text: next }) => t.slice(0, from) + next + t.slice(to), text);
}
