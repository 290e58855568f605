/** Waits until something is there, and says what was missing when it does not come. */
export async function eventually<T>(look: () => T | undefined | Promise<T | undefined>, what: () => string, withinMs = 60_000): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`${what()} did not come within ${withinMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
