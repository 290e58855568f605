/**
 * Rewrites the DataRows of a chunk, as fast as it can be done: bytes to bytes where a value lets it, and what lies between
 * masked values copied as it is. Millions of rows pass here, hence the hand-made loops.
 */
import { type ByteMask, copyBytes, MASK_ROOM, type SessionMasking } from '../../masking/masking.ts';
import { type Action, replace } from './columnMask.ts';
import { violation } from './frames.ts';
import { isTextLike } from './types.ts';

/** How one column is treated; undefined where it passes as it is. */
type Treatment =
  | { readonly kind: 'bytes'; readonly mask: ByteMask }
  /** Looked through first, treated as an action only where it may hold something. */
  | { readonly kind: 'glance'; readonly action: Action }
  | { readonly kind: 'action'; readonly action: Action };

function treatmentOf(action: Action | undefined, masking: SessionMasking): Treatment | undefined {
  if (!action) return undefined;
  const plain = action.form === 'text' || (action.form === 'other' && action.format === 0);
  if (!plain) return { kind: 'action', action };
  if (action.kind === 'scan') return { kind: 'glance', action };
  if (action.format !== 0 && !isTextLike(action.typeOid)) return { kind: 'action', action };
  return { kind: 'bytes', mask: masking.byteMask(action.mask, action.label) };
}

export class RowWriter {
  readonly #masking: SessionMasking;
  readonly #treatments: readonly (Treatment | undefined)[];
  #target: Buffer = EMPTY;
  /** Values replaced so far. */
  masked = 0;

  constructor(actions: readonly (Action | undefined)[], masking: SessionMasking) {
    this.#masking = masking;
    const last = actions.findLastIndex((action) => action !== undefined) + 1;
    this.#treatments = actions.slice(0, last).map((action) => treatmentOf(action, masking));
  }

  /** @returns the whole frames in `start…end` with their values masked; undefined where they are as they should be. */
  rewrite(buffer: Buffer, start: number, end: number): Buffer | undefined {
    const treatments = this.#treatments;
    const masking = this.#masking;
    const room = treatments.length * MASK_ROOM;
    let target = this.#target;
    /** Everything before it has been written or is about to be copied. */
    let kept = start;
    let at = 0;
    for (let row = start; row < end; ) {
      const next = row + 1 + buffer.readInt32BE(row + 1);
      // Masks are never longer than this; what is longer makes room for itself.
      if (at + (next - kept) + room > target.length) target = larger(target, at, at + (end - kept) + ((end - kept) >> 1) + room);
      const count = Math.min(buffer.readUInt16BE(row + 5), treatments.length);
      let rowAt = -1;
      let field = row + 7;
      for (let i = 0; i < count; i++) {
        if (field + 4 > next) throw violation('a row shorter than its columns');
        const length = buffer.readInt32BE(field);
        if (length < -1 || field + 4 + length > next) throw violation('a column longer than its row');
        const from = field + 4;
        const to = length > 0 ? from + length : from;
        const treatment = length > 0 ? treatments[i] : undefined;
        field = to;
        if (!treatment) continue;
        if (treatment.kind === 'bytes') {
          if (rowAt < 0) rowAt = at + (row - kept);
          at = copyBytes(buffer, kept, from - 4, target, at);
          const ended = treatment.mask(buffer, from, to, target, at + 4);
          putInt32(target, at, ended - at - 4);
          at = ended;
          this.masked++;
          kept = to;
          continue;
        }
        if (treatment.kind === 'glance' && !masking.mayHold(buffer, from, to)) continue;
        const replaced = replace(treatment.action, buffer, from, to, masking, false);
        if (!replaced) continue;
        if (rowAt < 0) rowAt = at + (row - kept);
        at = copyBytes(buffer, kept, from - 4, target, at);
        const value = replaced.value === null ? undefined : Buffer.from(replaced.value);
        const prefix = value && replaced.prefix !== undefined ? 1 : 0;
        const bytes = value ? value.length + prefix : 0;
        if (at + 4 + bytes + (next - to) + room > target.length) target = larger(target, at, at + 4 + bytes + (end - to) + room);
        putInt32(target, at, value ? bytes : -1);
        at += 4;
        if (prefix === 1) target[at++] = replaced.prefix ?? 0;
        if (value) at = copyBytes(value, 0, value.length, target, at);
        this.masked += replaced.findings.length;
        kept = to;
      }
      if (rowAt >= 0) {
        at = copyBytes(buffer, kept, next, target, at);
        kept = next;
        putInt32(target, rowAt + 1, at - rowAt - 1);
      }
      row = next;
    }
    if (kept === start) {
      this.#target = target;
      return undefined;
    }
    if (at + (end - kept) > target.length) target = larger(target, at, at + (end - kept));
    at = copyBytes(buffer, kept, end, target, at);
    const done = target.subarray(0, at);
    // What is left serves the next chunk; the socket may still hold the part that is used.
    this.#target = target.length - at > at ? target.subarray(at) : EMPTY;
    return done;
  }
}

const EMPTY = Buffer.alloc(0);

function larger(buffer: Buffer, used: number, needed: number): Buffer {
  const made = Buffer.allocUnsafeSlow(needed + (needed >> 3));
  buffer.copy(made, 0, 0, used);
  return made;
}

function putInt32(buffer: Buffer, at: number, value: number): void {
  buffer[at] = value >> 24;
  buffer[at + 1] = value >> 16;
  buffer[at + 2] = value >> 8;
  buffer[at + 3] = value;
}
