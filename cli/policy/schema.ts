import { policyJsonSchema } from '../../proxy/policy/schema.ts';
import type { Command } from '../command.ts';

export const policySchema: Command = {
  name: 'policy schema',
  usage: '',
  about: 'print the JSON Schema of policy files, for editors',
  help: 'The same as proxy/policy/schema.json.',
  run(_args, io) {
    io.out(JSON.stringify(policyJsonSchema(), null, 2));
    return Promise.resolve(0);
  },
};
