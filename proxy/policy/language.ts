/** What an editor shows in a policy file. Pure: text in, findings out. Positions are LSP's: from 0, in UTF-16 units. */

import {
  type CodeLens,
  type CompletionItem,
  CompletionItemKind,
  type Diagnostic,
  DiagnosticSeverity,
  type Hover,
  MarkupKind,
  type Position,
  type Range,
} from 'vscode-languageserver-protocol';
import { parseDocument } from 'yaml';
import { CONDITION_VARIABLES } from './condition.ts';
import { cursorAt } from './cursor.ts';
import { compilePolicy, type PolicyLayer } from './load.ts';
import type { Found, Path } from './problems.ts';
import { describeAt, keysAt, valuesAt } from './shape.ts';
import { MAX_POLICY_CHARS, readYaml } from './yamlText.ts';

const SOURCE = 'countersign';
const MAX_ITEMS = 200;

/** Actor and surface are told apart from the facts in condition.ts because an allowing rule sees less of them. */
const VARIABLES: Readonly<Record<string, { readonly fields: Readonly<Record<string, string>>; readonly about: string }>> = {
  ...CONDITION_VARIABLES,
  actor: { about: 'Who asks: the person, and the agent acting for them.', fields: { person: 'Person', agent: 'Agent' } },
  person: { about: 'The person.', fields: { issuer: 'string', subject: 'string', name: 'string', groups: 'list<string>' } },
  agent: { about: 'What the client says of itself; a rule that allows cannot look at it.', fields: { kind: 'string', name: 'string', version: 'string' } },
  surface: { about: 'Where it came in: `terminal`, `mcp`.', fields: {} },
};
const TOP_VARIABLES = [...Object.keys(CONDITION_VARIABLES), 'actor', 'surface'];

/** What a text is called while it is checked. */
const THIS_FILE = 'countersign.yaml';

/**
 * @param as which layer the file is; decides what it may loosen
 * @param above what stands above the text: an organisation's policy, with what it lets a text say and what it leaves without effect
 */
export function diagnose(text: string, as: Pick<PolicyLayer, 'layer' | 'trusted'> = { layer: 'user' }, above?: PolicyLayer): Diagnostic[] {
  const { problems } = compilePolicy([...(above ? [above] : []), { ...as, file: THIS_FILE, text }], { gateway: above !== undefined });
  const lines = text.split('\n');
  const mine = (those: readonly Found[]): Found[] => those.filter(({ file }) => file === THIS_FILE);
  return [
    ...mine(problems.errors).map((problem) => diagnostic(problem, DiagnosticSeverity.Error, lines)),
    ...mine(problems.warnings).map((problem) => diagnostic(problem, DiagnosticSeverity.Warning, lines)),
  ].slice(0, MAX_ITEMS);
}

