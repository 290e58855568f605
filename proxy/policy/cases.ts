/** Operations written down by hand, to try a policy on: `countersign policy test` and `explain`. */
import { z } from 'zod';
import { AGENT_KINDS } from '../../contract/actor.ts';
import { EFFECTS, type Facts } from '../../contract/facts.ts';
import { DECISIONS } from '../../contract/verdict.ts';
import type { LoadedPolicy } from './load.ts';
import type { DecisionContext } from './policy.ts';

const MAX_CASES = 5_000;
const word = z.string().min(1).max(512);
const wordList = z.union([word, z.array(word).max(500)]).transform((value) => (typeof value === 'string' ? [value] : value));
const columns = z.array(word).max(500).default([]);

/** What a case says of an operation; what it leaves out is the harmless answer. */
export const WrittenOperation = z.strictObject({
  effect: z.enum(EFFECTS),
  connection: word.default('example'),
  protocol: z.enum(['postgres', 'mcp']).optional(),
  verb: z.string().max(60).optional(),
  target: wordList.default([]),
  bulk: z.boolean().default(false),
  sensitive: wordList.default([]),
  sql: z
    .strictObject({
      statement: z.string().max(60).optional(),
      where: z.boolean().default(true),
      functions: columns,
      returned: columns,
      predicates: columns,
      written: columns,
      session: z.boolean().default(false),
      equality: z.boolean().optional(),
      masks: z.boolean().optional(),
    })
    .optional(),
  mcp: z
    .strictObject({
      method: z.string().max(200).default('tools/call'),
      tool: z.string().max(200).default(''),
      args: z.record(z.string(), z.unknown()).default({}),
      hints: z
        .strictObject({
          readOnly: z.boolean().optional(),
          destructive: z.boolean().optional(),
          idempotent: z.boolean().optional(),
          openWorld: z.boolean().optional(),
        })
        .default({}),
      secrets: columns,
      outward: z.boolean().default(true),
    })
    .optional(),
  agent: z.union([z.enum(AGENT_KINDS), z.strictObject({ kind: z.enum(AGENT_KINDS), name: word })]).default('unknown'),
  person: word.default('you'),
  groups: z.array(word).max(200).default([]),
  surface: word.default('terminal'),
  /** Targets read before, as `connection/name`; sensitive unless said otherwise. */
  read: z
    .array(z.union([word, z.strictObject({ target: word, sensitive: z.boolean() })]))
    .max(1_000)
    .default([]),
});
export type WrittenOperation = z.infer<typeof WrittenOperation>;

export const Cases = z.strictObject({
  /** The files to try, by layer, relative to this one. */
  policy: z.strictObject({ gateway: word.optional(), organisation: word.optional(), user: word.optional(), workspace: word.optional() }).default({}),
  cases: z
    .array(
      z.strictObject({
        name: word,
        operation: WrittenOperation,
        expect: z.union([z.enum(DECISIONS), z.strictObject({ verdict: z.enum(DECISIONS), rule: word.optional() })]),
      }),
    )
    .min(1)
    .max(MAX_CASES),
});
export type Cases = z.infer<typeof Cases>;

export function asFacts(written: WrittenOperation): { readonly facts: Facts; readonly context: DecisionContext } {
  const protocol = written.protocol ?? (written.mcp ? 'mcp' : 'postgres');
  const verb = written.verb ?? written.sql?.statement ?? written.mcp?.method ?? written.effect.toUpperCase();
  const agent = typeof written.agent === 'string' ? { kind: written.agent, name: written.agent } : written.agent;
  const { sql, mcp } = written;
  const { equality, masks } = sql ?? {};
  return {
    facts: {
      effect: written.effect,
      verb,
      targets: written.target.map((name) => ({ kind: protocol === 'mcp' ? 'tool' : 'table', name })),
      bulk: written.bulk,
      sensitive: written.sensitive,
      headline: [verb, ...written.target].join(' ').slice(0, 300),
      notes: [],
      ...(sql && {
        sql: {
          statement: sql.statement ?? verb,
          where: sql.where,
          functions: sql.functions,
          returned: sql.returned,
          predicates: sql.predicates,
          written: sql.written,
          session: sql.session,
          ...(equality !== undefined && { equality }),
          ...(masks !== undefined && { masks }),
        },
      }),
      ...(mcp && { mcp: { method: mcp.method, tool: mcp.tool, args: mcp.args, hints: mcp.hints, secrets: mcp.secrets, outward: mcp.outward } }),
    },
    context: {
      actor: { person: { issuer: 'os', subject: written.person, groups: written.groups }, agent },
      connection: written.connection,
      protocol,
      surface: written.surface,
      conversationRead: written.read.map((one) => (typeof one === 'string' ? { target: one, sensitive: true } : one)),
    },
  };
}

export type CaseResult = { readonly name: string; readonly passed: true } | { readonly name: string; readonly passed: false; readonly why: string };

export function runCases(policy: LoadedPolicy, { cases }: Cases): CaseResult[] {
  return cases.map(({ name, operation, expect }) => {
    const { facts, context } = asFacts(operation);
    const verdict = policy.decide(facts, context);
    const wanted = typeof expect === 'string' ? { verdict: expect, rule: undefined } : expect;
    if (verdict.decision === wanted.verdict && (wanted.rule === undefined || wanted.rule === verdict.rule.id)) return { name, passed: true };
    const by = wanted.rule === undefined ? '' : ` by ${wanted.rule}`;
    return { name, passed: false, why: `expected ${wanted.verdict}${by}, got ${verdict.decision} by ${verdict.rule.id}: ${verdict.because}` };
  });
}
