import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { RuleRef } from '../../contract/verdict.ts';
import { asFacts, WrittenOperation } from '../../proxy/policy/cases.ts';
import { readPolicyFile } from '../../proxy/policy/policyFile.ts';
import { readYaml } from '../../proxy/policy/yamlText.ts';
import { type Command, UsageError } from '../command.ts';
import { LAYER_HELP, LAYER_OPTIONS, loadLayers, problemLine } from './files.ts';

export const policyExplain: Command = {
  name: 'policy explain',
  usage: '[POLICY] OPERATION',
  about: 'say which rules an operation matches, and why',
  help: `POLICY is a user's policy file; without one, and without options, the built-in policy decides.
OPERATION is a file with one operation in YAML or JSON, or - for standard input:

  { connection: orders, effect: write, verb: UPDATE, target: [orders] }

${LAYER_HELP}`,
  async run(args, io) {
    const { values, positionals } = parseArgs({ args: [...args], options: LAYER_OPTIONS, allowPositionals: true });
    const [first, second, third] = positionals;
    if (first === undefined || third !== undefined) throw new UsageError('Say which operation: countersign policy explain [POLICY] OPERATION');
    if (second !== undefined && values.user !== undefined) throw new UsageError('Give the user’s policy once: as the first file, or as --user.');
    const from = second ?? first;
    const text = from === '-' ? await io.input() : await readText(resolve(io.cwd, from));
    const yaml = readYaml(text, from);
    for (const problem of yaml.problems) io.error(problemLine(problem));
    if (yaml.problems.length > 0) return 1;
    const parsed = WrittenOperation.safeParse(yaml.value);
    if (!parsed.success) {
      for (const issue of parsed.error.issues) io.error(`${from}: ${issue.path.join('.') || 'operation'}: ${issue.message}`);
      return 1;
    }
    const policy = await loadLayers(second === undefined ? values : { ...values, user: first }, io.cwd, io);
    if (!policy) return 1;
    const { facts, context } = asFacts(parsed.data);
    const { verdict, rules } = policy.explain(facts, context);
    io.out(`${verdict.decision} by ${verdict.rule.id} (${where(verdict.rule)})`);
    io.out(`because ${verdict.because}`);
    if (verdict.say !== undefined) io.out(`says: ${verdict.say}`);
    io.out('');
    for (const rule of rules) {
      const mark = rule.matched === 'yes' ? '*' : rule.matched === 'failed' ? '!' : ' ';
      io.out(`${mark} ${rule.decision.padEnd(5)} ${rule.ref.id} (${where(rule.ref)}): ${rule.why}`);
    }
    return 0;
  },
};

function where({ layer, file, line }: RuleRef): string {
  return file === undefined ? 'built in' : `${layer}, ${file}:${line ?? 1}`;
}

async function readText(path: string): Promise<string> {
  const read = await readPolicyFile(path);
  if (read.state === 'read') return read.text;
  throw new UsageError(read.state === 'missing' ? `There is no file ${path}.` : `${path}: ${read.why}`);
}
