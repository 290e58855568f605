/** What the extension hands the proxy at its start: one line on standard input, so that no process list shows it. */
import type { Readable } from 'node:stream';
import { StartLine } from '../../contract/daemon.ts';
import { Problem } from '../../contract/problem.ts';

const MAX_START_LINE_BYTES = 4_096;
const START_LINE_TIMEOUT_MS = 10_000;

/** @throws `Problem` `start-line` where the line does not come, is too long, or is not what it should be. */
export function readStartLine(input: Readable, timeoutMs: number = START_LINE_TIMEOUT_MS): Promise<StartLine> {
  return new Promise((resolve, reject) => {
    let text = '';
    const done = (line: string | undefined): void => {
      clearTimeout(timer);
      input.off('data', read);
      input.off('end', end);
      input.off('error', fail);
      input.pause();
      const decoded = StartLine.safeParse(line === undefined ? undefined : json(line));
      if (decoded.success) resolve(decoded.data);
      else
        reject(
          new Problem(
            'start-line',
            'The proxy is started by the Countersign extension, which tells it what it needs. To use it, open an editor window with Countersign.',
          ),
        );
    };
    const fail = (): void => done(undefined);
    const end = (): void => done(text);
    const read = (chunk: Buffer | string): void => {
      text += chunk.toString();
      const line = text.indexOf('\n');
      if (line >= 0) done(text.slice(0, Math.min(line, MAX_START_LINE_BYTES)));
      else if (text.length > MAX_START_LINE_BYTES) done(undefined);
    };
    const timer = setTimeout(fail, timeoutMs);
    input.on('data', read);
    input.once('end', end);
    input.once('error', fail);
  });
}

function json(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
