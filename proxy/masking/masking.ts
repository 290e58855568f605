/** Masking as the protocols use it. */
import type { Finding } from '../../contract/response.ts';
import type { MaskKind } from '../../contract/verdict.ts';
import type { ByteMask } from './byteMask.ts';
import type { SessionTokens } from './revealing.ts';

export { type ByteMask, copyBytes, MASK_ROOM } from './byteMask.ts';
export { shapeOf } from './forms.ts';
export { type Place, type Revealed, type SessionTokens, UNKNOWN_TOKEN } from './revealing.ts';
export { createSessionMasking } from './sessionMasking.ts';
export { bytesMayHoldMask, maskIn, mayHoldMask } from './tokenText.ts';
export { UNREAD, UNREAD_TEXT } from './unread.ts';
export { type Found, TokenVault } from './vault.ts';

/** Text in which every detected value has been replaced. The brand is what the recorder and the agent's side require. */
declare const masked: unique symbol;
export type MaskedText = string & { readonly [masked]: true };

/** A finding while the text is still in hand; `at` are offsets (UTF-16) in `text`, also where it is a piece of a stream. */
export interface Scrubbed {
  readonly text: MaskedText;
  readonly findings: readonly Finding[];
}

/** Replaces one value. `kind` is the policy's; `label` says what it is (`customers.email`, `card`). */
interface ValueMasker {
  mask(value: string, kind: MaskKind, label: string): MaskedText;
}

/** One per session: keeps the `hash` key, and writes tokens for the vault of the session's conversation. */
export interface SessionMasking extends ValueMasker {
  /** Tokens that come back: found in what an agent sends, and turned into their values where policy lets them. */
  readonly tokens: SessionTokens;
  /** Detects and replaces every sensitive value in a piece of text that is complete (a column value, an error). Text that would take too long is left out whole. */
  scrub(text: string): Scrubbed;
  /** The same of a long text, in pieces, between which others have their turn. However dear it is: the caller gives up. */
  pieces(text: string): Iterable<Scrubbed>;
  /** What all that was scrubbed has taken so far, as `Scanner` counts it. */
  effort(): number;
  /** The same over a stream, whatever the chunks: holds back no more than the longest span that a detector needs. */
  stream(): MaskStream;
  /** What `mask` gives, for many values that lie in buffers. */
  byteMask(kind: MaskKind, label: string): ByteMask;
  /** Whether the value in `bytes[start, end)` may hold anything that `scrub` finds; false is certain. Meant for short values. */
  mayHold(bytes: Buffer, start: number, end: number): boolean;
  /** A fast answer to "may this hold anything sensitive?"; false is certain. */
  suspicious(bytes: Uint8Array): boolean;
}

export interface MaskStream {
  push(chunk: string): Scrubbed;
  end(): Scrubbed;
}