function diagnostic(problem: Found, severity: DiagnosticSeverity, lines: readonly string[]): Diagnostic {
  const start = { line: problem.line - 1, character: problem.column - 1 };
  // Without an end, to the end of the word or key.
  const rest = /^[^\s:,{}[\]#]*/.exec((lines[start.line] ?? '').slice(start.character))?.[0].length ?? 0;
  const end = problem.end
    ? { line: problem.end.line - 1, character: problem.end.column - 1 }
    : { line: start.line, character: start.character + Math.max(1, rest) };
  return { severity, source: SOURCE, message: problem.message, range: { start, end } };
}

export function complete(text: string, position: Position): CompletionItem[] {
  if (text.length > MAX_POLICY_CHARS) return [];
  const { path, at, typed } = cursorAt(text, position.line, position.character);
  if (path.at(-1) === 'when' && at === 'value') return completeCondition(typed);
  if (at === 'key') {
    const items = [...keysAt(path)].map(([key, schema]): CompletionItem => {
      const about = typeof schema.description === 'string' ? { documentation: schema.description } : {};
      return { label: key, kind: CompletionItemKind.Property, insertText: `${key}: `, ...about };
    });
    return items.length > 0 || path.length === 0 ? items : valueItems(path);
  }
  if (path.at(-1) === 'connection' || (path.at(-2) === 'connection' && typeof path.at(-1) === 'number')) {
    return connectionNames(text).map((name) => ({ label: name, kind: CompletionItemKind.Value }));
  }
  return valueItems(path);
}

function valueItems(path: Path): CompletionItem[] {
  return valuesAt(path).map((value) => {
    const about = describeAt([...path.slice(0, -1), value]);
    return { label: value, kind: CompletionItemKind.EnumMember, ...(about !== undefined && { documentation: about }) };
  });
}

function completeCondition(typed: string): CompletionItem[] {
  const owner = /(\w+)\.\w*$/.exec(typed)?.[1];
  if (owner !== undefined) {
    const fields = Object.hasOwn(VARIABLES, owner) ? VARIABLES[owner]?.fields : undefined;
    return Object.entries(fields ?? {}).map(([label, detail]) => ({ label, detail, kind: CompletionItemKind.Field }));
  }
  return TOP_VARIABLES.map((label) => ({ label, kind: CompletionItemKind.Variable, documentation: VARIABLES[label]?.about ?? '' }));
}

function connectionNames(text: string): string[] {
  const value: unknown = tolerant(text);
  const connections = typeof value === 'object' && value !== null && 'connections' in value ? value.connections : undefined;
  return typeof connections === 'object' && connections !== null ? Object.keys(connections).slice(0, MAX_ITEMS) : [];
}

/** The data of a text that may be half typed. */
function tolerant(text: string): unknown {
  try {
    return parseDocument(text, { schema: 'core', prettyErrors: false, logLevel: 'silent' }).toJS({ maxAliasCount: 0 });
  } catch {
    return undefined;
  }
}

export function hover(text: string, position: Position): Hover | null {
  if (text.length > MAX_POLICY_CHARS) return null;
  const line = text.split('\n')[position.line] ?? '';
  const word = wordAt(line, position.character);
  if (!word || line.trimStart().startsWith('#')) return null;
  const range: Range = { start: { line: position.line, character: word.start }, end: { line: position.line, character: word.end } };
  const show = (value: string): Hover => ({ range, contents: { kind: MarkupKind.Markdown, value } });
  const cursor = cursorAt(text, position.line, word.end);
  // A key is told from a value by the colon after it.
  const isKey = cursor.at === 'key' || /^["']?\s*:(\s|$)/.test(line.slice(word.end));
  if (cursor.path.at(-1) === 'when' && !isKey) return hoverCondition(line, word, show);
  const path =
    cursor.at === 'key' || (isKey && cursor.at === 'value') ? [...(cursor.at === 'key' ? cursor.path : cursor.path.slice(0, -1)), word.text] : cursor.path;
  const about = describeAt(path);
  if (about === undefined) return null;
  const values = valuesAt(path);
  return show(values.length > 0 && values.length <= 12 && isKey ? `${about}\n\nOne of ${values.map((value) => `\`${value}\``).join(', ')}.` : about);
}

interface Word {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

function wordAt(line: string, character: number): Word | undefined {
  for (const match of line.matchAll(/[\w-]+/g)) {
    const end = match.index + match[0].length;
    if (character >= match.index && character <= end) return { text: match[0], start: match.index, end };
  }
  return undefined;
}

function hoverCondition(line: string, word: Word, show: (value: string) => Hover): Hover | null {
  const owner = /(\w+)\.$/.exec(line.slice(0, word.start))?.[1];
  if (owner !== undefined) {
    const type =
      Object.hasOwn(VARIABLES, owner) && VARIABLES[owner] && Object.hasOwn(VARIABLES[owner].fields, word.text) ? VARIABLES[owner].fields[word.text] : undefined;
    return type === undefined ? null : show(`\`${owner}.${word.text}: ${type}\``);
  }
  const variable = TOP_VARIABLES.includes(word.text) ? VARIABLES[word.text] : undefined;
  return variable
    ? show(
        `${variable.about}\n\n${Object.keys(variable.fields)
          .map((field) => `\`${word.text}.${field}\``)
          .join(', ')}`.trim(),
      )
    : null;
}

/** What is known of a rule's use: how many operations it decided, and over how long, in words (`this week`). */
export interface RuleStats {
  readonly matched: ReadonlyMap<string, number>;
  readonly period: string;
}

/** A line above each rule: how often it decided. */
export function lenses(text: string, stats: RuleStats): CodeLens[] {
  const yaml = readYaml(text, 'countersign.yaml');
  const rules =
    typeof yaml.value === 'object' && yaml.value !== null && 'rules' in yaml.value && Array.isArray(yaml.value.rules) ? (yaml.value.rules as unknown[]) : [];
  return rules.slice(0, MAX_ITEMS).flatMap((rule, index) => {
    const id = typeof rule === 'object' && rule !== null && 'id' in rule && typeof rule.id === 'string' ? rule.id : undefined;
    if (id === undefined) return [];
    const { line, column } = yaml.at(['rules', index, 'id']);
    const start = { line: line - 1, character: column - 1 };
    const count = stats.matched.get(id) ?? 0;
    const title = count === 0 ? `decided nothing ${stats.period}` : `decided ${count} operation${count === 1 ? '' : 's'} ${stats.period}`;
    return [{ range: { start, end: start }, command: { title, command: '' } }];
  });
}
