/** Until when an assertion must hold, in milliseconds: far beyond what anything here takes. */
const LIMIT_MS = 60_000;
const STEP_MS = 15;

/** Resolves when an assertion holds; what it throws last is thrown where it never does. */
export async function soon<T>(assertion: () => T | Promise<T>, limitMs: number = LIMIT_MS): Promise<T> {
  for (const until = Date.now() + limitMs; ; ) {
    try {
      return await assertion();
    } catch (cause) {
      if (Date.now() > until) throw cause;
      await new Promise((resolve) => setTimeout(resolve, STEP_MS));
    }
  }
}
