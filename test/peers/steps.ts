/** What a client's program saw, step by step: values, or all that an error says. */
import assert from 'node:assert/strict';
import type { Way, Ways } from './ways.ts';

/** What every error of a driver has that tells of this process, not of the server. */
const OWN = new Set(['stack', 'client', 'query', 'parameters', 'cause']);
/** An error may be wrapped by an ORM's this often. */
const MAX_DEPTH = 4;

export function told(cause: unknown, depth = 0): unknown {
  if (!(cause instanceof Error)) return cause;
  const fields = Object.getOwnPropertyNames(cause)
    .filter((name) => !OWN.has(name))
    .map((name) => [name, (cause as unknown as Record<string, unknown>)[name]]);
  return {
    kind: cause.constructor.name,
    ...Object.fromEntries(fields),
    ...(cause.cause !== undefined && depth < MAX_DEPTH && { cause: told(cause.cause, depth + 1) }),
  };
}

export type Step = (name: string, work: () => unknown) => Promise<void>;
export type Program = (way: Way, step: Step) => Promise<void>;

/** Runs it both ways and compares each step. Gives their number. */
export async function same(ways: Ways, program: Program): Promise<number> {
  const { direct, proxied } = await ways.each(async (way) => {
    const seen: { name: string; outcome: unknown }[] = [];
    await program(way, async (name, work) => {
      try {
        seen.push({ name, outcome: await work() });
      } catch (cause) {
        seen.push({ name, outcome: { error: told(cause) } });
      }
    });
    return seen;
  });
  for (const [i, step] of direct.entries()) assert.deepEqual(proxied[i], step, `step ${i + 1}, ${step.name}`);
  assert.equal(proxied.length, direct.length);
  return direct.length;
}
