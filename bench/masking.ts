/**
 * What looking through a text costs, in microseconds of processor time for a thousand characters: what tools answer on an ordinary day, and
 * what is made to be dear. Each is looked through for the first time, a hundred thousand characters at once.
 */
import { createSessionMasking } from '../proxy/masking/masking.ts';
import { HOSTILE, ORDINARY, textOf } from '../test/support/hostileText.ts';
import { type Figure, median } from './figures.ts';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const LENGTH = 100_000;
/** An ordinary result is 10 KB, and is looked at twice: for the agent, and for the record. */
const ORDINARY_AT_MOST = 60;
/** So much holds everybody's bytes up for less than a second for each megabyte. */
const HOSTILE_AT_MOST = 1_000;

export async function benchMasking(): Promise<Figure[]> {
  const figures = [
    ...ORDINARY.map((shape): Figure => ({ name: shape.name, value: cost(textOf(shape, LENGTH)), unit: 'µs/KB', atMost: ORDINARY_AT_MOST })),
    ...HOSTILE.map((shape): Figure => ({ name: JSON.stringify(shape.name), value: cost(textOf(shape, LENGTH)), unit: 'µs/KB', atMost: HOSTILE_AT_MOST })),
  ];
  return figures.sort((a, b) => b.value - a.value);
}

function cost(text: string): number {
  const once = (): number => {
    const masking = createSessionMasking({ plan: { columns: new Map(), detectors: new Map(), otherwise: 'redact' }, hashKey: new Uint8Array(32) });
    const before = process.cpuUsage();
    masking.scrub(text);
    const { user, system } = process.cpuUsage(before);
    return ((user + system) * 1000) / text.length;
  };
  once();
  return median(Array.from({ length: ROUNDS }, once));
}
