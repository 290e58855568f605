/** Streams that a client holds open end with the login that opened them: it comes back with its next one, or is refused. */
import type { ClientIdentity } from '../../protocol.ts';

/** The longest that a timer waits, in milliseconds; no login is good for so long. */
const MAX_TIMER_MS = 2_147_483_647;

/** @returns for who closes the stream before */
export function endWithLogin({ goodForMs }: ClientIdentity, end: () => void): () => void {
  if (goodForMs === undefined || goodForMs > MAX_TIMER_MS) return () => {};
  const timer = setTimeout(end, goodForMs);
  timer.unref();
  return () => clearTimeout(timer);
}
