import { type Command, type ExitCode, type Io, UsageError } from './command.ts';
import { COMMANDS } from './commands.ts';
import { version } from './version.ts';

/** Finds the command that the words name and runs it; what it throws becomes a sentence. */
export async function run(args: readonly string[], io: Io): Promise<ExitCode> {
  // What comes after `--` is another program's.
  const end = args.includes('--') ? args.indexOf('--') : args.length;
  const isHelp = (word: string, i: number): boolean => i < end && (word === '--help' || word === '-h' || (word === 'help' && i === 0));
  const wantsHelp = args.some(isHelp);
  const words = args.filter((word, i) => !isHelp(word, i));
  if (words[0] === '--version' || words[0] === 'version') {
    io.out(version());
    return 0;
  }
  const known = leading(words);
  const command = COMMANDS.find(({ name }) => name === known);
  if (!command) {
    const isWrong = words.length > wordsIn(known);
    if (isWrong) io.error(`There is no command \`${words.slice(0, wordsIn(known) + 1).join(' ')}\`.`);
    if (isWrong && known === '') io.error('`countersign help` lists all there are.');
    else (wantsHelp ? io.out : io.error)(overview(below(known)));
    return wantsHelp && !isWrong ? 0 : 2;
  }
  if (wantsHelp) {
    io.out(`${usage(command)}\n\n${sentence(command.about)}\n\n${command.help}`);
    if (below(command.name).length > 0) io.out(`\n${overview(below(command.name))}`);
    return 0;
  }
  try {
    return await command.run(words.slice(wordsIn(command.name)), io);
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

/** As many of the first words as begin the name of a command. */
function leading(words: readonly string[]): string {
  for (let count = words.length; count > 0; count -= 1) {
    const name = words.slice(0, count).join(' ');
    if (COMMANDS.some((command) => command.name === name) || below(name).length > 0) return name;
  }
  return '';
}

function wordsIn(name: string): number {
  return name === '' ? 0 : name.split(' ').length;
}

/** The commands whose names go on from these words. */
function below(name: string): readonly Command[] {
  return COMMANDS.filter((command) => name === '' || command.name.startsWith(`${name} `));
}

function overview(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length));
  const lines = commands.map(({ name, about }) => `  countersign ${name.padEnd(width)}  ${about}`);
  return ['Commands:', '', ...lines, '', '`countersign COMMAND --help` says more.'].join('\n');
}
