/** Counters and gauges in Prometheus' text format. Labels are from closed sets: no name, statement or id ever becomes one. */

export type Labels = Readonly<Record<string, string>>;

interface Family {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly values: Map<string, number>;
  readonly read?: () => number | undefined;
}

/** Most label sets of one family: beyond it, new ones are not counted. */
const MAX_SERIES = 500;
/** Bounds of histograms, in seconds. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

export class Metrics {
  readonly #families = new Map<string, Family>();

  counter(name: string, help: string): (labels?: Labels, by?: number) => void {
    const { values } = this.#family(name, 'counter', help);
    return (labels = {}, by = 1) => add(values, key(labels), by);
  }

  /** @param read asked at each scrape; undefined: not known right now */
  gauge(name: string, help: string, read: () => number | undefined): void {
    this.#families.set(name, { kind: 'gauge', help, values: new Map(), read });
  }

  histogram(name: string, help: string): (seconds: number, labels?: Labels) => void {
    const { values } = this.#family(name, 'histogram', help);
    return (seconds, labels = {}) => {
      for (const bound of BUCKETS) if (seconds <= bound) add(values, `_bucket${key({ ...labels, le: String(bound) })}`, 1);
      add(values, `_bucket${key({ ...labels, le: '+Inf' })}`, 1);
      add(values, `_sum${key(labels)}`, seconds);
      add(values, `_count${key(labels)}`, 1);
    };
  }

  text(): string {
    const lines: string[] = [];
    for (const [name, { kind, help, values, read }] of this.#families) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
      const now = read?.();
      if (now !== undefined) lines.push(`${name} ${now}`);
      for (const [labels, value] of values) lines.push(`${name}${labels} ${value}`);
    }
    return `${lines.join('\n')}\n`;
  }

  #family(name: string, kind: Family['kind'], help: string): Family {
    const known = this.#families.get(name);
    if (known) return known;
    const family = { kind, help, values: new Map<string, number>() };
    this.#families.set(name, family);
    return family;
  }
}

function add(values: Map<string, number>, series: string, by: number): void {
  const before = values.get(series);
  if (before === undefined && values.size >= MAX_SERIES) return;
  values.set(series, (before ?? 0) + by);
}

function key(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${value.replaceAll(/[\\"\n]/g, '_')}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}
