/**
 * Makes text from an agent or a server safe to look at: whatever could hide something from a reader becomes a visible
 * mark. Text is never changed silently, and every piece knows which part of the original it stands for.
 */

/** Kinds of what hides, in the order in which a summary names them. */
export const HIDDEN_KINDS = ['direction', 'invisible', 'control', 'lookalike', 'space', 'run', 'broken'] as const;
export type HiddenKind = (typeof HIDDEN_KINDS)[number];

export interface Piece {
  /** `rtl` is honest right-to-left text, to be isolated so that it cannot reorder its neighbours. */
  readonly kind: 'plain' | 'rtl' | HiddenKind;
  /** What to show. For a mark, its label; for a look-alike, the character itself. */
  readonly text: string;
  /** For a mark or a look-alike: what it is, in words. */
  readonly title?: string;
  /** UTF-16 offsets in the original. */
  readonly start: number;
  readonly end: number;
}

/** Shortest run of blanks inside a line that is folded into a mark: alignment stays, hiding to the right does not. */
const LONG_BLANKS = 17;
/** The same at the start of a line, where deep indentation is honest. */
const LONG_INDENT = 41;
/** Shortest run of empty lines that is folded. */
const LONG_EMPTY_LINES = 4;
/** More combining marks than this on one letter cover the lines around it. */
const MAX_COMBINING = 3;

const NAMES: ReadonlyMap<number, readonly [HiddenKind, string, string]> = new Map([
  [0x061c, ['direction', 'ALM', 'arabic letter mark']],
  [0x200e, ['direction', 'LRM', 'left-to-right mark']],
  [0x200f, ['direction', 'RLM', 'right-to-left mark']],
  [0x202a, ['direction', 'LRE', 'left-to-right embedding']],
  [0x202b, ['direction', 'RLE', 'right-to-left embedding']],
  [0x202c, ['direction', 'PDF', 'pop directional formatting']],
  [0x202d, ['direction', 'LRO', 'left-to-right override']],
  [0x202e, ['direction', 'RLO', 'right-to-left override: text after it would read backwards']],
  [0x2066, ['direction', 'LRI', 'left-to-right isolate']],
  [0x2067, ['direction', 'RLI', 'right-to-left isolate']],
  [0x2068, ['direction', 'FSI', 'first strong isolate']],
  [0x2069, ['direction', 'PDI', 'pop directional isolate']],
  [0x00ad, ['invisible', 'SHY', 'soft hyphen']],
  [0x034f, ['invisible', 'CGJ', 'combining grapheme joiner']],
  [0x115f, ['invisible', 'HF', 'hangul filler']],
  [0x1160, ['invisible', 'HF', 'hangul filler']],
  [0x17b4, ['invisible', 'KIV', 'khmer inherent vowel']],
  [0x17b5, ['invisible', 'KIV', 'khmer inherent vowel']],
  [0x180e, ['invisible', 'MVS', 'mongolian vowel separator']],
  [0x200b, ['invisible', 'ZWSP', 'zero-width space']],
  [0x200c, ['invisible', 'ZWNJ', 'zero-width non-joiner']],
  [0x200d, ['invisible', 'ZWJ', 'zero-width joiner']],
  [0x2060, ['invisible', 'WJ', 'word joiner']],
  [0x2800, ['invisible', 'BRL', 'blank braille pattern']],
  [0x3164, ['invisible', 'HF', 'hangul filler']],
  [0xfeff, ['invisible', 'BOM', 'byte order mark, zero width']],
  [0xffa0, ['invisible', 'HF', 'hangul filler']],
  [0x00a0, ['space', 'NBSP', 'no-break space']],
  [0x0085, ['space', 'NEL', 'next line']],
  [0x1680, ['space', 'OSP', 'ogham space']],
  [0x2028, ['space', 'LS', 'line separator']],
  [0x2029, ['space', 'PS', 'paragraph separator']],
  [0x202f, ['space', 'NNBSP', 'narrow no-break space']],
  [0x205f, ['space', 'MMSP', 'medium mathematical space']],
  [0x3000, ['space', 'IDSP', 'ideographic space']],
]);

const CONTROL_NAMES: Readonly<Record<number, string>> = { 0: 'NUL', 7: 'BEL', 8: 'BS', 11: 'VT', 12: 'FF', 13: 'CR', 27: 'ESC', 127: 'DEL' };

/** Letters of other scripts that look like an ASCII one; the n-th of the first is taken for the n-th of the second. */
const ALIKE = new Map(
  [
    ['авекмнорстухѕіјѵԁԛԝһӏАВЕКМНОРСТУХЅІЈԌЗ', 'abekmhopctyxsijvdqwhlABEKMHOPCTYXSIJG3'],
    ['αικνορυχγΑΒΕΖΗΙΚΜΝΟΡΤΥΧ', 'aiknopuxyABEZHIKMNOPTYX'],
    ['ıɑɡǀƖɩοօսոհՏ', 'iaglllouunhS'],
  ].flatMap(([from = '', to = '']) => Array.from(from, (c, i) => [c, Array.from(to)[i] ?? '?'] as const)),
);

