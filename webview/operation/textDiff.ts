import { diffWordsWithSpace } from 'diff';

export interface DiffPart {
  readonly kind: 'same' | 'before' | 'after';
  readonly text: string;
}

/** Longest text that is compared, in characters of both sides together. */
export const MAX_COMPARED = 131_072;
/** Longest time that a comparison may take, in milliseconds: a panel must not freeze. */
const TIMEOUT_MS = 300;

/** What masking changed in a text; `undefined` where it is too large to compare. */
export function textDiff(before: string, after: string): DiffPart[] | undefined {
  if (before.length + after.length > MAX_COMPARED) return undefined;
  const changes = diffWordsWithSpace(before, after, { timeout: TIMEOUT_MS });
  return changes?.map((c) => ({ kind: c.added ? 'after' : c.removed ? 'before' : 'same', text: c.value }));
}
