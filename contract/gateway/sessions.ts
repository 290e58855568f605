/** Sessions on shared connections, live and past. */
import { z } from 'zod';
import { Actor } from '../actor.ts';

export const GatewaySession = z.object({
  id: z.string().max(128),
  conversation: z.string().max(128),
  actor: Actor,
  connection: z.string().max(200),
  protocol: z.string().max(40),
  surface: z.string().max(40),
  openedAt: z.number(),
  closedAt: z.number().optional(),
  closeReason: z.string().max(400).optional(),
  /** Lines of its record, once it has ended. */
  entries: z.number().int().nonnegative().optional(),
  /** The same so far, of one that is open. */
  lines: z.number().int().nonnegative().optional(),
  /** Sealed by another process than the one that wrote it, because that one went away. */
  recovered: z.boolean(),
  /** When its record was removed, because its time was over. */
  expiredAt: z.number().optional(),
});
export type GatewaySession = z.infer<typeof GatewaySession>;

export const SessionQuery = z.object({
  /** Only those that are open. */
  live: z.enum(['true', 'false']).optional(),
  connection: z.string().max(200).optional(),
  /** Opened before, epoch milliseconds. */
  before: z.coerce.number().optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});

/** The lines of a record as they were written: each holds the hash of the one before. */
export const SessionEntries = z.object({ session: z.string().max(128), lines: z.array(z.string()), more: z.boolean() });
export type SessionEntries = z.infer<typeof SessionEntries>;

export const AuditPage = z.object({
  chain: z.string().max(200),
  lines: z.array(z.object({ seq: z.number().int(), at: z.number(), line: z.string() })),
  more: z.boolean(),
});
export type AuditPage = z.infer<typeof AuditPage>;

/** How the gateway's own storage is doing. */
export const StorageHealth = z.object({
  /** Where records go once their session has ended; absent: they stay in the database. */
  archive: z
    .object({
      place: z.string().max(500),
      /** Sessions that should be there and are not yet. */
      waiting: z.number().int(),
      /** Sessions whose record does not hold, and that stay in the database to be looked into. */
      broken: z.number().int(),
      problem: z.string().max(2000).optional(),
    })
    .optional(),
});
export type StorageHealth = z.infer<typeof StorageHealth>;

export const AuditReport = z.object({
  ok: z.boolean(),
  chains: z.number().int(),
  entries: z.number().int(),
  sessions: z.number().int(),
  problems: z.array(z.string().max(1000)).max(100),
  /** What holds, and proves less than the rest. */
  notes: z.array(z.string().max(1000)).max(100).optional(),
});
export type AuditReport = z.infer<typeof AuditReport>;
