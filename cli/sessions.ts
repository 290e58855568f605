import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { personLabel } from '../contract/actor.ts';
import type { OperationSummary } from '../contract/control.ts';
import { parseFilter } from '../contract/operationFilter.ts';
import { OperationIndex } from '../proxy/recording/index.ts';
import { type Command, UsageError } from './command.ts';
import { plain, RECORD_HELP, RECORD_OPTIONS, recordFolder } from './record.ts';

const MAX_LIMIT = 500;

export const sessions: Command = {
  name: 'sessions',
  usage: '[FILTER…]',
  about: 'list what agents did, newest first',
  help: `FILTER is text to find in statements, and terms that must hold:

  verdict:denied  verdict:approved  verdict:allowed  outcome:failed  connection:orders  agent:claude  person:ada
  effect:write  rule:no-mass-delete  session:…  conversation:…  protocol:postgres  after:2d  before:2026-11-20

${RECORD_HELP}
--limit N        how many at most (50; up to ${MAX_LIMIT})
--json           one JSON object a line`,
  async run(args, io) {
    const options = { ...RECORD_OPTIONS, limit: { type: 'string', default: '50' }, json: { type: 'boolean', default: false } } as const;
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    const limit = Number(values.limit);
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) throw new UsageError(`--limit takes a number from 1 to ${MAX_LIMIT}.`);
    for (const word of positionals) {
      const [, bound] = /^(after|before):/.exec(word) ?? [];
      // The filter takes it for text to find, as it takes anything; here it can only be a slip.
      if (bound !== undefined && parseFilter(word, Date.now())[bound as 'after' | 'before'] === undefined)
        throw new UsageError(`\`${word}\` has no time in it. Write a date or a time, such as ${bound}:2026-11-20, or how long ago: ${bound}:2d.`);
    }
    const directory = recordFolder(values.record, io.cwd);
    if (!existsSync(directory)) {
      io.error(`There is no record in ${directory}.`);
      return 1;
    }
    // Built anew from the files, beside the proxy's own: reading the record changes nothing in it.
    const log = { warn: (event: string) => io.error(`The index failed (${event}).`) };
    const index = new OperationIndex({ directory, log, inMemory: true });
    index.start();
    await index.catchUp();
    const page = await index.operations({ filter: positionals.map(quoted).join(' '), limit }, Date.now());
    index.stop();
    // A page never ends within a millisecond; a list for a person may.
    const shown = page.operations.slice(0, limit);
    for (const operation of shown) io.out(values.json ? JSON.stringify(operation) : line(operation));
    if (shown.length === 0) io.error('Nothing recorded matches.');
    else if (page.more || shown.length < page.operations.length) io.error('There is more: raise --limit, or narrow it down with before: and after:.');
    return 0;
  },
};

/** The shell has taken the quotes away; words that it kept together stay together. */
function quoted(word: string): string {
  if (!word.includes(' ')) return word;
  const [, key, rest] = /^([a-z]+:)?([^]*)$/.exec(word) ?? [];
  return `${key ?? ''}"${(rest ?? '').replaceAll('"', ' ')}"`;
}

function line(operation: OperationSummary): string {
  const { at, actor, connection, headline, decision, outcome, approvedBy, rows, masked, rule } = operation;
  const came = outcome ?? 'running';
  const notes = [
    rows === undefined ? [] : `${rows} rows`,
    masked > 0 ? `${masked} masked` : [],
    approvedBy === undefined ? [] : `approved by ${approvedBy}`,
    `${decision} by ${rule}`,
  ].flat();
  const when = new Date(at).toISOString().replace('T', ' ').slice(0, 19);
  const who = `${actor.agent.name} for ${personLabel(actor.person)}`;
  return plain(`${when}  ${came.padEnd(9)}  ${connection.padEnd(12)}  ${headline.padEnd(28)}  ${who}  (${notes.join(', ')})`);
}
