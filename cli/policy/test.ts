import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Cases, runCases } from '../../proxy/policy/cases.ts';
import { readPolicyFile } from '../../proxy/policy/policyFile.ts';
import { readYaml } from '../../proxy/policy/yamlText.ts';
import { type Command, UsageError } from '../command.ts';
import { LAYER_HELP, LAYER_OPTIONS, loadLayers, problemLine } from './files.ts';

export const policyTest: Command = {
  name: 'policy test',
  usage: 'CASES.yaml',
  about: 'try a policy on written-down operations',
  help: `CASES.yaml names the policy and says what is expected:

  policy: { user: countersign.yaml }
  cases:
    - name: a refund asks
      operation: { connection: orders, effect: write, verb: UPDATE, target: orders }
      expect: { verdict: ask, rule: production-writes }

Options take the place of its \`policy\`:

${LAYER_HELP}

Exits with 0 if all cases hold, 1 if not.`,
  async run(args, io) {
    const { values, positionals } = parseArgs({ args: [...args], options: LAYER_OPTIONS, allowPositionals: true });
    const [file, more] = positionals;
    if (file === undefined || more !== undefined) throw new UsageError('Say which cases to run: countersign policy test cases.yaml');
    const path = resolve(io.cwd, file);
    const read = await readPolicyFile(path);
    if (read.state !== 'read') throw new UsageError(read.state === 'missing' ? `There is no file ${file}.` : `${file}: ${read.why}`);
    const yaml = readYaml(read.text, file);
    for (const problem of yaml.problems) io.error(problemLine(problem));
    if (yaml.problems.length > 0) return 1;
    const cases = Cases.safeParse(yaml.value);
    if (!cases.success) {
      for (const issue of cases.error.issues) {
        const { line, column } = yaml.at(issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step)));
        io.error(problemLine({ file, line, column, message: `${issue.path.join('.') || 'cases'}: ${issue.message}` }));
      }
      return 1;
    }
    const given = values.gateway !== undefined || values.organisation !== undefined || values.user !== undefined || values.workspace !== undefined;
    const { gateway, organisation, user, workspace } = cases.data.policy;
    const named = { gateway, organisation, user, ...(workspace !== undefined && { workspace: [workspace] }), untrusted: values.untrusted };
    const policy = await (given ? loadLayers(values, io.cwd, io) : loadLayers(named, dirname(path), io));
    if (!policy) return 1;
    const results = runCases(policy, cases.data);
    for (const result of results) io.out(result.passed ? `ok    ${result.name}` : `FAIL  ${result.name}: ${result.why}`);
    const failed = results.filter(({ passed }) => !passed).length;
    io.out(`${results.length - failed} passed, ${failed} failed`);
    return failed === 0 ? 0 : 1;
  },
};
