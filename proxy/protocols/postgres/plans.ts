/** Masks that follow sensitive data to where it was copied. */
import { MASK_KINDS, type MaskKind } from '../../../contract/verdict.ts';
import type { MaskPlan } from '../../policy/policy.ts';
import type { Catalog } from './sql/catalog.ts';
import type { StatementInfo } from './sql/classifier.ts';

/** A plan with the columns added that sensitive data was moved to; the same plan where there are none. */
export function followed(plan: MaskPlan, flows: StatementInfo['flows']): MaskPlan {
  if (flows.length === 0) return plan;
  const columns = new Map(plan.columns);
  for (const { column, table, taints } of flows) {
    const mask = strictest(taints.map((taint) => taint.mask));
    if (!mask) continue;
    const key = `${table.includes('.') ? table : `public.${table}`}.${column}`.toLowerCase();
    if (!columns.has(key)) columns.set(key, mask);
  }
  return { ...plan, columns };
}

/** Sensitive columns that have another name, table or schema in a newer snapshot: what they hold is the same. */
export function renamed(before: Catalog, after: Catalog, plan: MaskPlan): StatementInfo['flows'] {
  const flows: StatementInfo['flows'][number][] = [];
  for (const relation of before.relations()) {
    for (const column of relation.columns) {
      const label = `${relation.schema}.${relation.name}.${column.name}`.toLowerCase();
      const mask = plan.columns.get(label);
      if (mask === undefined) continue;
      const now = after.relation(relation.oid);
      const same = now?.columns.find(({ number }) => number === column.number);
      if (now && same && !after.maskFor(now.oid, same.number, plan))
        flows.push({ table: `${now.schema}.${now.name}`, column: same.name, taints: [{ label, mask }] });
    }
  }
  return flows;
}

/** In the order of the contract: what shows least comes first. */
function strictest(masks: readonly MaskKind[]): MaskKind | undefined {
  return MASK_KINDS.find((kind) => masks.includes(kind));
}
