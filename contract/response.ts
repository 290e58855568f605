import { z } from 'zod';
import { MaskKind } from './verdict.ts';

/** One sensitive value that was seen and what stands in its place. Never holds the value. */
export const Finding = z.object({
  /** What it is: `email`, `card`, `customers.ssn`. */
  label: z.string().max(300),
  /** What found it: a detector's id, or `column` for a column that policy names, or `opaque` for an expression over one. */
  by: z.string().max(60),
  mask: MaskKind,
  /** Where: row and column of a `rows` answer, or start and end (UTF-16 units) in the masked text of a `text` answer. */
  at: z.tuple([z.number().int().nonnegative(), z.number().int().nonnegative()]),
  /** The value's outline, letters and digits as dots: `•••@••.•••`. */
  shape: z.string().max(200),
});
export type Finding = z.infer<typeof Finding>;

/** The answer as the agent saw it: masked, and cut to what a person reads. */
export const Answer = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('rows'),
    columns: z.array(z.string().max(300)).max(2000),
    rows: z.array(z.array(z.string().nullable())).max(200),
    truncated: z.boolean(),
    findings: z.array(Finding).max(5000),
  }),
  z.object({ kind: z.literal('text'), text: z.string(), truncated: z.boolean(), findings: z.array(Finding).max(5000) }),
]);
export type Answer = z.infer<typeof Answer>;

/** Caps on what of an answer is kept for a person: rows, and characters of masked text. */
export const MAX_ANSWER_ROWS = 100;
export const MAX_ANSWER_CHARS = 65_536;
