/**
 * What in a definition speaks to the agent and not of the thing: hidden characters, and text that gives orders. It cannot find
 * every wording; what it finds is shown to a person before an agent reads it.
 */

import { mixesScripts, skeleton } from './confusable.ts';
import { type Definition, wordsIn } from './definition.ts';
import { hiddenIn, spelledByTags, stripHidden } from './hidden.ts';

/** What of one text is searched, in characters; a longer one is looked at in overlapping pieces. */
const PIECE_CHARS = 16_384;
const OVERLAP_CHARS = 512;
const MAX_REASONS = 12;
/** So many blanks, or lines of nothing else, push what follows out of sight. */
const MANY_BLANKS = 80;
const MANY_LINES = 20;

interface Order {
  readonly says: string;
  readonly pattern: RegExp;
}

/** On text in lower case, its blanks folded. No pattern has two open-ended parts beside each other. */
const ORDERS: readonly Order[] = [
  {
    says: 'tells the agent to set aside other instructions',
    pattern:
      /\b(?:ignore|disregard|forget|override|bypass|supersedes?)\b.{0,40}\b(?:previous|prior|above|earlier|other|all|any|system|safety|existing)\b.{0,30}\b(?:instruction|prompt|rule|message|guideline|polic|restriction|direction)/,
  },
  {
    says: 'tells the agent to keep something from the person',
    pattern:
      /\b(?:do not|don[’']?t|never|without|avoid)\b.{0,20}\b(?:tell|mention|inform|reveal|disclos|notify|alert|show|let)\w*\b.{0,25}\b(?:user|human|person|anyone|operator)\b/,
  },
  { says: 'asks for something to be done unseen', pattern: /\b(?:secretly|covertly|silently (?:send|read|call|upload|copy|forward)|hidden from the user)\b/ },
  {
    says: 'is dressed up as a message of the system',
    pattern:
      /<\/?\s*(?:important|system|secret|instructions?|hidden|critical|assistant|sys|admin)\s*>|<\|[a-z_]{2,20}\|>|\[\/?inst\]|^ ?#{2,8} ?(?:system|instructions?)\b|\bsystem prompt\b/m,
  },
  { says: 'holds a comment that a reader does not see', pattern: /<!--/ },
  {
    says: 'tells the agent what to do about other tools',
    pattern: /\b(?:before|prior to|when(?:ever)?|every time|each time|instead of)\b.{0,40}\b(?:any|every|all|other|another)\b.{0,15}\btools?\b/,
  },
  {
    says: 'asks for files that hold secrets',
    pattern:
      /\b(?:read|open|cat|load|include|send|pass|attach|fetch|copy|contents? of|provide)\b.{0,60}(?:\.ssh\b|\bid_(?:rsa|ed25519|ecdsa)\b|\.aws\b|\.env\b|\bmcp\.json\b|claude_desktop_config|\/etc\/(?:passwd|shadow)\b|\.netrc\b|\.npmrc\b|\.git-credentials\b|\bkeychain\b)/,
  },
  {
    says: 'asks for the conversation or the agent’s own instructions',
    pattern:
      /\b(?:send|post|forward|upload|exfiltrat\w*|transmit|include|pass|append|copy|provide|repeat)\b.{0,60}\b(?:(?:conversation|chat|message) history|(?:full|entire|whole|complete) (?:conversation|context|chat)|your (?:instructions|prompt)|previous messages|environment variables|all (?:the )?(?:secrets|credentials|api keys|passwords))\b/,
  },
  { says: 'gives the agent another role', pattern: /\byou are now\b|\bact as (?:an? |the )?(?:admin|root|system|developer mode)\b|\bnew instructions?:/ },
];

/** Sentences without their end; empty where nothing was found. */
export function suspicionsOf({ name, words }: Definition): string[] {
  const mixed = mixesScripts(name) ? ['its name mixes letters of several scripts that look alike'] : [];
  return [...mixed, ...suspicionsOfWords(words)].slice(0, MAX_REASONS);
}

/** The same of what is no definition; what goes too deep to be looked at is one. */
export function suspicionsIn(value: unknown): string[] {
  const words = wordsIn(value);
  return words ? suspicionsOfWords(words) : ['it goes too deep'];
}

function suspicionsOfWords(words: Definition['words']): string[] {
  const reasons: string[] = [];
  const add = (reason: string): void => {
    if (reasons.length < MAX_REASONS && !reasons.includes(reason)) reasons.push(reason);
  };
  for (const { at, text } of words) {
    const hidden = hiddenIn(text);
    if (hidden.length > 0) add(`${at} holds characters that cannot be seen (${hidden.join(', ')})`);
    const tags = spelledByTags(text);
    if (tags !== '') add(`${at} spells invisibly: “${tags.slice(0, 120)}”`);
    if (isOutOfSight(text)) add(`${at} pushes text out of sight with blanks`);
    for (const piece of pieces(text)) {
      const plain = fold(piece);
      // Also as it looks: letters of other scripts would hide the words from a plain search.
      const seen = /[^\p{ASCII}]/u.test(plain) ? [plain, readable(plain)] : [plain];
      for (const { says, pattern } of ORDERS) if (seen.some((one) => pattern.test(one))) add(`${at} ${says}`);
    }
  }
  return reasons;
}

/** Goes over a text once: a pattern would look at the rest of a long run of blanks from each of them. */
function isOutOfSight(text: string): boolean {
  let blanks = 0;
  let lines = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 10 || code === 0x2028 || code === 0x2029) {
      lines++;
      blanks = 0;
    } else if (isBlank(code)) blanks++;
    else if (blanks >= MANY_BLANKS || lines >= MANY_LINES) return true;
    else {
      blanks = 0;
      lines = 0;
    }
  }
  return false;
}

function isBlank(code: number): boolean {
  if (code < 128) return code === 32 || (code >= 9 && code <= 13);
  return code === 0xa0 || code === 0x1680 || (code >= 0x2000 && code <= 0x200a) || code === 0x202f || code === 0x205f || code === 0x3000 || code === 0xfeff;
}

function fold(text: string): string {
  return stripHidden(text)
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\S\n]+/g, ' ')
    .replace(/ ?\n ?/g, '\n')
    .replace(/([^\n])\n(?!\n|#)/g, '$1 ');
}

/** Only words with foreign letters are brought to their skeleton: it maps `i` to `l`, which would spoil the others. */
function readable(text: string): string {
  return text.replace(/[\p{L}\p{N}]+/gu, (word) => (/[^\p{ASCII}]/u.test(word) ? (KNOWN.get(skeleton(word)) ?? word) : word));
}

/** The words that orders are made of, by their skeleton. */
const KNOWN: ReadonlyMap<string, string> = new Map(
  'ignore disregard forget override bypass previous prior above earlier all any system instruction instructions prompt rule rules message messages tell mention inform reveal user human read send secret secrets do not never without before other tools tool important'
    .split(' ')
    .map((word) => [skeleton(word), word]),
);

function* pieces(text: string): Generator<string> {
  if (text.length <= PIECE_CHARS) return yield text;
  for (let from = 0; from < text.length; from += PIECE_CHARS - OVERLAP_CHARS) yield text.slice(from, from + PIECE_CHARS);
  return undefined;
}
