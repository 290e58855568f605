/** The one line that says most of why a process ended: its last is often a stack's, or the version of what ran it. */
import type { OutputLine } from '../protocols/mcp/upstream/errorOutput.ts';

/** Words with which runtimes and people say what went wrong. */
const TELLING = /error|exception|fatal|panic|cannot|could not|not found|denied|refused|missing|invalid/i;
/** What stands below the sentence in a stack, or around it: indented lines, carets, what ran it. */
const AROUND = /^(?:\s|[\^}\])]|at\s|Node\.js v\d)/;

/** @returns `undefined` where the server wrote nothing */
export function tellingLine(lines: readonly OutputLine[]): string | undefined {
  const last = lines.findLast(({ by }) => by === 'server');
  const written = lines.filter(({ by, process, text }) => by === 'server' && process === last?.process && text.trim() !== '').map(({ text }) => text);
  const sentences = written.filter((text) => !AROUND.test(text));
  const told = sentences.findLast((text) => TELLING.test(text)) ?? sentences.at(-1) ?? written.at(-1);
  return told?.trim();
}
