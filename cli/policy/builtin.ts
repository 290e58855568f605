import { BUILTIN_POLICY } from '../../proxy/policy/builtin.ts';
import type { Command } from '../command.ts';

export const policyBuiltin: Command = {
  name: 'policy builtin',
  usage: '',
  about: 'print the policy that holds without any file',
  help: 'A good start for a file of your own: its `defaults` can be set there, and a rule of the same id replaces a built-in one.',
  run(_args, io) {
    io.out(BUILTIN_POLICY.trimEnd());
    return Promise.resolve(0);
  },
};
