import { parseArgs } from 'node:util';
import { type Command, UsageError } from './command.ts';
import { version } from './version.ts';

const USAGE = '[--config FILE] [--join URL [--token-file FILE] [--allow HOST:PORT]… [--data FOLDER] [--ca FILE]]';
const CONFIG_HELP = `--config FILE    the configuration; left out: COUNTERSIGN_GATEWAY_CONFIG, else /etc/countersign/gateway.yaml if it is there

docs/gateway.md says what stands in it, and which environment variables go before it.

--join URL       run an edge of the gateway at that address: it opens the way to what the gateway cannot reach (docs/edge.md)
--token-file     where the join token is, from \`countersign gateway edge add NAME\`; needed once
--allow          where it lets itself be led: HOST:PORT, NETWORK:PORT; may be given again
--data FOLDER    where it keeps its key; left out: /var/lib/countersign-edge
--ca FILE        a further authority to trust for the gateway
--config FILE    the same in a file; left out: COUNTERSIGN_EDGE_CONFIG, if that is set`;

/** The gateway is a bundle of its own, which the editor's package has not: it is loaded when it is asked for. */
export async function loadGateway(): Promise<typeof import('../gateway/main.ts')> {
  try {
    return await import('../gateway/main.ts');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND' && (cause as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw cause;
    throw new Error('The gateway is not part of this package. Run it from its image, or from the sources; docs/gateway.md says how.', { cause });
  }
}

interface Asked {
  readonly file: string | undefined;
  /** Where `--join` makes an edge of it. */
  readonly edge: Parameters<Awaited<ReturnType<typeof loadGateway>>['checkEdge']>[0] | undefined;
}

function askedFor(args: readonly string[]): Asked {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { config: text, join: text, 'token-file': text, data: text, ca: text, allow: { type: 'string', multiple: true } },
    allowPositionals: true,
  });
  if (positionals.length > 0) throw new UsageError(`\`${positionals[0]}\` is not known here.`);
  const { config, join, data, ca, allow, 'token-file': tokenFile } = values;
  if (join !== undefined) return { file: undefined, edge: { config, join, tokenFile, data, ca, allow } };
  if ([tokenFile, data, ca, allow].some((value) => value !== undefined)) throw new UsageError('That is for an edge: add --join and the gateway’s address.');
  return { file: config, edge: undefined };
}

export const gatewayCheck: Command = {
  name: 'gateway check',
  usage: `${USAGE} [--offline]`,
  about: 'say what is wrong with the configuration of a gateway or an edge, and try what it names',
  help: `${CONFIG_HELP}

--offline        only read it: write, read and remove nothing in the archive of records, and ask no other service`,
  async run(args, io) {
    const isOffline = args.includes('--offline');
    const { file: asked, edge } = askedFor(args.filter((arg) => arg !== '--offline'));
    const { checkEdge, checkGateway, checkPlaces, configFile } = await loadGateway();
    if (edge) return checkEdge(edge, process.env, io);
    const file = configFile(asked, process.env);
    const code = checkGateway(file, process.env, io);
    return code === 0 && !isOffline ? await checkPlaces(file, process.env, io) : code;
  },
};

export const gateway: Command = {
  name: 'gateway',
  usage: USAGE,
  about: 'run the shared gateway of a team or, with --join, an edge of one',
  help: CONFIG_HELP,
  async run(args, io) {
    const { file, edge } = askedFor(args);
    const { configFile, runEdge, runGateway, streamLog } = await loadGateway();
    return await (edge ? runEdge(edge, process.env, version(), streamLog(), io) : runGateway(configFile(file, process.env), process.env, version(), io));
  },
};
