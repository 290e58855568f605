import { z } from 'zod';
import { Actor, Person } from './actor.ts';
import { Facts } from './facts.ts';
import { Answer } from './response.ts';
import { Verdict } from './verdict.ts';

/** Version of the entry format. A reader refuses what it does not know. */
export const RECORDING_VERSION = 1;

const operation = z.string().max(128);

/** How an operation ended. `lost` is written by recovery: the process died before it could say. */
const OUTCOMES = ['done', 'failed', 'denied', 'cancelled', 'lost'] as const;
export const OutcomeKind = z.enum(OUTCOMES);
export type OutcomeKind = z.infer<typeof OutcomeKind>;

/** What an entry says; `Entry` wraps it with its place in the chain. All text in it is masked before it gets here. */
export const EntryBody = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('session.open'),
    conversation: z.string().max(128),
    actor: Actor,
    connection: z.string().max(200),
    protocol: z.string().max(40),
    /** Which data surface it came in by: `terminal`, `mcp`, … */
    surface: z.string().max(40),
  }),
  z.object({
    type: z.literal('operation.intent'),
    operation,
    digest: z.string().max(128),
    /** The request with sensitive literals masked. */
    payload: z.string(),
    params: z.array(z.string().nullable()).optional(),
    facts: Facts,
    verdict: Verdict,
  }),
  z.object({
    type: z.literal('operation.approval'),
    operation,
    approval: z.string().max(128),
    answer: z.enum(['approved', 'denied']),
    /** Why, where no person answered: `deadline`, `withdrawn`, `nobody`, `limit`. `person` otherwise; `grant` when an earlier answer covered it. */
    why: z.string().max(40),
    by: Person.optional(),
    note: z.string().max(2000).optional(),
    waitedMs: z.number().nonnegative(),
  }),
  /** The operation was tried before anyone had answered, because its rule says so, and taken back: written before and after. */
  z.object({
    type: z.literal('operation.dry-run'),
    operation,
    /** Of the bytes that were tried; not those of the operation. */
    digest: z.string().max(128),
    /** What permitted it: `dry-run:<rule>`. */
    basis: z.string().max(200),
    state: z.enum(['started', 'done', 'failed', 'cancelled']),
    /** Rows that would change. */
    rows: z.number().int().nonnegative().optional(),
    tookMs: z.number().nonnegative().optional(),
  }),
  z.object({
    type: z.literal('operation.outcome'),
    operation,
    outcome: OutcomeKind,
    /** Rows returned or changed, where the protocol says. */
    rows: z.number().int().nonnegative().optional(),
    masked: z.number().int().nonnegative(),
    /** The error as the agent saw it, masked. */
    error: z.object({ code: z.string().max(40), message: z.string().max(4000) }).optional(),
    answer: Answer.optional(),
    tookMs: z.number().nonnegative(),
  }),
  z.object({ type: z.literal('session.close'), reason: z.string().max(400) }),
]);
export type EntryBody = z.infer<typeof EntryBody>;

/** One line of a session's file, in canonical JSON (RFC 8785). */
export const Entry = z.object({
  v: z.literal(RECORDING_VERSION),
  session: z.string().max(128),
  /** 0, 1, 2, … without a gap. */
  seq: z.number().int().nonnegative(),
  /** RFC 3339, UTC, milliseconds. */
  at: z.string().max(40),
  /** SHA-256 (hex) of the line before, without its line end; 64 zeros for the first. */
  prev: z.string().length(64),
  body: EntryBody,
});
export type Entry = z.infer<typeof Entry>;