/** Punctuation that is taken for ASCII punctuation, in any text. */
const ALIKE_MARKS = new Map([
  [';', ';'],
  ['∕', '/'],
  ['⁄', '/'],
  ['∖', '\\'],
  ['∶', ':'],
  ['ː', ':'],
  ['․', '.'],
  ['ǃ', '!'],
  ['∗', '*'],
  ['‚', ','],
  ['⹀', '='],
  ['꞊', '='],
]);
/** The same where the text is code: in prose they are only good typography. */
const ALIKE_MARKS_IN_CODE = new Map([
  ['‘', "'"],
  ['’', "'"],
  ['“', '"'],
  ['”', '"'],
  ['′', "'"],
  ['–', '-'],
  ['—', '-'],
  ['−', '-'],
  ['‐', '-'],
  ['‑', '-'],
]);

// oxlint-disable-next-line no-control-regex -- finding them is the job
const ESCAPE = /\u001b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001b]{0,256}(?:\u0007|\u001b\\)|[@-Z\\-_])/y;
const BLANKS = /[ \t]+/y;
const EMPTY_LINES = /(?:[ \t]*\r?\n){2,}/y;
const WORD = /[\p{L}\p{M}\p{N}_]+/uy;
const RTL = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]/u;
const COMBINING = /\p{M}+/uy;
const PUNCTUATION = /[!-/:-@[-^`{-~]+/y;

/**
 * @param options.code whether the text is a program (SQL, shell), where typographic quotes and dashes deceive
 * @param options.oneLine whether line breaks are marks too, for a name or a title
 */
export function pieces(text: string, options: { readonly code?: boolean; readonly oneLine?: boolean } = {}): Piece[] {
  const out: Piece[] = [];
  let at = 0;
  const add = (kind: Piece['kind'], shown: string, end: number, title?: string): void => {
    const last = out.at(-1);
    if (kind === 'plain' && last?.kind === 'plain') out[out.length - 1] = { ...last, text: last.text + shown, end };
    else out.push({ kind, text: shown, start: at, end, ...(title !== undefined && { title }) });
    at = end;
  };
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };

  while (at < text.length) {
    const ahead = text.codePointAt(at) ?? 0;
    const char = String.fromCodePoint(ahead);
    const from = at;
    const lineStart = at === 0 || text[at - 1] === '\n';

    if (ahead === 0x20 || ahead === 0x09 || ahead === 0x0a || ahead === 0x0d) {
      const empty = match(EMPTY_LINES);
      const lines = empty ? empty.split('\n').length - 2 + (lineStart ? 1 : 0) : 0;
      if (empty && !options.oneLine && lines >= LONG_EMPTY_LINES) {
        if (!lineStart) add('plain', text.slice(at, text.indexOf('\n', at) + 1), text.indexOf('\n', at) + 1);
        const end = at + empty.length - (at - from) - (empty.endsWith('\r\n') ? 2 : 1);
        add('run', `${lines} empty lines`, end, `${lines} empty lines, folded`);
        continue;
      }
      if (ahead === 0x0a || (ahead === 0x0d && text[at + 1] === '\n')) {
        const end = at + (ahead === 0x0d ? 2 : 1);
        if (options.oneLine) add('control', '⏎', end, 'line break');
        else add('plain', '\n', end);
        continue;
      }
      if (ahead === 0x0d) {
        add('control', 'CR', at + 1, 'carriage return without a line feed: a terminal would overwrite the line');
        continue;
      }
      const blanks = match(BLANKS) ?? char;
      if (blanks.length >= (lineStart ? LONG_INDENT : LONG_BLANKS)) add('run', `${blanks.length} blanks`, at + blanks.length, 'blanks, folded');
      else add('plain', options.oneLine ? ' ' : blanks, at + blanks.length);
      continue;
    }

    const marks = match(PUNCTUATION);
    const word = marks === undefined ? match(WORD) : undefined;
    if (marks !== undefined) add('plain', marks, at + marks.length);
    else if (word === undefined) addOther(char, ahead);
    else if (/^\w+$/.test(word)) add('plain', word, at + word.length);
    else addWord(word);
  }
  return out;

  function addWord(word: string): void {
    const letters = Array.from(word);
    const ascii = letters.some((c) => /[A-Za-z]/.test(c));
    const all = letters.every((c) => /[\p{N}\p{M}_]/u.test(c) || lookalike(c) !== undefined || /[A-Za-z]/.test(c));
    const deceives = ascii || all;
    let rtl = '';
    const flush = (): void => {
      if (rtl !== '') add('rtl', rtl, at + rtl.length);
      rtl = '';
    };
    for (let i = 0; i < letters.length; i++) {
      const c = letters[i] ?? '';
      const code = c.codePointAt(0) ?? 0;
      const alike = lookalike(c);
      if (RTL.test(c) || (rtl !== '' && /\p{M}/u.test(c))) {
        rtl += c;
        continue;
      }
      flush();
      if (/\p{M}/u.test(c) && invisible(code) === undefined) {
        const marks = match(COMBINING) ?? c;
        const count = Array.from(marks).length;
        if (count > MAX_COMBINING) {
          add('invisible', `${count} accents`, at + marks.length, 'accents stacked on one letter');
          i += count - 1;
          continue;
        }
      }
      const hidden = code === 0xfe0f && /\p{Extended_Pictographic}$/u.test(text.slice(Math.max(0, at - 2), at)) ? undefined : invisible(code);
      if (hidden) add(hidden[0], hidden[1], at + c.length, `${hidden[2]}, ${codePoint(code)}`);
      else if (alike !== undefined && (deceives || isCompatibility(c))) add('lookalike', c, at + c.length, `${codePoint(code)}, looks like “${alike}”`);
      else add('plain', c, at + c.length);
    }
    flush();
  }

  function addOther(char: string, code: number): void {
    const escape = code === 0x1b ? match(ESCAPE) : undefined;
    if (escape !== undefined) {
      // What the sequence carries may itself hide: it is shown in printable ASCII alone.
      add('control', `ESC${escape.slice(1).replace(/[^ -~]/g, '·')}`, at + escape.length, 'terminal escape sequence');
      return;
    }
    const hidden = invisible(code);
    if (hidden) {
      add(hidden[0], hidden[1], at + char.length, `${hidden[2]}, ${codePoint(code)}`);
      return;
    }
    const alike = ALIKE_MARKS.get(char) ?? (options.code ? (fullWidth(code) ?? ALIKE_MARKS_IN_CODE.get(char)) : undefined);
    if (alike !== undefined) add('lookalike', char, at + char.length, `${codePoint(code)}, looks like “${alike}”`);
    else add('plain', char, at + char.length);
  }
}

/** How many of each kind stand in the text: what a summary above it says. */
export function countHidden(found: readonly Piece[]): ReadonlyMap<HiddenKind, number> {
  const counts = new Map<HiddenKind, number>();
  for (const { kind } of found) if (kind !== 'plain' && kind !== 'rtl') counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

/** One line of plain characters for a place that takes no markup (a title, a screen reader): marks in ⟨brackets⟩. */
export function plainLine(text: string): string {
  return pieces(text, { oneLine: true })
    .map((p) => (p.kind === 'plain' || p.kind === 'rtl' || p.kind === 'lookalike' ? p.text : `⟨${p.text}⟩`))
    .join('');
}

function invisible(code: number): readonly [HiddenKind, string, string] | undefined {
  const named = NAMES.get(code);
  if (named) return named;
  if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return ['control', CONTROL_NAMES[code] ?? hex(code), 'control character'];
  if (code >= 0x2000 && code <= 0x200a) return ['space', 'SP', 'unusual space'];
  if ((code >= 0x2061 && code <= 0x2064) || (code >= 0x206a && code <= 0x206f)) return ['invisible', hex(code), 'invisible operator'];
  if ((code >= 0xfe00 && code <= 0xfe0f) || (code >= 0xe0100 && code <= 0xe01ef) || (code >= 0x180b && code <= 0x180d)) {
    return ['invisible', 'VS', 'variation selector'];
  }
  // Tag characters spell ASCII that nobody sees and that a model reads.
  if (code > 0xe0020 && code < 0xe007f) return ['invisible', `tag ${String.fromCodePoint(code - 0xe0000)}`, 'invisible tag character'];
  if (code >= 0xe0000 && code <= 0xe0fff) return ['invisible', 'tag', 'invisible tag character'];
  if (code >= 0x1d173 && code <= 0x1d17a) return ['invisible', hex(code), 'invisible musical control'];
  if (code >= 0xd800 && code <= 0xdfff) return ['broken', hex(code), 'half of a character'];
  if (code === 0xfffd || code === 0xfffe || code === 0xffff) return ['broken', hex(code), 'not a character'];
  if (code >= 0xfff9 && code <= 0xfffb) return ['invisible', hex(code), 'interlinear annotation'];
  if ((code >= 0xe000 && code <= 0xf8ff) || code >= 0xf0000) return ['broken', hex(code), 'private character: every font shows another'];
  return undefined;
}

function lookalike(char: string): string | undefined {
  return ALIKE.get(char) ?? (isCompatibility(char) ? char.normalize('NFKC') : undefined);
}

/** Full-width and mathematical letters, roman numerals: styled forms of one ASCII letter or digit. */
function isCompatibility(char: string): boolean {
  return (
    (char.codePointAt(0) ?? 0) > 0x7f && /^[\p{L}\p{Nd}\p{Nl}]$/u.test(char) && /^[A-Za-z0-9]$/.test(char.normalize('NFKC')) && char !== 'ª' && char !== 'º'
  );
}

function fullWidth(code: number): string | undefined {
  return code >= 0xff01 && code <= 0xff5e ? String.fromCharCode(code - 0xfee0) : undefined;
}

function codePoint(code: number): string {
  return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
}

function hex(code: number): string {
  return code.toString(16).toUpperCase().padStart(2, '0');
}
