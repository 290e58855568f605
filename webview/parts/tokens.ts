/** Light highlighting: enough to read by, never enough to decide by. Tokens cover the text without gaps, in order. */

export type TokenKind = 'text' | 'keyword' | 'name' | 'string' | 'number' | 'comment' | 'literal' | 'parameter' | 'operator';

export interface Token {
  readonly kind: TokenKind;
  /** UTF-16 offsets. */
  readonly start: number;
  readonly end: number;
}

const SQL_KEYWORDS = new Set(
  (
    'add all alter analyze and any array as asc begin between by call cascade case cast check cluster collate column comment commit concurrently constraint copy ' +
    'create cross cube current database declare default deferrable delete desc distinct do domain drop else end except exclude execute exists explain extension ' +
    'fetch filter for foreign from full function grant group grouping having if ilike in index inner insert intersect into is join key language lateral left like ' +
    'limit listen lock materialized merge natural not notify nothing nulls of offset on only or order outer over owner partition policy prepare primary procedure ' +
    'publication reassign recursive references refresh reindex rename replace reset restrict returning revoke right role rollback rollup row rows savepoint schema ' +
    'security select sequence server set show similar subscription table tablesample temporary then to transaction trigger truncate type union unique unlogged ' +
    'update user using vacuum values view when where window with work'
  ).split(' '),
);
const SQL_LITERALS = new Set(['true', 'false', 'null']);
const SHELL_KEYWORDS = new Set(
  'if then else elif fi for in do done while until case esac function return exit export local set unset eval exec source trap'.split(' '),
);

/** One alternative a token kind; the first that matches at the place wins. */
type Rules = readonly (readonly [TokenKind, RegExp])[];

const SQL: Rules = [
  // A comment ends at a line feed or at a carriage return, as in the server's own scanner.
  ['comment', /--[^\r\n]*/y],
  ['string', /[eE]'(?:[^'\\]|\\[\s\S]|'')*(?:'|\\?$)/y],
  ['string', /(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|$)/y],
  ['string', /\$([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$[\s\S]*?(?:\$\1\$|$)/y],
  ['name', /(?:[uU]&)?"(?:[^"]|"")*(?:"|$)/y],
  ['parameter', /\$\d+|:[A-Za-z_]\w*/y],
  ['number', /(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?/y],
  ['text', /::/y],
  ['text', /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y],
  ['operator', /[+\-*/<>=~!@#%^&|?]+?(?=--|\/\*|[^+\-*/<>=~!@#%^&|?]|$)/y],
  ['text', /\s+|[^\s]/y],
];

// A string that the text ends in, even at a lone backslash, is matched to the end: giving up would start again at each quote.
const JSON_RULES: Rules = [
  ['name', /"(?:[^"\\]|\\[\s\S])*"(?=\s*:)/y],
  ['string', /"(?:[^"\\]|\\[\s\S])*(?:"|\\?$)/y],
  ['number', /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y],
  ['literal', /\b(?:true|false|null)\b/y],
  ['text', /[A-Za-z_]\w*|\s+|[^\s]/y],
];

const SHELL: Rules = [
  ['comment', /(?<=^|\s)#[^\n]*/y],
  ['string', /'[^']*(?:'|$)/y],
  ['string', /"(?:[^"\\]|\\[\s\S])*(?:"|\\?$)/y],
  ['parameter', /\$(?:\w+|\{[^}]*\}?|[?!#@*$-])/y],
  ['operator', /[|&;<>]+/y],
  ['text', /[\w./-]+|\s+|[^\s]/y],
];

/** Texts longer than this are not highlighted, in characters. */
const MAX_HIGHLIGHTED = 200_000;

export function tokens(text: string, language: string): Token[] {
  const rules = language === 'sql' ? SQL : language === 'json' ? JSON_RULES : language === 'shell' ? SHELL : undefined;
  if (!rules || text.length > MAX_HIGHLIGHTED) return text === '' ? [] : [{ kind: 'text', start: 0, end: text.length }];
  const out: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const [kind, end] = next(text, at, rules, language);
    const last = out.at(-1);
    if (last?.kind === kind && kind === 'text') out[out.length - 1] = { ...last, end };
    else out.push({ kind, start: at, end });
    at = end;
  }
  return out;
}

function next(text: string, at: number, rules: Rules, language: string): [TokenKind, number] {
  if (language === 'sql' && text.startsWith('/*', at)) return ['comment', endOfBlockComment(text, at)];
  for (const [kind, pattern] of rules) {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found) return [kind === 'text' ? wordKind(found, language) : kind, at + found.length];
  }
  return ['text', at + 1];
}

function wordKind(word: string, language: string): TokenKind {
  const lower = word.toLowerCase();
  if (language === 'sql') return SQL_KEYWORDS.has(lower) ? 'keyword' : SQL_LITERALS.has(lower) ? 'literal' : 'text';
  return language === 'shell' && SHELL_KEYWORDS.has(word) ? 'keyword' : 'text';
}

/** Block comments nest in PostgreSQL; showing one as ended too early or too late would dim what runs. */
function endOfBlockComment(text: string, at: number): number {
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    if (text.startsWith('/*', i)) {
      depth++;
      i++;
    } else if (text.startsWith('*/', i)) {
      depth--;
      i++;
      if (depth === 0) return i + 1;
    }
  }
  return text.length;
}
