import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { type Command, UsageError } from './command.ts';

const CONFIG_HELP = `--config FILE    the configuration; left out: COUNTERSIGN_GATEWAY_CONFIG, else /etc/countersign/gateway.yaml if it is there

docs/gateway.md says what stands in it, and which environment variables go before it.`;

/** The gateway is a bundle of its own, which the editor's package has not: it is loaded when it is asked for. */
export async function loadGateway(): Promise<typeof import('../gateway/main.ts')> {
  try {
    return await import('../gateway/main.ts');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND' && (cause as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw cause;
    throw new Error('The gateway is not part of this package. Run it from its image, or from the sources; docs/gateway.md says how.', { cause });
  }
}

function fileOf(args: readonly string[]): string | undefined {
  const { values, positionals } = parseArgs({ args: [...args], options: { config: { type: 'string' } }, allowPositionals: true });
  if (positionals.length > 0) throw new UsageError(`\`${positionals[0]}\` is not known here.`);
  return values.config;
}

export const gatewayCheck: Command = {
  name: 'gateway check',
  usage: '[--config FILE]',
  about: 'read the shared gateway’s configuration and say what is wrong with it',
  help: CONFIG_HELP,
  async run(args, io) {
    const { checkGateway, configFile } = await loadGateway();
    return checkGateway(configFile(fileOf(args), process.env), process.env, io);
  },
};

export const gateway: Command = {
  name: 'gateway',
  usage: '[--config FILE]',
  about: 'run the shared gateway of a team',
  help: CONFIG_HELP,
  async run(args, io) {
    const { configFile, runGateway } = await loadGateway();
    return await runGateway(configFile(fileOf(args), process.env), process.env, version(), io);
  },
};

/** The package's version: one folder up, from the sources and from the bundle alike. */
function version(): string {
  return (createRequire(import.meta.url)('../package.json') as { version: string }).version;
}
