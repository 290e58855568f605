/** The policy's tester: what an operation is taken for, and which rule decides, under what is in force and under a draft. Sends nothing. */
import { randomBytes } from 'node:crypto';
import type { Person } from '../../contract/actor.ts';
import { AGENT_NAMES } from '../../contract/agentName.ts';
import { type Facts, mergeFacts } from '../../contract/facts.ts';
import type { ExplainedVerdict, ExplainPolicy, PolicyExplanation } from '../../contract/gateway/explain.ts';
import { Problem } from '../../contract/problem.ts';
import { DECISIONS, type Verdict } from '../../contract/verdict.ts';
import { createSessionMasking } from '../../proxy/masking/sessionMasking.ts';
import { asFacts } from '../../proxy/policy/cases.ts';
import type { LoadedPolicy } from '../../proxy/policy/load.ts';
import type { ConnectionConfig, DecisionContext, MaskPlan } from '../../proxy/policy/policy.ts';
import { classify } from '../../proxy/protocols/mcp/classify.ts';
import { maskJson } from '../../proxy/protocols/mcp/maskJson.ts';
import { isObject, type JsonObject } from '../../proxy/protocols/mcp/message.ts';
import type { CentralPolicy } from './central.ts';

/** How long the catalog of a database is waited for, in milliseconds. */
const CATALOG_MS = 5_000;
const MAX_PARTS = 200;
const MAX_RULES_SHOWN = 1_000;

export interface TesterParts {
  readonly central: Pick<CentralPolicy, 'current' | 'draft'>;
  /** What a text is understood as on a connection that is served here, sending nothing; undefined where it is not served. */
  readonly understand: (connection: string, text: string, plan: MaskPlan) => Promise<readonly Facts[]> | undefined;
  /** The issuer that a tried person is taken to be of. */
  readonly issuer: string;
}

interface Understood {
  readonly parts: readonly Facts[];
  readonly notes: readonly string[];
}

/** @throws `Problem` `policy-broken` where the draft is, `not-found` where no such connection is, `bad-request` */
export async function explainPolicy({ central, understand, issuer }: TesterParts, asked: ExplainPolicy): Promise<PolicyExplanation> {
  const inForce = central.current();
  const draft = asked.text === undefined ? undefined : central.draft(asked.text);
  const config = draft?.connections.get(asked.connection) ?? inForce.connections.get(asked.connection);
  if (!config) throw new Problem('not-found', `No connection is called ${asked.connection}, in the policy in force or in the draft.`);
  const understood = async (policy: LoadedPolicy): Promise<Understood> => await partsOf(asked, config, policy.maskPlan(config.name), understand);
  const now = await understood(inForce);
  // What is sensitive may be other columns in the draft, and so the facts may differ.
  const then = draft && (await understood(draft));
  const person: Person = { issuer, subject: asked.person.subject, groups: asked.person.groups };
  const context: DecisionContext = {
    actor: { person, agent: { kind: asked.agent, name: AGENT_NAMES[asked.agent] ?? asked.agent } },
    connection: config.name,
    protocol: config.protocol,
    surface: config.protocol === 'mcp' ? 'mcp' : 'terminal',
    conversationRead: asked.read.map((target) => ({ target, sensitive: true })),
  };
  const before = now.parts.map((facts) => explained(inForce, facts, context));
  const after = draft && then?.parts.map((facts) => explained(draft, facts, context));
  return {
    parts: before.slice(0, MAX_PARTS).map((was, i) => {
      const will = after?.[i];
      return { inForce: was, ...(will && { draft: will }) };
    }),
    inForce: { part: strictest(before) },
    ...(after && { draft: { part: strictest(after) } }),
    notes: [...new Set([...now.notes, ...(then?.notes ?? [])])],
  };
}

