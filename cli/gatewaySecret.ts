import { userInfo } from 'node:os';
import { parseArgs } from 'node:util';
import type { Person } from '../contract/actor.ts';
import { Secret } from '../contract/secret.ts';
import { type Command, type ExitCode, type Io, UsageError } from './command.ts';
import { loadGateway } from './gateway.ts';

const HELP = `The secret is read from standard input, and a line end at its end is left out:

  printf %s "$PASSWORD" | countersign gateway secret set orders

Policy names it \`secret:orders\`. It is sealed in the gateway's store with a key that the store does not hold; gateways that
run take it up within a second.

--config FILE    as for \`countersign gateway\``;

type Work = (admin: Awaited<ReturnType<typeof open>>, names: readonly string[], io: Io) => Promise<ExitCode>;

async function open(file: string | undefined) {
  const { configFile, openSecrets } = await loadGateway();
  return openSecrets(configFile(file, process.env), process.env);
}

function command(word: string, usage: string, about: string, work: Work): Command {
  return {
    name: `gateway secret ${word}`,
    usage: `${usage} [--config FILE]`.trim(),
    about,
    help: HELP,
    async run(args, io) {
      const { values, positionals } = parseArgs({ args: [...args], options: { config: { type: 'string' } }, allowPositionals: true });
      if (positionals.length !== (usage === '' ? 0 : 1)) throw new UsageError(usage === '' ? 'No name is needed.' : 'Say which secret.');
      const admin = await open(values.config);
      try {
        return await work(admin, positionals, io);
      } catch (cause) {
        io.error(cause instanceof Error ? cause.message : 'It failed.');
        return 1;
      } finally {
        await admin.close();
      }
    },
  };
}

/** Who is at this machine, as far as it knows: whoever has the configuration's key could say anything. */
function whoever(): Person {
  return { issuer: 'os', subject: userInfo().username.slice(0, 256), groups: [] };
}

export const gatewaySecretSet = command('set', 'NAME', 'keep a secret of the shared gateway’s connections', async ({ put }, [name = ''], io) => {
  const text = (await io.input()).replace(/\r?\n$/, '');
  await put(name, new Secret(text), whoever());
  io.out(`secret:${name} is kept.`);
  return 0;
});

export const gatewaySecretRemove = command('remove', 'NAME', 'forget a secret', async ({ remove }, [name = ''], io) => {
  if (await remove(name, whoever())) {
    io.out(`secret:${name} is forgotten.`);
    return 0;
  }
  io.error(`There is no secret:${name}.`);
  return 1;
});

export const gatewaySecretList = command('list', '', 'list the names of what is kept', async ({ store }, _names, io) => {
  for (const { kek, name, updatedAt, version } of await store.list()) io.out(`${name}  version ${version}  ${new Date(updatedAt).toISOString()}  under ${kek}`);
  return 0;
});

export const gatewaySecretRotate = command('rotate', '', 'put all secrets under the newest key', async ({ store }, _names, io) => {
  io.out(`${await store.rotate()} put under the newest key.`);
  return 0;
});
