/**
 * Rewrites the DataRows of a chunk, as fast as it can be done: bytes to bytes where a value lets it, and what lies between
 * masked values copied as it is. Millions of rows pass here, hence the hand-made loops.
 */
import { type ByteMask, copyBytes, MASK_ROOM, type SessionMasking } from '../../masking/masking.ts';
import { type Action, hidesNothing, replace } from './columnMask.ts';
import { violation } from './frames.ts';
import { isTextLike } from './types.ts';

/** How one column is treated. All are of one shape, which the loop below is faster with. */
interface Treatment {
  readonly kind: number;
  /** What stands in place of any value: a field with its length before it. */
  readonly field: DataView;
  readonly mask: ByteMask | undefined;
  readonly action: Action | undefined;
  /** The length from which on a value is treated: NULL has -1. */
  readonly least: number;
}

const PASS = 0;
const FIXED = 1;
const BYTES = 2;
/** Looked through first, treated as an action only where it may hold something. */
const GLANCE = 3;
const ACTION = 4;

function treatmentOf(action: Action | undefined, masking: SessionMasking): Treatment {
  const passed: Treatment = { kind: PASS, field: NOTHING, mask: undefined, action, least: action && hidesNothing(action) ? -1 : 1 };
  if (!action) return passed;
  const plain = action.form === 'text' || (action.form === 'other' && action.format === 0);
  if (!plain) return { ...passed, kind: ACTION };
  if (action.kind === 'scan') return { ...passed, kind: GLANCE };
  if (action.format !== 0 && !isTextLike(action.typeOid)) return { ...passed, kind: ACTION };
  const mask = masking.byteMask(action.mask, action.label);
  return action.mask === 'redact' ? { ...passed, kind: FIXED, field: fieldOf(mask) } : { ...passed, kind: BYTES, mask };
}

function fieldOf(mask: ByteMask): DataView {
  const field = Buffer.alloc(4 + MASK_ROOM);
  const end = mask(EMPTY, 0, 0, field, 4);
  field.writeInt32BE(end - 4);
  return new DataView(field.buffer, field.byteOffset, end);
}

export class RowWriter {
  readonly #masking: SessionMasking;
  readonly #treatments: readonly Treatment[];
  #view: DataView = NOTHING;
  #source: DataView = NOTHING;
  /** What was written last: `target[from, to)`. */
  target: Buffer = EMPTY;
  from = 0;
  to = 0;
  /** Values replaced so far. */
  masked = 0;

  constructor(actions: readonly (Action | undefined)[], masking: SessionMasking) {
    this.#masking = masking;
    const last = actions.findLastIndex((action) => action !== undefined) + 1;
    this.#treatments = actions.slice(0, last).map((action) => treatmentOf(action, masking));
  }

