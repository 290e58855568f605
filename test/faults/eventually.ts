const STEP_MS = 20;
/** Far beyond what anything here takes: it ends the wait of a test that has failed, and with it the process. */
const LIMIT_MS = 90_000;

/** Resolves when the condition holds. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const until = Date.now() + LIMIT_MS; !(await condition()); ) {
    if (Date.now() > until) throw new Error(`not so after ${LIMIT_MS / 1000} s: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
}
