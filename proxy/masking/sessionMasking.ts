import type { Finding } from '../../contract/response.ts';
import type { MaskKind } from '../../contract/verdict.ts';
import type { MaskPlan } from '../policy/policy.ts';
import { putTogether } from '../recording/quoted.ts';
import { byteMask } from './byteMask.ts';
import { DETECTORS } from './detectors/index.ts';
import { MaskForms, shapeOf } from './forms.ts';
import type { MaskedText, MaskStream, Scrubbed, SessionMasking } from './masking.ts';
import { SessionTokens } from './revealing.ts';
import { CONTEXT, type Hit, Scanner } from './scanner.ts';
import { UNREAD, UNREAD_TEXT } from './unread.ts';
import { TokenVault } from './vault.ts';

export interface MaskingOptions {
  readonly plan: MaskPlan;
  /** The installation's key for `hash` masks, 32 bytes: hashes agree between sessions, and cannot be guessed back. */
  readonly hashKey: Uint8Array;
  /** The conversation's; left out, the session has one of its own. */
  readonly vault?: TokenVault | undefined;
  /** Where values come from. */
  readonly connection?: string;
}

/** What an agent is sent is scrubbed once more for the record right after: texts of this length, in characters, are not scanned twice. */
const REMEMBERED_FROM = 512;
const REMEMBERED_TO = 1_048_576;

/** Effort that one text may take, as `Scanner` counts it: about a quarter of a second. A megabyte full of addresses takes a third of it. */
const MAX_EFFORT = 250_000;
/** Pieces of a long text, in characters: a millisecond of ordinary text. */
const PIECE = 32_768;

export function createSessionMasking(options: MaskingOptions): SessionMasking {
  const { connection = '', plan, vault = new TokenVault() } = options;
  const kinds = new Map<string, MaskKind>();
  for (const { id } of DETECTORS) {
    const kind = plan.detectors.get(id) ?? plan.otherwise;
    if (kind !== 'off') kinds.set(id, kind);
  }
  const scanner = scannerFor(DETECTORS.filter(({ id }) => kinds.has(id)).map(({ id }) => id));
  const forms = new MaskForms(options.hashKey, vault, connection);

  /** Writes `text` from `from` to `to` with the hits in it replaced. */
  const replace = (text: string, from: number, to: number, hits: readonly Hit[]): Scrubbed => {
    const findings: Finding[] = [];
    const pieces: string[] = [];
    let out = '';
    let done = from;
    for (const hit of hits) {
      const { id } = hit.detector;
      const value = text.slice(hit.start, hit.end);
      const mask: MaskKind = hit.remainder ? 'redact' : (kinds.get(id) ?? plan.otherwise);
      const before = text.slice(done, hit.start);
      out += before;
      const replacement = forms.make(value, mask, id);
      pieces.push(before, replacement);
      findings.push({ label: id, by: id, mask, at: [out.length, out.length + replacement.length], shape: shapeOf(value) });
      out += replacement;
      done = hit.end;
    }
    const rest = text.slice(done, to);
    out += rest;
    pieces.push(rest);
    putTogether(out, pieces);
    return { text: out as MaskedText, findings };
  };

  let last: { readonly text: string; readonly scrubbed: Scrubbed } | undefined;
  return {
    tokens: new SessionTokens(vault, plan.tokens, connection),
    mask: (value, kind, label) => forms.make(value, kind, label) as MaskedText,
    scrub(text) {
      if (last?.text === text) return last.scrubbed;
      if (scanner.isKnownClean(text)) return { text: text as MaskedText, findings: [] };
      const { gaveUp, hits } = scanner.scan(text, 0, true, [], MAX_EFFORT);
      if (gaveUp) return { text: UNREAD_TEXT as MaskedText, findings: [{ label: UNREAD, by: UNREAD, mask: 'redact', at: [0, UNREAD_TEXT.length], shape: '' }] };
      const clean = hits.length === 0;
      const scrubbed = clean ? { text: text as MaskedText, findings: [] } : replace(text, 0, text.length, hits);
      if (clean) scanner.rememberClean(text);
      if (text.length >= REMEMBERED_FROM && text.length <= REMEMBERED_TO) last = { text, scrubbed };
      return scrubbed;
    },
    *pieces(text) {
      const stream = new Stream(scanner, replace);
      for (let from = 0; from < text.length; from += PIECE) yield stream.push(text.slice(from, from + PIECE));
      yield stream.end();
    },
    effort: () => scanner.effort,
    stream: () => new Stream(scanner, replace),
    byteMask: (kind, label) => byteMask(forms, kind, label),
    mayHold: (bytes, start, end) => scanner.mayHold(bytes, start, end),
    suspicious(bytes) {
      return scanner.suspicious(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'));
    },
  };
}

/** One scanner for each set of detectors: it has no state, and sessions are many. */
const scanners = new Map<string, Scanner>();
function scannerFor(ids: readonly string[]): Scanner {
  const key = ids.join();
  let scanner = scanners.get(key);
  if (!scanner) {
    scanner = new Scanner(DETECTORS.filter(({ id }) => ids.includes(id)));
    scanners.set(key, scanner);
  }
  return scanner;
}

/**
 * Holds back what more text could change: a few hundred characters, and more (at most a detector's longest span) only
 * while something like a key goes on.
 */
class Stream implements MaskStream {
  readonly #scanner: Scanner;
  readonly #replace: (text: string, from: number, to: number, hits: readonly Hit[]) => Scrubbed;
  /** Text that has gone out already but is still looked back at, then text that has not. */
  #text = '';
  #done = 0;
  #crossing: readonly Hit[] = [];

  constructor(scanner: Scanner, replace: (text: string, from: number, to: number, hits: readonly Hit[]) => Scrubbed) {
    this.#scanner = scanner;
    this.#replace = replace;
  }

  push(chunk: string): Scrubbed {
    this.#text += chunk;
    return this.#take(false);
  }

  end(): Scrubbed {
    const scrubbed = this.#take(true);
    this.#text = '';
    this.#done = 0;
    this.#crossing = [];
    return scrubbed;
  }

  #take(final: boolean): Scrubbed {
    const text = this.#text;
    const { hits, hold, crossing } = this.#scanner.scan(text, this.#done, final, this.#crossing);
    let to = hold;
    // Never between the halves of a surrogate pair: each piece must encode by itself.
    if (!final && to > this.#done && isHighSurrogate(text.charCodeAt(to - 1)) && hits.at(-1)?.end !== to) to--;
    const scrubbed = this.#replace(text, this.#done, to, hits);
    const keep = Math.max(0, to - CONTEXT);
    this.#text = text.slice(keep);
    this.#done = to - keep;
    this.#crossing = crossing.map((hit) => ({ ...hit, start: hit.start - keep, end: hit.end - keep }));
    return scrubbed;
  }
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}
