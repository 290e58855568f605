/** Masks that follow sensitive data to where it was copied. */
import { MASK_KINDS, type MaskKind } from '../../../contract/verdict.ts';
import type { MaskPlan } from '../../policy/policy.ts';
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

/** In the order of the contract: what shows least comes first. */
function strictest(masks: readonly MaskKind[]): MaskKind | undefined {
  return MASK_KINDS.find((kind) => masks.includes(kind));
}
