/** Waits between attempts to reach the proxy, in milliseconds; the last one repeats. */
const WAITS_MS = [250, 500, 1000, 2000, 5000, 10_000] as const;
/** A link that held this long has proved itself: the next loss starts from the shortest wait. */
export const STABLE_AFTER_MS = 30_000;

export function waitBefore(attempt: number): number {
  return WAITS_MS[Math.min(attempt, WAITS_MS.length - 1)] ?? 10_000;
}
