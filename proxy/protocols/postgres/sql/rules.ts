/** Rewrite rules turn one statement into others: what they do counts. */
import type { Relation } from './catalog.ts';
import { Findings, relationName } from './findings.ts';
import { relationColumns } from './from.ts';
import { as } from './nodes.ts';
import type { Context, Item, Scope } from './scope.ts';
import { analyseStatement } from './statements.ts';

/** Inside a rule every name is qualified (pg_get_ruledef under a bare search path). */
const CATALOG_ONLY: readonly string[] = ['pg_catalog'];

export function analyseRules(context: Context, relation: Relation, event: 'insert' | 'update' | 'delete'): void {
  const { found } = context;
  for (const rule of relation.rules) {
    if (rule.event !== event) continue;
    found.notes.add(`${relationName(relation)} has a rule on ${event}`);
    const parsed = context.sensitivity.parser.parse(rule.definition);
    const actions = parsed.ok ? as(parsed.statements[0]?.node, 'RuleStmt')?.actions : undefined;
    if (!parsed.ok) {
      found.raise('execute');
      continue;
    }
    const columns = relationColumns(context, relation);
    const row = (name: string): Item => ({ name, columns, open: false, relVisible: true, colsVisible: false, shadow: true });
    const scope: Scope = { items: [row('old'), row('new')], ctes: new Map() };
    // Places in the rule's text are not places in the statement's: only what it does is taken over.
    const inner = new Findings();
    context.budget.within(() => {
      for (const action of actions ?? [])
        analyseStatement({ ...context, searchPath: CATALOG_ONLY, callerPath: context.searchPath, found: inner }, action, scope);
    });
    found.include(inner);
  }
}
