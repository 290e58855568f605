/** What servers say of what they offer, as it was when a person (or first use) accepted it, and what has changed since. */
import { z } from 'zod';

/** `instructions` are a server's own words to the agent; it has one of them. */
export const PinKind = z.enum(['tool', 'prompt', 'template', 'instructions']);
export type PinKind = z.infer<typeof PinKind>;

const name = z.string().min(1).max(512);
const hash = z.string().regex(/^[0-9a-f]{64}$/);

/** One definition that no agent sees until a person has looked at it. */
export const Quarantined = z.object({
  kind: PinKind,
  name,
  /** Of the definition that waits: an answer must name it. */
  hash,
  /** Why, in sentences without their end. */
  reasons: z.array(z.string().max(600)).min(1).max(20),
  /** Whether another definition of that name was accepted before. */
  known: z.boolean(),
  /** A person has looked at it and said no. */
  rejected: z.boolean(),
});
export type Quarantined = z.infer<typeof Quarantined>;

/** What a connection's server offers, as the proxy holds it to. */
export const PinsView = z.object({
  tools: z.number().int().nonnegative(),
  prompts: z.number().int().nonnegative(),
  quarantined: z.array(Quarantined).max(200),
  /** Epoch milliseconds of the first contact, where what was offered then was accepted without a person. */
  trustedOnFirstUse: z.number().optional(),
});
export type PinsView = z.infer<typeof PinsView>;

/** Names one definition by what it says: what is asked for, and what an answer speaks of. */
const PinRef = z.object({ kind: PinKind, name, hash });

export const PinQuery = z.object({ connection: z.string().max(200), items: z.array(PinRef).min(1).max(200) });
export type PinQuery = z.infer<typeof PinQuery>;

/** The whole text before and after, for a person to compare; an item that is no longer waiting is left out. */
export const PinTexts = z.object({ items: z.array(PinRef.extend({ before: z.string().optional(), after: z.string(), reasons: z.array(z.string()) })) });
export type PinTexts = z.infer<typeof PinTexts>;

/** A person's answer to exactly these definitions. */
export const PinAnswer = PinQuery.extend({ answer: z.enum(['accept', 'reject']) });
export type PinAnswer = z.infer<typeof PinAnswer>;

/** How many of them took effect: those that had changed again since they were shown did not. */
export const PinAnswered = z.object({ done: z.number().int().nonnegative(), stale: z.number().int().nonnegative() });
export type PinAnswered = z.infer<typeof PinAnswered>;

/** The same of a gateway's connections. */
export const SharedPinsView = PinsView.extend({ connection: z.string().max(200), quarantined: z.array(Quarantined).max(1_000) });
export type SharedPinsView = z.infer<typeof SharedPinsView>;

/** A person's answer to definitions of one connection of a gateway's. */
export const SharedPinAnswer = PinAnswer.omit({ connection: true });
