import { parseArgs } from 'node:util';
import { type Command, UsageError } from '../command.ts';
import { LAYER_HELP, LAYER_OPTIONS, loadLayers } from './files.ts';

export const policyCheck: Command = {
  name: 'policy check',
  usage: 'FILE…',
  about: 'say what is wrong with policy files, with line and column',
  help: `Each FILE is checked by itself, as a user's policy. With options, the files are checked together, as layers:

${LAYER_HELP}

Exits with 0 if all are good, 1 if not.`,
  async run(args, io) {
    const { values, positionals } = parseArgs({ args: [...args], options: LAYER_OPTIONS, allowPositionals: true });
    const layered = values.gateway !== undefined || values.organisation !== undefined || values.user !== undefined || values.workspace !== undefined;
    if (positionals.length === 0 && !layered) throw new UsageError('Say which file to check: countersign policy check countersign.yaml');
    let good = true;
    const check = async (options: Parameters<typeof loadLayers>[0], name: string): Promise<void> => {
      const policy = await loadLayers(options, io.cwd, io);
      good &&= policy !== undefined;
      if (!policy) return;
      const rules = policy.rules.filter(({ ref }) => ref.layer !== 'builtin').length;
      io.out(`${name}: good. ${rules} rule${rules === 1 ? '' : 's'}, ${policy.connections.size} connection${policy.connections.size === 1 ? '' : 's'}.`);
    };
    for (const file of positionals) await check({ user: file }, file);
    if (layered) await check(values, 'together');
    return good ? 0 : 1;
  },
};
