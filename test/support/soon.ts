/** Waiting in tests: for as long as a busy machine may take, and never for ever. */

/** Far beyond what anything here takes, in milliseconds: it ends the wait of a test that has failed, and with it the process. */
const LIMIT_MS = 90_000;
const STEP_MS = 15;

/** Resolves when an assertion holds; what it throws last is thrown where it never does. */
export async function soon<T>(assertion: () => T | Promise<T>, limitMs: number = LIMIT_MS): Promise<T> {
  for (const end = Date.now() + limitMs; ; ) {
    try {
      return await assertion();
    } catch (cause) {
      if (Date.now() > end) throw cause;
      await new Promise((resolve) => setTimeout(resolve, STEP_MS));
    }
  }
}

/** Looks until there is something; says what it was where it never comes. */
export async function until<T>(what: string, look: () => T | Promise<T>, limitMs: number = LIMIT_MS): Promise<NonNullable<T>> {
  for (const end = Date.now() + limitMs; ; ) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${limitMs / 1000} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
}

/** What somebody will tell; says what was waited for where nobody does. */
export async function within<T>(what: string, told: Promise<T>, limitMs: number = LIMIT_MS): Promise<T> {
  let late: NodeJS.Timeout | undefined;
  const never = new Promise<never>((_, reject) => {
    late = setTimeout(() => reject(new Error(`waited ${limitMs / 1000} s for ${what}`)), limitMs);
  });
  try {
    return await Promise.race([told, never]);
  } finally {
    clearTimeout(late);
  }
}
