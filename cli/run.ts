import { type Command, type ExitCode, type Io, UsageError } from './command.ts';
import { COMMANDS } from './commands.ts';

/** Finds the command that the words name and runs it; what it throws becomes a sentence. */
export async function run(args: readonly string[], io: Io): Promise<ExitCode> {
  // What comes after `--` is another program's.
  const end = args.includes('--') ? args.indexOf('--') : args.length;
  const isHelp = (word: string, i: number): boolean => i < end && (word === '--help' || word === '-h');
  const wantsHelp = args.some(isHelp);
  const words = args.filter((word, i) => !isHelp(word, i));
  const command = COMMANDS.find(({ name }) => name.split(' ').every((word, i) => words[i] === word));
  if (!command) {
    const group = COMMANDS.some(({ name }) => name.startsWith(`${words[0] ?? ''} `));
    if (words.length > 0 && !(group && words.length === 1)) io.error(`There is no command \`${words.slice(0, 2).join(' ')}\`.`);
    const shown = COMMANDS.filter(({ name }) => !group || words.length === 0 || name.startsWith(`${words[0]} `));
    (wantsHelp ? io.out : io.error)(overview(shown));
    return wantsHelp ? 0 : 2;
  }
  if (wantsHelp) {
    io.out(`${usage(command)}\n\n${sentence(command.about)}\n\n${command.help}`);
    return 0;
  }
  try {
    return await command.run(words.slice(command.name.split(' ').length), io);
  } catch (cause) {
    if (!isUsage(cause)) throw cause;
    io.error(cause.message);
    io.error(usage(command));
    return 2;
  }
}

/** Ours, or what `parseArgs` throws at an option it does not know. */
function isUsage(cause: unknown): cause is Error {
  return (
    cause instanceof UsageError || (cause instanceof Error && 'code' in cause && typeof cause.code === 'string' && cause.code.startsWith('ERR_PARSE_ARGS'))
  );
}

function usage({ name, usage: rest }: Command): string {
  return `usage: countersign ${name} ${rest}`.trimEnd();
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function overview(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name, usage: rest }) => `${name} ${rest}`.length));
  const lines = commands.map(({ name, usage: rest, about }) => `  countersign ${`${name} ${rest}`.padEnd(width)}  ${about}`);
  return ['Commands:', '', ...lines, '', 'countersign COMMAND --help says more.'].join('\n');
}
