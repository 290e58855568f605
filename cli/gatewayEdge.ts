import { userInfo } from 'node:os';
import { parseArgs } from 'node:util';
import { NewEdge } from '../contract/gateway/edges.ts';
import { type Command, type ExitCode, type Io, UsageError } from './command.ts';
import { loadGateway } from './gateway.ts';

const HELP = `An edge runs inside a network that accepts no connection from outside, and opens the way to what is there:

  countersign gateway edge add plant --config gateway.yaml > join-token      on the gateway's machine
  countersign gateway --join https://gateway.example --token-file join-token --allow orders.internal:5432     on the edge's

Connections of policy name it: \`edge: plant\`. The token counts once, for --minutes (15).

--config FILE    as for \`countersign gateway\``;

type Admin = Awaited<ReturnType<typeof open>>;
type Work = (admin: Admin, name: string, io: Io, minutes: string | undefined) => Promise<ExitCode>;

async function open(file: string | undefined) {
  const { configFile, openEdges } = await loadGateway();
  return openEdges(configFile(file, process.env), process.env);
}

function who(): Parameters<Admin['add']>[1] {
  return { issuer: 'os', subject: userInfo().username.slice(0, 256), groups: [] };
}

function command(word: string, usage: string, about: string, work: Work): Command {
  return {
    name: `gateway edge ${word}`,
    usage: `${usage} [--config FILE]`.trim(),
    about,
    help: HELP,
    async run(args, io) {
      const { values, positionals } = parseArgs({
        args: [...args],
        options: { config: { type: 'string' }, ...(word === 'add' && { minutes: { type: 'string' } as const }) },
        allowPositionals: true,
      });
      if (positionals.length !== (word === 'list' ? 0 : 1)) throw new UsageError(word === 'list' ? 'No name is needed.' : 'Say which edge.');
      const admin = await open(values.config);
      try {
        return await work(admin, positionals[0] ?? '', io, (values as { minutes?: string }).minutes);
      } catch (cause) {
        io.error(cause instanceof Error ? cause.message : 'It failed.');
        return 1;
      } finally {
        await admin.close();
      }
    },
  };
}

export const gatewayEdgeAdd = command('add', 'NAME [--minutes N]', 'make a token that lets an edge join', async ({ add, publicUrl }, name, io, minutes) => {
  const wanted = NewEdge.safeParse({ name, ...(minutes !== undefined && { minutes: Number(minutes) }) });
  if (!wanted.success) throw new UsageError('A name is lower-case letters, digits and `-`, beginning with a letter; minutes are 1 to 1440.');
  const { expiresAt, token } = await add(wanted.data, who());
  // Nothing else goes to standard output, so that it can be sent to a file.
  io.out(token);
  io.error(`It counts once, until ${new Date(expiresAt).toISOString()}: countersign gateway --join ${publicUrl} --token-file FILE --allow HOST:PORT`);
  return 0;
});

export const gatewayEdgeRemove = command('remove', 'NAME|KEY', 'end an edge, or one of its keys; what goes through it is cut', async ({ revoke }, what, io) => {
  if (await revoke(what, who())) {
    io.out(`${what} is removed.`);
    return 0;
  }
  io.error(`There is no edge and no key ${what}.`);
  return 1;
});

export const gatewayEdgeList = command('list', '', 'list edges, their keys and how they stand', async ({ list }, _name, io) => {
  for (const { connections, keys, name, processes, sentence } of await list()) {
    io.out(`${name}  ${sentence}${connections.length > 0 ? `  For ${connections.join(', ')}.` : ''}`);
    for (const { host, replicas, version } of processes) io.out(`  process ${host}  version ${version}  at ${replicas} replicas`);
    for (const { host, id, joinedAt, revokedAt } of keys)
      io.out(`  key ${id}  of ${host}  joined ${new Date(joinedAt).toISOString()}${revokedAt === undefined ? '' : '  revoked'}`);
  }
  return 0;
});
