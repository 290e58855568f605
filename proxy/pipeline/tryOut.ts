/** The dry run of an operation that waits for a person: permitted by policy, recorded, and over before the answer counts. */
import type { DryRun } from '../../contract/approval.ts';
import type { Verdict } from '../../contract/verdict.ts';
import { DRY_RUN_GRACE_MS } from '../approval/dryRunning.ts';
import { permitForDryRun } from './decide.ts';
import type { Engine } from './engine.ts';
import type { Operation } from './operation.ts';
import type { Session } from './session.ts';

/** What the question carries, and what to wait for when it has been answered. */
export interface TryOut {
  readonly run: (signal: AbortSignal) => Promise<DryRun>;
  /** Resolves when the dry run has ended and is recorded, or has had its time for that. Never rejects. */
  settled(): Promise<void>;
}

export function tryOut(engine: Engine, session: Session, operation: Operation, verdict: Verdict): TryOut | undefined {
  const { dryRun } = operation;
  if (!dryRun || verdict.decision !== 'ask' || verdict.preview !== 'dry-run') return undefined;
  let running: Promise<unknown> | undefined;
  return {
    run: (signal) => {
      const run = tried(engine, session, operation, verdict, dryRun, signal);
      running = run.catch(() => {});
      return run;
    },
    settled: async () => {
      if (!running) return;
      let late: NodeJS.Timeout | undefined;
      await Promise.race([
        running,
        new Promise<void>((resolve) => {
          late = setTimeout(resolve, DRY_RUN_GRACE_MS);
        }),
      ]);
      clearTimeout(late);
    },
  };
}

async function tried(
  engine: Engine,
  session: Session,
  operation: Operation,
  verdict: Verdict,
  prepare: NonNullable<Operation['dryRun']>,
  signal: AbortSignal,
): Promise<DryRun> {
  const attempt = await prepare();
  signal.throwIfAborted();
  const permit = permitForDryRun(engine.policy(), verdict, operation, attempt);
  const entry = { type: 'operation.dry-run', operation: operation.id, digest: attempt.digest, basis: permit.basis } as const;
  // As with anything else that goes upstream: on disk before it is done.
  session.recording.append({ ...entry, state: 'started' });
  await session.recording.sync();
  signal.throwIfAborted();
  const startedAt = engine.clock.now();
  let ended: { readonly state: 'done' | 'failed' | 'cancelled'; readonly rows?: number } = { state: 'failed' };
  try {
    const result = await attempt.run(permit, signal);
    ended = { state: 'done', rows: result.rows };
    return result;
  } catch (cause) {
    if (signal.aborted) ended = { state: 'cancelled' };
    else engine.log.info('dry-run.failed', { operation: operation.id, cause });
    throw cause;
  } finally {
    if (engine.recorder.halted === undefined) session.recording.append({ ...entry, ...ended, tookMs: engine.clock.now() - startedAt });
  }
}
