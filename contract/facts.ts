import { z } from 'zod';

/** What an operation does, the same words for every protocol; in the order of `EFFECT_RANK`, mildest first. */
export const EFFECTS = ['read', 'send', 'write', 'delete', 'schema', 'execute', 'admin', 'unknown'] as const;
export const Effect = z.enum(EFFECTS);
export type Effect = z.infer<typeof Effect>;

/** Position in `EFFECTS`: of several parts of an operation, the one with the highest rank names the whole. */
export function effectRank(effect: Effect): number {
  return EFFECTS.indexOf(effect);
}

const Target = z.object({
  /** `table`, `tool`, `resource`, `server`, `function`, `database`, … */
  kind: z.string().max(40),
  /** As policy matches it: `orders`, `billing.invoices`, `create_issue`. Public-schema tables carry no schema. */
  name: z.string().max(512),
});
export type Target = z.infer<typeof Target>;

/** Facts that only SQL has (`sql.*` in policy). */
export const SqlFacts = z.object({
  /** Upper-case statement kind: `SELECT`, `UPDATE`, `COPY TO`, `BEGIN`, … */
  statement: z.string().max(60),
  /** A WHERE that can exclude a row; a constant condition does not count. */
  where: z.boolean(),
  /** Functions with side effects or of unknown volatility that the statement calls. */
  functions: z.array(z.string().max(200)).max(200),
  /** `table.column` of sensitive columns, by use. */
  returned: z.array(z.string().max(300)).max(500),
  predicates: z.array(z.string().max(300)).max(500),
  written: z.array(z.string().max(300)).max(500),
  /** Every use in `predicates` asks only whether it equals a literal or parameter, or has a value at all. Absent: cannot be told, which counts as no. */
  equality: z.boolean().optional(),
  /** It writes what stood in place of a value (`***`, `‹redacted›`): that would overwrite the value with its mask. */
  masks: z.boolean().optional(),
  /** Whether the statement starts, ends or changes a transaction or session setting. */
  session: z.boolean(),
});
export type SqlFacts = z.infer<typeof SqlFacts>;

/** Facts that only MCP has (`mcp.*` in policy). */
export const McpFacts = z.object({
  method: z.string().max(200),
  tool: z.string().max(200),
  /** The tool's arguments, as parsed. */
  args: z.record(z.string(), z.unknown()),
  /** What the (untrusted) server says of the tool. */
  hints: z.object({
    readOnly: z.boolean().optional(),
    destructive: z.boolean().optional(),
    idempotent: z.boolean().optional(),
    openWorld: z.boolean().optional(),
  }),
  /** Whether it may carry something out of reach. Absent in older records: not known. */
  outward: z.boolean().optional(),
  /** Detectors that found something in its arguments: `api-key`, `card`. */
  secrets: z.array(z.string().max(60)).max(50).optional(),
});
export type McpFacts = z.infer<typeof McpFacts>;

/** What was parsed of one operation or one part of it (a statement of a multi-statement query). */
export const Facts = z.object({
  effect: Effect,
  /** The protocol's own verb, upper case for SQL: `UPDATE`, `tools/call`. */
  verb: z.string().max(60),
  targets: z.array(Target).max(500),
  /** Changes or removes every row there is, or a number nothing bounds. */
  bulk: z.boolean(),
  /** Sensitive columns or fields that the operation touches in any way. */
  sensitive: z.array(z.string().max(300)).max(500),
  /** Our parsed effect in a few words: `UPDATE orders`. Never the agent's prose. */
  headline: z.string().max(300),
  /** Further facts for a person, most telling first: `one table`, `has WHERE`. */
  notes: z.array(z.string().max(300)).max(20),
  sql: SqlFacts.optional(),
  mcp: McpFacts.optional(),
});
export type Facts = z.infer<typeof Facts>;

/** Several parts as one: the worst effect leads, everything touched is kept. */
export function mergeFacts(parts: readonly Facts[]): Facts {
  const worst = parts.reduce((a, b) => (effectRank(b.effect) > effectRank(a.effect) ? b : a));
  if (parts.length === 1) return worst;
  const targets = new Map(parts.flatMap((p) => p.targets).map((t) => [`${t.kind}\0${t.name}`, t]));
  return {
    ...worst,
    targets: [...targets.values()].slice(0, 500),
    bulk: parts.some((p) => p.bulk),
    sensitive: [...new Set(parts.flatMap((p) => p.sensitive))].slice(0, 500),
    notes: [`${parts.length} ${worst.mcp ? 'calls' : 'statements'} sent as one`, ...worst.notes].slice(0, 20),
  };
}