async function partsOf({ operation }: ExplainPolicy, config: ConnectionConfig, plan: MaskPlan, understand: TesterParts['understand']): Promise<Understood> {
  switch (operation.kind) {
    case 'facts': {
      const { effect, targets, bulk } = operation;
      const { facts } = asFacts({
        effect,
        target: targets,
        bulk,
        connection: config.name,
        protocol: config.protocol,
        sensitive: [],
        agent: 'unknown',
        person: 'x',
        groups: [],
        surface: 'terminal',
        read: [],
      });
      return { parts: [facts], notes: ['What you said of it was taken as it is. A real operation may touch more than it seems to.'] };
    }
    case 'tool':
      return toolParts(operation.tool, operation.args, config, plan);
    case 'sql':
      return await sqlParts(operation.text, config, plan, understand);
  }
}

function toolParts(tool: string, args: string, config: ConnectionConfig, plan: MaskPlan): Understood {
  if (config.protocol !== 'mcp') throw new Problem('bad-request', `${config.name} is a database: it takes statements, and no calls of tools.`);
  const params: JsonObject = { name: tool, arguments: argumentsOf(args) };
  const masking = createSessionMasking({ plan, hashKey: randomBytes(32), connection: config.name });
  // As of a tool that its server lists and says nothing of.
  const { parts } = classify('tools/call', params, maskJson(params, masking), { connection: config, hints: {}, masking });
  const notes = config.hints === 'believe' ? ['What the server says of its tool is believed on this connection, and is not looked at here.'] : [];
  return { parts, notes };
}

function argumentsOf(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text.trim() === '' ? '{}' : text);
    if (isObject(value as never)) return value as JsonObject;
  } catch {
    // Said below.
  }
  throw new Problem('bad-request', 'The arguments of a tool are a JSON object: { "title": "…" }.');
}

async function sqlParts(text: string, config: ConnectionConfig, plan: MaskPlan, understand: TesterParts['understand']): Promise<Understood> {
  if (config.protocol !== 'postgres') throw new Problem('bad-request', `${config.name} is an MCP server: it takes calls of tools, and no statements.`);
  const reading = understand(config.name, text, plan);
  let late: NodeJS.Timeout | undefined;
  try {
    const parts =
      reading &&
      (await Promise.race([
        reading,
        new Promise<undefined>((resolve) => {
          late = setTimeout(() => resolve(undefined), CATALOG_MS);
        }),
      ]));
    if (parts) return { parts, notes: [] };
  } catch {
    // Why not is in the gateway's log; here it is what it means that counts.
  } finally {
    clearTimeout(late);
  }
  const facts = mergeFacts([
    {
      effect: 'unknown',
      verb: (/^\s*([a-z]+)/i.exec(text)?.[1] ?? 'SQL').toUpperCase().slice(0, 60),
      targets: [],
      bulk: false,
      sensitive: [],
      headline: 'A statement that could not be read',
      notes: ['the catalog of the database was not there'],
    },
  ]);
  return {
    parts: [facts],
    notes: [
      `The tables of ${config.name} could not be looked up from here, so the statement counts as not understood. Agents would be refused until its database answers. Say its effect by hand to go on.`,
    ],
  };
}

function explained(policy: LoadedPolicy, facts: Facts, context: DecisionContext): ExplainedVerdict {
  const { verdict, rules } = policy.explain(facts, context);
  return {
    facts,
    verdict,
    rules: rules
      .filter(({ matched }) => matched !== 'no')
      .slice(0, MAX_RULES_SHOWN)
      .map((rule) => ({ ...rule, why: rule.why.slice(0, 2000) })),
  };
}

/** As the pipeline does: the first of the strictest. */
function strictest(parts: readonly { readonly verdict: Verdict }[]): number {
  const rank = (i: number): number => DECISIONS.indexOf(parts[i]?.verdict.decision ?? 'allow');
  let worst = 0;
  for (let i = 1; i < parts.length; i++) if (rank(i) > rank(worst)) worst = i;
  return worst;
}
