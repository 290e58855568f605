import { spawn } from 'node:child_process';
import { connect as connectTcp } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { carry } from '../proxy/http/stdioBridge.ts';
import { type Command, type ExitCode, type Io, UsageError } from './command.ts';

const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

export const connect: Command = {
  name: 'connect',
  usage: 'NAME [-- COMMAND…]',
  about: 'reach a connection, on this machine or at the gateway, all the same',
  help: `Run it in a terminal of an editor with Countersign, which has the short-lived logins.

A database:    COMMAND runs with PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSWORD set; psql if you leave it out.
An MCP server: speaks MCP on standard input and output, for clients that start their servers.

--url          print the address with its login, and nothing else (databases)
--stdio        carry bytes between standard input and output and the port, for programs that bring their own protocol`,
  async run(args, io) {
    const at = args.indexOf('--');
    const own = at === -1 ? args : args.slice(0, at);
    const command = at === -1 ? [] : args.slice(at + 1);
    const options = { url: { type: 'boolean', default: false }, stdio: { type: 'boolean', default: false } } as const;
    const { values, positionals } = parseArgs({ args: [...own], options, allowPositionals: true });
    const [name, ...more] = positionals;
    if (name === undefined || more.length > 0 || !NAME.test(name)) throw new UsageError('Say which connection: countersign connect NAME.');
    const database = process.env[`COUNTERSIGN_DSN_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`];
    if (database === undefined) return mcp(name, io);
    const url = new URL(database);
    if (values.url) {
      io.out(database);
      return 0;
    }
    if (values.stdio) return bytes(url, io);
    return await run(command.length > 0 ? command : ['psql'], url, io);
  },
};

async function mcp(name: string, io: Io): Promise<ExitCode> {
  const { COUNTERSIGN_MCP_TOKEN: token, COUNTERSIGN_MCP_URL: base } = process.env;
  if (!base || !token) {
    io.error(`There is no connection ${name} here. Open a terminal in an editor with Countersign, and see its Connections view for names.`);
    return 1;
  }
  await carry({ endpoint: name === 'countersign' ? base : `${base}/${name}`, token });
  return 0;
}

async function bytes({ hostname, port }: URL, io: Io): Promise<ExitCode> {
  const socket = connectTcp({ host: hostname, port: Number(port), allowHalfOpen: true });
  try {
    await Promise.all([pipeline(process.stdin, socket, { end: true }), pipeline(socket, process.stdout, { end: false })]);
    return 0;
  } catch (cause) {
    io.error(`Countersign does not answer (${(cause as NodeJS.ErrnoException).code ?? 'closed'}). Open an editor window with it, then try again.`);
    return 1;
  }
}

function run([program = '', ...args]: readonly string[], url: URL, io: Io): Promise<ExitCode> {
  const env = {
    ...process.env,
    PGHOST: url.hostname,
    PGPORT: url.port,
    PGDATABASE: decodeURIComponent(url.pathname.slice(1)),
    PGUSER: decodeURIComponent(url.username),
    PGPASSWORD: decodeURIComponent(url.password),
    PGREQUIREAUTH: 'scram-sha-256',
    // How an editor's terminal starts us (`extension/mcpServers/launcher.ts`), and nothing that the program was meant to get.
    ELECTRON_RUN_AS_NODE: undefined,
  };
  return new Promise((resolve) => {
    const child = spawn(program, args, { env, stdio: 'inherit' });
    // Ctrl-C is the program's: it cancels a statement there.
    const ignore = (): void => undefined;
    process.on('SIGINT', ignore);
    child.once('error', () => {
      io.error(`${program} is not on the PATH. Name another program after --, or take the address: countersign connect NAME --url.`);
      resolve(1);
    });
    child.once('close', (code) => {
      process.off('SIGINT', ignore);
      resolve(code === 0 ? 0 : 1);
    });
  });
}
