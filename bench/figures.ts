/** What a benchmark says: figures beside their budgets, as a table and as JSON. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';

/** One measured figure. A budget is a bound the figure must keep; without one it is there for reading. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  /** `ms`, `×`, `MB`, `/s`, … */
  readonly unit: string;
  readonly atMost?: number;
  readonly atLeast?: number;
}

function holds(figure: Figure): boolean {
  if (!Number.isFinite(figure.value)) return false;
  return (figure.atMost === undefined || figure.value <= figure.atMost) && (figure.atLeast === undefined || figure.value >= figure.atLeast);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Linear interpolation between the two nearest ranks. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)];
  const high = sorted[Math.ceil(at)];
  return low === undefined || high === undefined ? Number.NaN : low + (high - low) * (at - Math.floor(at));
}

/**
 * Runs every contender once a round, in turn, so that what else the machine does hits all alike.
 * @returns the samples of each contender, one a round.
 */
export async function interleaved<Name extends string>(
  rounds: number,
  contenders: Readonly<Record<Name, () => Promise<number>>>,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(contenders) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, number[]>;
  for (let round = 0; round < rounds; round++) {
    for (const name of names) samples[name].push(await contenders[name]());
  }
  return samples;
}

/** Prints the figures, writes them under `bench/results/`, and says whether every budget was kept. */
export function report(bench: string, figures: readonly Figure[]): boolean {
  const rows = figures.map((figure) => {
    const bound = figure.atMost !== undefined ? `≤ ${figure.atMost}` : figure.atLeast !== undefined ? `≥ ${figure.atLeast}` : '';
    return [figure.name, `${round(figure.value)} ${figure.unit}`, bound, bound === '' ? '' : holds(figure) ? 'kept' : 'MISSED'];
  });
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    );

  const folder = resolve(import.meta.dirname, 'results');
  mkdirSync(folder, { recursive: true });
  const machine = { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, node: process.version, platform: process.platform };
  writeFileSync(
    join(folder, `${bench}.json`),
    `${JSON.stringify({ bench, at: new Date().toISOString(), machine, figures: figures.map((figure) => ({ ...figure, holds: holds(figure) })) }, null, 2)}\n`,
  );
  return figures.every(holds);
}

function round(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(3);
}
