/**
 * YAML with positions, as policy files use it: one plain document of mappings, lists and scalars. Aliases, tags, merge keys
 * and duplicate keys are refused: each can make a file mean something else than it seems to.
 */
import { type Document, isAlias, isMap, isPair, isScalar, isSeq, type Node, parseDocument, type Range, visit } from 'yaml';
import { type Found, found, type Path, type Place } from './problems.ts';

/** Longest policy file, in UTF-16 units. */
export const MAX_POLICY_CHARS = 262_144;
/** Deepest nesting; the language itself needs six. */
const MAX_DEPTH = 24;
/** Syntax errors reported for one file: later ones mostly follow from the first. */
const MAX_SYNTAX_ERRORS = 10;

export interface YamlText {
  readonly file: string;
  readonly text: string;
  /** Plain data; undefined where the file could not be read as YAML. An empty file is `null`. */
  readonly value: unknown;
  readonly problems: readonly Found[];
  /** Where the value at a path stands; the nearest parent where there is none. */
  at(path: Path): Place;
  /** Where the key at a path stands. */
  atKey(path: Path): Place;
  /** Where `offset` characters into the string at a path stand; the string's start where that cannot be told. */
  within(path: Path, offset: number): Place;
}

const START: Place = { line: 1, column: 1 };

export function readYaml(text: string, file: string): YamlText {
  const nowhere = { file, text, value: undefined, at: () => START, atKey: () => START, within: () => START };
  if (text.length > MAX_POLICY_CHARS) {
    const message = `This policy file is longer than ${MAX_POLICY_CHARS / 1024} KiB, so it was not read. Split it over the layers, or shorten it.`;
    return { ...nowhere, problems: [found(file, START, message)] };
  }
  const position = positions(text);
  let doc: Document;
  try {
    doc = parseDocument(text, { uniqueKeys: true, strict: true, schema: 'core', prettyErrors: false, merge: false });
  } catch (cause) {
    const message = `This file could not be read as YAML (${cause instanceof Error ? cause.message : 'unknown error'}). Start again from a smaller file.`;
    return { ...nowhere, problems: [found(file, START, message)] };
  }
  const place = (from: number, to?: number): Place => ({ ...position(from), ...(to !== undefined && to > from && { end: position(to) }) });
  const problems = [...doc.errors, ...doc.warnings]
    .slice(0, MAX_SYNTAX_ERRORS)
    .map((error) => found(file, place(error.pos[0], error.pos[1]), syntaxSentence(error.code, error.message)));
  if (problems.length === 0) problems.push(...refused(doc, file, place));
  const places = { at: locate(doc, place, 'value'), atKey: locate(doc, place, 'key'), within: locateWithin(doc, text, place) };
  if (problems.length > 0) return { file, text, value: undefined, problems, ...places };
  return { file, text, value: doc.toJS({ maxAliasCount: 0 }), problems, ...places };
}

/** Offsets to lines and columns. The parser's own counter loses lines in texts that are broken. */
function positions(text: string): (offset: number) => { readonly line: number; readonly column: number } {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return (offset) => {
    const wanted = Math.max(0, Math.min(offset, text.length));
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] ?? 0) <= wanted) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: wanted - (starts[low] ?? 0) + 1 };
  };
}

function syntaxSentence(code: string, message: string): string {
  switch (code) {
    case 'DUPLICATE_KEY':
      return 'This key stands here twice. Keep one of the two.';
    case 'MULTIPLE_DOCS':
      return 'This file holds several YAML documents. Remove the `---` between them: a policy is one document.';
    case 'TAB_AS_INDENT':
      return 'A tab cannot indent YAML. Use spaces.';
    case 'RESOURCE_EXHAUSTION':
      return 'This is nested too deeply. A policy needs no more than a few levels.';
    case 'TAG_RESOLVE_FAILED':
      return 'Tags (`!name`) are not used in policy files. Remove it.';
    default:
      return `This is not valid YAML: ${message.split(/\n|\\n/, 1)[0]}.`;
  }
}

/** What is valid YAML and still refused. */
function refused(doc: Document, file: string, place: (from: number, to?: number) => Place): Found[] {
  const problems: Found[] = [];
  const say = (node: { range?: Range | null }, message: string): void => {
    problems.push(found(file, node.range ? place(node.range[0], node.range[1]) : START, message));
  };
  visit(doc, {
    Node(_key, node, path) {
      if (path.filter((step) => isMap(step) || isSeq(step)).length > MAX_DEPTH) {
        say(node, 'This is nested too deeply. A policy needs no more than a few levels.');
        return visit.BREAK;
      }
      if (isAlias(node)) say(node, 'Aliases (`*name`) are not used in policy files. Write the value out.');
      else if (node.tag?.startsWith('!')) say(node, 'Tags (`!name`) are not used in policy files. Remove it.');
      else if (node.tag !== undefined && !/^tag:yaml\.org,2002:(map|seq|str|int|float|bool|null)$/.test(node.tag)) {
        say(node, 'Tags (`!!name`) are not used in policy files. Remove it.');
      }
      return undefined;
    },
    Pair(_key, pair) {
      if (!isScalar(pair.key)) say(pair.key as { range?: Range | null }, 'A key must be a plain word.');
      else if (pair.key.value === '<<') say(pair.key, 'Merge keys (`<<`) are not used in policy files. Write the values out.');
      else if (pair.key.value === '__proto__') say(pair.key, '`__proto__` cannot be a key. Choose another name.');
      else if (typeof pair.key.value !== 'string') say(pair.key, `A key must be a word. Put ${String(pair.key.value)} in quotes if that is its name.`);
    },
  });
  return problems.slice(0, MAX_SYNTAX_ERRORS);
}

/** The node at a path, or the deepest one on the way there. */
function nodeAt(doc: Document, path: Path): { node: Node | null; key: Node | undefined; whole: boolean } {
  let node: unknown = doc.contents;
  let key: Node | undefined;
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
      if (!isPair(pair)) return { node, key, whole: false };
      key = pair.key as Node;
      // A key without a value is where the missing value would stand.
      node = pair.value ?? pair.key;
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(step)];
      if (item === undefined) return { node, key, whole: false };
      node = item;
      key = undefined;
    } else return { node: node as Node | null, key, whole: false };
  }
  return { node: node as Node | null, key, whole: true };
}

function locate(doc: Document, place: (from: number, to?: number) => Place, what: 'value' | 'key'): (path: Path) => Place {
  return (path) => {
    const { node, key, whole } = nodeAt(doc, path);
    // Something missing from a mapping is shown at the mapping's key, which is shorter than the mapping.
    const shown = what === 'key' || (!whole && isMap(node)) ? (key ?? node) : node;
    const range = shown?.range;
    if (!range) return START;
    const long = isMap(shown) || isSeq(shown);
    return place(range[0], long ? range[0] : range[1]);
  };
}

function locateWithin(doc: Document, text: string, place: (from: number, to?: number) => Place): (path: Path, offset: number) => Place {
  return (path, offset) => {
    const { node } = nodeAt(doc, path);
    if (!isScalar(node) || typeof node.value !== 'string' || !node.range) return node?.range ? place(node.range[0]) : START;
    for (const quote of [0, 1]) {
      const from = node.range[0] + quote;
      if (text.startsWith(node.value, from)) return place(Math.min(from + offset, node.range[1]), Math.min(from + offset + 1, node.range[1]));
    }
    return place(node.range[0], node.range[1]);
  };
}
