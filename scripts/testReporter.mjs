// A reporter for node:test that writes each event as a line of JSON, for `testFiles.mjs`: what began, what ended and how, and the counts.
import { inspect } from 'node:util';

/** Longest that the account of one failure is written, in characters. */
const MAX_FAILURE = 20_000;

export default async function* testReporter(source) {
  const under = [];
  for await (const { type, data } of source) {
    if (type === 'test:dequeue') {
      under.length = data.nesting;
      under[data.nesting] = data.name;
      yield line({ type: 'began', name: under.join(' › ') });
    } else if (type === 'test:complete') {
      under[data.nesting] = data.name;
      yield line({ type: 'ended', name: under.slice(0, data.nesting + 1).join(' › ') });
    } else if (type === 'test:fail' && data.details.error?.failureType !== 'subtestsFailed') {
      const cause = data.details.error?.cause ?? data.details.error;
      const account = typeof cause === 'string' ? cause : inspect(cause, { depth: 5 });
      yield line({ type: 'failed', name: data.name, line: data.line, seconds: data.details.duration_ms / 1000, account: account.slice(0, MAX_FAILURE) });
    } else if (type === 'test:summary') {
      const { passed, failed, cancelled, skipped, todo } = data.counts;
      yield line({ type: 'counts', passed, failed: failed + cancelled + todo, skipped });
    }
  }
}

const line = (value) => `${JSON.stringify(value)}\n`;
