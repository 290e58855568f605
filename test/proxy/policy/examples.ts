/** Facts and contexts to decide on, for the policy's tests. */
import type { Facts, McpFacts, SqlFacts } from '../../../contract/facts.ts';
import { type LoadedPolicy, loadPolicy, type PolicyLayer } from '../../../proxy/policy/load.ts';
import type { DecisionContext } from '../../../proxy/policy/policy.ts';

export function sqlFacts(given: Partial<SqlFacts> = {}): SqlFacts {
  return { statement: 'SELECT', where: true, functions: [], returned: [], predicates: [], written: [], session: false, ...given };
}

export function mcpFacts(given: Partial<McpFacts> = {}): McpFacts {
  return { method: 'tools/call', tool: 'create_issue', args: {}, hints: {}, ...given };
}

export function facts(given: Partial<Facts> = {}): Facts {
  return {
    effect: 'read',
    verb: 'SELECT',
    targets: [{ kind: 'table', name: 'orders' }],
    bulk: false,
    sensitive: [],
    headline: 'SELECT orders',
    notes: [],
    ...given,
  };
}

export const tables = (...names: string[]): Facts['targets'] => names.map((name) => ({ kind: 'table', name }));

export function context(given: Partial<DecisionContext> = {}): DecisionContext {
  return {
    actor: { person: { issuer: 'os', subject: 'ada', name: 'Ada', groups: ['dev'] }, agent: { kind: 'claude-code', name: 'Claude Code' } },
    connection: 'shop',
    protocol: 'postgres',
    surface: 'terminal',
    conversationRead: [],
    ...given,
  };
}

export const user = (text: string): PolicyLayer => ({ layer: 'user', file: 'user.yaml', text });
export const organisation = (text: string): PolicyLayer => ({ layer: 'organisation', file: 'organisation.yaml', text });
export const workspace = (text: string, trusted = true): PolicyLayer => ({ layer: 'workspace', file: 'workspace.yaml', text, trusted });

/** Loads what must be good. */
export function good(...layers: PolicyLayer[]): LoadedPolicy {
  const result = loadPolicy(layers);
  if (!result.ok) throw new Error(result.problems.map((p) => `${p.file}:${p.line}:${p.column} ${p.message}`).join('\n'));
  return result.policy;
}

/** `line:column message` of everything wrong. */
export function wrong(...layers: PolicyLayer[]): string[] {
  const result = loadPolicy(layers);
  return result.ok ? [] : result.problems.map((p) => `${p.line}:${p.column} ${p.message}`);
}

export function warned(...layers: PolicyLayer[]): string[] {
  return loadPolicy(layers).warnings.map((p) => `${p.line}:${p.column} ${p.message}`);
}
