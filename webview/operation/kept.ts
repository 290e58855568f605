export interface Kept {
  readonly tab?: number;
  readonly compare?: boolean;
}

/** What an earlier view of the panel kept: not trusted to have the right shape. */
export function readKept(state: unknown, tabs: number): Kept {
  if (typeof state !== 'object' || state === null) return {};
  const tab = 'tab' in state ? state.tab : undefined;
  const compare = 'compare' in state ? state.compare : undefined;
  return {
    ...(typeof tab === 'number' && Number.isInteger(tab) && tab >= 0 && tab < tabs && { tab }),
    ...(typeof compare === 'boolean' && { compare }),
  };
}
