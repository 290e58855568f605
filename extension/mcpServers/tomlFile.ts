/** MCP servers in Codex's `config.toml`: read with a parser, edited by replacing just the lines that are about the entry. Pure. */
import { type AST, getStaticTOMLValue, parseTOML } from 'toml-eslint-parser';
import { Problem } from '../../contract/problem.ts';
import { DEFINING_KEYS, decode } from './decode.ts';
import type { Entry, Launch } from './definition.ts';

const SECTION = 'mcp_servers';
const MAX_ENTRIES = 500;

/** What protecting took out, so that it can be put back into a file that has changed since. */
export interface TomlTaken {
  /** Lines of the entry's own table. */
  readonly lines: string;
  /** Tables below it, as `[mcp_servers.x.env]`. */
  readonly tables: string;
}

interface Range {
  readonly from: number;
  readonly to: number;
}

export function tomlEntries(text: string, launcher: string | undefined): Entry[] {
  const program = parse(text);
  const servers = (getStaticTOMLValue(program) as Record<string, unknown>)[SECTION];
  if (typeof servers !== 'object' || servers === null) return [];
  return Object.entries(servers)
    .slice(0, MAX_ENTRIES)
    .map(([name, value]) => ({
      name,
      path: [SECTION, name],
      definition:
        mainTable(program, name) === undefined
          ? { kind: 'unclear', why: `It is not written as a table of its own. Write it as [${SECTION}.${name}].` }
          : decode(value, 'none', launcher),
    }));
}

/** @throws Problem `config-entry` where there is no such table */
export function protectToml(text: string, path: readonly string[], launch: Launch): { readonly text: string; readonly taken: TomlTaken } {
  const name = path.at(-1) ?? '';
  const program = parse(text);
  const main = mainTable(program, name);
  const defining = (main?.body ?? []).filter((pair) => DEFINING_KEYS.has(keysOf(pair)[0] ?? ''));
  const anchor = defining.find((pair) => ['command', 'url'].includes(keysOf(pair)[0] ?? ''));
  if (main === undefined || anchor === undefined) throw changed(name);
  const eol = text.includes('\r\n') ? '\r\n' : '\n';
  const lines = defining.map((pair) => lineOf(text, pair.range));
  const tables = topTables(program)
    .filter((table) => table.resolvedKey[0] === SECTION && table.resolvedKey[1] === name && DEFINING_KEYS.has(String(table.resolvedKey[2] ?? '')))
    .map((table) => tableLines(text, table));
  const anchorLine = lineOf(text, anchor.range);
  const indent = text.slice(anchorLine.from, anchor.range[0]);
  const ours = `${indent}command = ${JSON.stringify(launch.command)}${eol}${indent}args = [${JSON.stringify(launch.connection)}]${eol}`;
  const cuts = [...lines, ...tables].sort((a, b) => b.from - a.from);
  let next = text;
  for (const cut of cuts) next = next.slice(0, cut.from) + (cut.from === anchorLine.from ? ours : '') + next.slice(cut.to);
  const slices = (ranges: readonly Range[]): string => ranges.map(({ from, to }) => endLine(text.slice(from, to), eol)).join('');
  return { text: next, taken: { lines: slices(lines), tables: slices(tables) } };
}

/** Puts back what was taken out. @throws Problem `config-entry` where the entry is no longer ours */
export function restoreToml(text: string, path: readonly string[], taken: TomlTaken): string {
  const name = path.at(-1) ?? '';
  const program = parse(text);
  const main = mainTable(program, name);
  const ours = (main?.body ?? []).filter((pair) => ['command', 'args'].includes(keysOf(pair)[0] ?? '')).map((pair) => lineOf(text, pair.range));
  const [first] = ours;
  if (main === undefined || first === undefined) throw changed(name);
  const eol = text.includes('\r\n') ? '\r\n' : '\n';
  const end = tableLines(text, main).to;
  const tables = taken.tables === '' ? '' : `${text.slice(0, end).endsWith('\n') ? '' : eol}${eol}${taken.tables}`;
  let next = text.slice(0, end) + tables + text.slice(end);
  for (const cut of [...ours].sort((a, b) => b.from - a.from)) next = next.slice(0, cut.from) + (cut === first ? taken.lines : '') + next.slice(cut.to);
  return next;
}

function parse(text: string): AST.TOMLProgram {
  try {
    return parseTOML(text);
  } catch (cause) {
    const line = typeof cause === 'object' && cause !== null && 'lineNumber' in cause ? ` (line ${String(cause.lineNumber)})` : '';
    throw new Problem('config-unreadable', `It is not valid TOML${line}.`, { cause });
  }
}

function topTables(program: AST.TOMLProgram): AST.TOMLTable[] {
  return program.body[0].body.filter((node) => node.type === 'TOMLTable');
}

function mainTable(program: AST.TOMLProgram, name: string): AST.TOMLTable | undefined {
  return topTables(program).find(
    ({ kind, resolvedKey }) => kind === 'standard' && resolvedKey.length === 2 && resolvedKey[0] === SECTION && resolvedKey[1] === name,
  );
}

function keysOf(pair: AST.TOMLKeyValue): string[] {
  return pair.key.keys.map((key) => (key.type === 'TOMLBare' ? key.name : key.value));
}

/** The lines that a pair stands on, with their end. */
function lineOf(text: string, [start, stop]: readonly [number, number]): Range {
  const from = text.lastIndexOf('\n', start - 1) + 1;
  const end = text.indexOf('\n', stop);
  return { from, to: end < 0 ? text.length : end + 1 };
}

/** A table with the lines of its own pairs; what stands below it up to the next table stays. */
function tableLines(text: string, table: AST.TOMLTable): Range {
  const last = table.body.at(-1);
  return { from: lineOf(text, table.key.range).from, to: lineOf(text, last?.range ?? table.key.range).to };
}

function endLine(text: string, eol: string): string {
  return text.endsWith('\n') ? text : text + eol;
}

function changed(name: string): Problem {
  return new Problem('config-entry', `The entry [${SECTION}.${name}] is no longer there.`);
}
