/** Runs a question's dry run beside the question: bounded in time, aborted when the question is decided. */
import { DryRun, type PendingApproval } from '../../contract/approval.ts';
import { Problem } from '../../contract/problem.ts';
import type { Question } from './approvals.ts';

/** How long a dry run may take, in milliseconds. */
export const DRY_RUN_MS = 10_000;
/** How long an approval waits for an aborted dry run to let go of what it holds, in milliseconds. */
export const DRY_RUN_GRACE_MS = 2_000;

/** Calls back after a time; the answer takes it back. */
export type SetTimer = (ms: number, fire: () => void) => () => void;

/** It keeps no process alive. */
export const plainTimer: SetTimer = (ms, fire) => {
  const timer = setTimeout(fire, ms);
  timer.unref();
  return () => clearTimeout(timer);
};

/** How a question's dry run stands when it is asked. */
export function dryRunAtFirst({ dryRun, noDryRun }: Question): PendingApproval['dryRun'] {
  return dryRun ? { state: 'running' } : { state: 'none', ...(noDryRun !== undefined && { why: noDryRun.slice(0, 400) }) };
}

export class DryRunning {
  state: PendingApproval['dryRun'];
  readonly #abort = new AbortController();
  readonly #setTimer: SetTimer;
  #settled: Promise<void> | undefined;
  #stopTimer: (() => void) | undefined;

  constructor(question: Question, setTimer: SetTimer, changed: () => void) {
    this.#setTimer = setTimer;
    this.state = dryRunAtFirst(question);
    const { dryRun } = question;
    if (!dryRun) return;
    const show = (state: PendingApproval['dryRun']): void => {
      if (this.state.state !== 'running' || this.#abort.signal.aborted) return;
      this.state = state;
      changed();
    };
    this.#stopTimer = setTimer(DRY_RUN_MS, () => {
      show({ state: 'none', why: `the dry run took longer than ${DRY_RUN_MS / 1000} s` });
      this.#abort.abort();
    });
    // Called in a promise, so that one that throws at once is a failed dry run and no more.
    this.#settled = Promise.resolve()
      .then(() => dryRun(this.#abort.signal))
      .then(
        (result) => {
          const shown = DryRun.safeParse(result);
          show(shown.success ? { state: 'done', result: shown.data } : { state: 'none', why: 'the dry run’s result cannot be shown' });
        },
        // A server's error may quote data: only our own sentences are shown.
        (cause: unknown) => show({ state: 'none', why: (cause instanceof Problem ? cause.message : 'the dry run failed').slice(0, 400) }),
      )
      .finally(() => this.#stopTimer?.());
  }

  abort(): void {
    this.#stopTimer?.();
    this.#abort.abort();
  }

  /** Resolves when the dry run has let go, or has had its time for it. */
  async gone(): Promise<void> {
    if (!this.#settled) return;
    let stop: (() => void) | undefined;
    const late = new Promise<void>((resolve) => {
      stop = this.#setTimer(DRY_RUN_GRACE_MS, resolve);
    });
    await Promise.race([this.#settled, late]);
    stop?.();
  }
}