  /**
   * Writes the whole frames in `start…end` with their values masked, right after what it wrote before.
   * @param free nothing refers to what was written before any more: its place may be used again
   * @returns false where the frames are as they should be, and nothing was written
   */
  rewrite(buffer: Buffer, start: number, end: number, free = false): boolean {
    const treatments = this.#treatments;
    const masking = this.#masking;
    const room = treatments.length * MASK_ROOM;
    if (this.#source.buffer !== buffer.buffer) this.#source = new DataView(buffer.buffer);
    const source = this.#source;
    /** Of the buffer in what `source` shows. */
    const base = buffer.byteOffset;
    this.from = free ? 0 : this.to;
    this.to = this.from;
    let target = this.target;
    let view = this.#view;
    let at = this.from;
    /** Everything before it has been written or is about to be copied. */
    let kept = start;
    let masked = 0;
    for (let row = start; row < end; ) {
      const next = row + 1 + source.getInt32(base + row + 1);
      // Masks are never longer than this; what is longer makes room for itself.
      if (at + (next - kept) + room > target.length) {
        at = this.#enlarge(at, at + (end - kept) + ((end - kept) >> 1) + room);
        target = this.target;
        view = this.#view;
      }
      const count = Math.min(source.getUint16(base + row + 5), treatments.length);
      let lengthAt = -1;
      let field = row + 7;
      for (let i = 0; i < count; i++) {
        if (field + 4 > next) throw violation('a row shorter than its columns');
        const length = source.getInt32(base + field);
        if (length < -1 || field + 4 + length > next) throw violation('a column longer than its row');
        const from = field + 4;
        const to = length > 0 ? from + length : from;
        const treatment = treatments[i] as Treatment;
        const { action, kind, mask } = treatment;
        field = to;
        if (kind === PASS || length < treatment.least) continue;
        if (kind <= BYTES) {
          if (lengthAt < 0) lengthAt = at + (row - kept) + 1;
          if (from - 4 > kept) at = copyWords(source, base + kept, base + from - 4, view, at);
          if (!mask) at = copyWords(treatment.field, 0, treatment.field.byteLength, view, at);
          else {
            const ended = mask(buffer, from, to, target, at + 4);
            view.setInt32(at, ended - at - 4);
            at = ended;
          }
          masked++;
          kept = to;
          continue;
        }
        if (!action || (kind === GLANCE && !masking.mayHold(buffer, from, to))) continue;
        const replaced = replace(action, buffer, from, to, masking, false);
        if (!replaced) continue;
        if (lengthAt < 0) lengthAt = at + (row - kept) + 1;
        at = copyWords(source, base + kept, base + from - 4, view, at);
        const value = replaced.value === null ? undefined : Buffer.from(replaced.value);
        const prefix = value && replaced.prefix !== undefined ? 1 : 0;
        const bytes = value ? value.length + prefix : 0;
        if (at + 4 + bytes + (next - to) + room > target.length) {
          const before = this.from;
          at = this.#enlarge(at, at + 4 + bytes + (end - to) + room);
          lengthAt += this.from - before;
          target = this.target;
          view = this.#view;
        }
        view.setInt32(at, value ? bytes : -1);
        at += 4;
        if (prefix === 1) target[at++] = replaced.prefix ?? 0;
        if (value) at = copyBytes(value, 0, value.length, target, at);
        masked += replaced.findings.length;
        kept = to;
      }
      if (lengthAt >= 0) {
        if (next > kept) at = copyWords(source, base + kept, base + next, view, at);
        kept = next;
        view.setInt32(lengthAt, at - lengthAt);
      }
      row = next;
    }
    if (kept === start) return false;
    if (at + (end - kept) > target.length) at = this.#enlarge(at, at + (end - kept));
    this.to = copyWords(source, base + kept, base + end, this.#view, at);
    this.masked += masked;
    return true;
  }

  /** What is being written moves to a larger buffer. @returns where it goes on */
  #enlarge(at: number, needed: number): number {
    const used = at - this.from;
    const made = Buffer.allocUnsafeSlow(Math.max(LEAST_BYTES, Math.ceil((needed - this.from) * 1.5)));
    this.target.copy(made, 0, this.from, at);
    this.target = made;
    this.#view = new DataView(made.buffer);
    this.from = 0;
    this.to = 0;
    return used;
  }
}

const EMPTY = Buffer.alloc(0);
const NOTHING = new DataView(new ArrayBuffer(0));
/** Smallest buffer that is written to: several of the chunks that a server sends. */
const LEAST_BYTES = 32_768;
/** From so many bytes on, a call out of JavaScript copies faster than a loop of words. */
const LONG = 256;

/** @returns where the copy ends. */
function copyWords(source: DataView, start: number, end: number, target: DataView, at: number): number {
  const length = end - start;
  const ended = at + length;
  if (length >= LONG) {
    new Uint8Array(target.buffer, target.byteOffset).set(new Uint8Array(source.buffer, source.byteOffset + start, length), at);
    return ended;
  }
  if (length < 4) {
    for (let i = 0; i < length; i++) target.setUint8(at + i, source.getUint8(start + i));
    return ended;
  }
  const last = length - 4;
  for (let i = 0; i < last; i += 4) target.setInt32(at + i, source.getInt32(start + i, true), true);
  // The last word may lie over the one before it.
  target.setInt32(at + last, source.getInt32(end - 4, true), true);
  return ended;
}
