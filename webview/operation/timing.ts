import type { OperationDetail } from '../../contract/control.ts';

export interface Span {
  readonly kind: 'waited' | 'ran';
  readonly ms: number;
  /** Where it stands in the whole, 0 … 1. */
  readonly from: number;
  readonly to: number;
}

/** The parts of an operation's time; empty while it has not ended. `tookMs` spans the whole, the waiting included. */
export function timing({ summary, approval }: Pick<OperationDetail, 'summary' | 'approval'>): Span[] {
  const total = summary.tookMs;
  if (total === undefined) return [];
  const waited = Math.min(total, summary.waitedMs ?? approval?.waitedMs ?? 0);
  const part = total === 0 ? 0 : waited / total;
  return [
    ...(waited > 0 ? [{ kind: 'waited', ms: waited, from: 0, to: part } as const] : []),
    ...(total > waited || waited === 0 ? [{ kind: 'ran', ms: total - waited, from: part, to: 1 } as const] : []),
  ];
}
