/** Rewrite rules turn one statement into others: what they do counts. */
import type { Relation } from './catalog.ts';
import { UNREAD } from './catalogQueries.ts';
import { Findings, relationName } from './findings.ts';
import { relationColumns } from './from.ts';
import { as } from './nodes.ts';
import type { Context, Item, Scope } from './scope.ts';
import { analyseStatement } from './statements.ts';
import type { Column } from './value.ts';
import type { Written } from './written.ts';

/** Inside a rule every name is qualified (pg_get_ruledef under a bare search path). */
const CATALOG_ONLY: readonly string[] = ['pg_catalog'];

/**
 * @param written what the statement puts into the row
 * @returns whether RETURNING gives back what a rule says
 */
export function analyseRules(context: Context, relation: Relation, event: 'insert' | 'update' | 'delete', written: Written): boolean {
  const { found } = context;
  let returns = false;
  for (const rule of relation.rules) {
    if (rule.event !== event) continue;
    found.notes.add(`${relationName(relation)} has a rule on ${event}`);
    const parsed = context.sensitivity.parser.parse(rule.definition);
    const actions = parsed.ok ? as(parsed.statements[0]?.node, 'RuleStmt')?.actions : undefined;
    if (!parsed.ok) {
      found.raise('execute');
      returns = true;
      if (rule.definition === UNREAD && context.sensitivity.any)
        found.refused ??= `Changing ${relationName(relation)} is refused: it has a rule that cannot be read while somebody else changes its table. Try again.`;
      continue;
    }
    const row = (name: string, columns: readonly Column[]): Item => ({ name, columns, open: false, relVisible: true, colsVisible: false, shadow: true });
    const scope: Scope = { items: [row('old', relationColumns(context, relation)), row('new', written.row(context, relation))], ctes: new Map() };
    // Places in the rule's text are not places in the statement's: only what it does is taken over.
    const inner = new Findings();
    context.budget.within(() => {
      for (const action of actions ?? []) {
        returns ||= [as(action, 'InsertStmt'), as(action, 'UpdateStmt'), as(action, 'DeleteStmt')].some((stmt) => stmt?.returningClause !== undefined);
        analyseStatement({ ...context, searchPath: CATALOG_ONLY, callerPath: context.searchPath, found: inner }, action, scope);
      }
    });
    found.include(inner);
  }
  return returns;
}
