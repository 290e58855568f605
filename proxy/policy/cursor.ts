/** Where in a policy file a cursor stands, read from the lines themselves: the text is mostly not valid YAML while it is typed. */
import type { Path } from './problems.ts';

export interface Cursor {
  /** For a key: the mapping it stands in. For a value: its own path. */
  readonly path: Path;
  readonly at: 'key' | 'value';
  /** What is typed so far of the word under the cursor. */
  readonly typed: string;
}

interface Level {
  readonly indent: number;
  readonly step: string | number;
}

const KEY = /^("[^"]*"|'[^']*'|[^\s:#{}[\],&*!|>'"%@`-][^:#{}[\],]*?)\s*:(?=\s|$)/;
const MAX_LINES = 20_000;

/** @param line 0-based; @param character in UTF-16 units */
export function cursorAt(text: string, line: number, character: number): Cursor {
  const lines = text.split('\n', Math.min(line + 1, MAX_LINES));
  const current = (lines[line] ?? '').slice(0, character);
  const levels: Level[] = [];
  let block: number | undefined;
  for (const before of lines.slice(0, line)) {
    const content = before.trim();
    if (content === '' || content.startsWith('#')) continue;
    const indent = indentOf(before);
    // Inside a `|` or `>` text nothing is a key.
    if (block !== undefined && indent > block) continue;
    block = undefined;
    place(before, levels);
    if (/[:-]\s+[|>][+-]?\d?\s*(#.*)?$/.test(before)) block = indent;
  }
  const typedIndent = indentOf(current);
  if (block !== undefined && current.trim() !== '' && typedIndent > block) return { path: steps(levels), at: 'value', typed: current.trim() };
  const rest = place(current, levels, true);
  const path = steps(levels);
  if (rest === undefined) return { path, at: 'key', typed: current.trim().replace(/^-\s*/, '') };
  return flow(path, rest);
}

function steps(levels: readonly Level[]): Path {
  return levels.map((level) => level.step);
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

/**
 * Puts a line's keys on the stack.
 * @returns what follows the line's key; undefined where there is none yet
 */
function place(line: string, levels: Level[], last = false): string | undefined {
  let indent = indentOf(line);
  let content = line.slice(indent);
  const pop = (): void => {
    while ((levels.at(-1)?.indent ?? -1) >= indent) levels.pop();
  };
  // A list may stand at its key's own indentation.
  while (/^-(\s|$)/.test(content)) {
    while ((levels.at(-1)?.indent ?? -1) > indent || (levels.at(-1)?.indent === indent && typeof levels.at(-1)?.step === 'number')) levels.pop();
    levels.push({ indent, step: 0 });
    const after = content.slice(1);
    indent += 1 + (after.length - after.trimStart().length || 1);
    content = after.trimStart();
  }
  const key = KEY.exec(content);
  if (!key) {
    if (last && content !== '' && /^[[{"'0-9]/.test(content)) {
      pop();
      return content;
    }
    pop();
    return undefined;
  }
  pop();
  levels.push({ indent, step: (key[1] ?? '').replace(/^(["'])(.*)\1$/, '$2') });
  return content.slice(key[0].length);
}

/** Follows `{ … }` and `[ … ]` within the line, up to the cursor. */
function flow(path: Path, text: string): Cursor {
  const frames: { step: string | number | undefined; map: boolean }[] = [];
  let word = '';
  let quote = '';
  const here = (): Path => [...path, ...frames.flatMap((frame) => (frame.step === undefined ? [] : [frame.step]))];
  for (const char of text) {
    const frame = frames.at(-1);
    if (quote !== '') {
      if (char === quote) quote = '';
      else word += char;
    } else if (char === '"' || char === "'") quote = char;
    else if (char === '{') {
      frames.push({ step: undefined, map: true });
      word = '';
    } else if (char === '[') {
      frames.push({ step: 0, map: false });
      word = '';
    } else if (char === '}' || char === ']') {
      frames.pop();
      word = '';
    } else if (char === ',' && frame) {
      if (frame.map) frame.step = undefined;
      word = '';
    } else if (char === ':' && frame?.map && frame.step === undefined) {
      frame.step = word.trim();
      word = '';
    } else word += char;
  }
  const frame = frames.at(-1);
  return { path: here(), at: frame?.map && frame.step === undefined ? 'key' : 'value', typed: word.trimStart() };
}
