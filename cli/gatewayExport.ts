import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Command, UsageError } from './command.ts';
import { loadGateway } from './gateway.ts';
import { plain } from './record.ts';

export const gatewayExport: Command = {
  name: 'gateway export',
  usage: 'FOLDER [--config FILE]',
  about: 'write everyone’s record, and what they did to the gateway, out as files, to verify and search elsewhere',
  help: `FOLDER is made. In it each person has a folder in the form of docs/recording.md, archived sessions included, which needs no gateway to be read:

  countersign verify --record FOLDER             # everyone’s, and whether anyone’s is missing
  countersign verify --record FOLDER/PERSON
  countersign sessions --record FOLDER/PERSON after:2026-11-25 before:2026-11-26

\`acts.jsonl\` in it is what that person did besides (signed in, answered, ended …); FOLDER/gateway has what was changed of the gateway.

What is in it is masked, as in the store. Exits with 1 where a session could not be read whole.

--config FILE    as for \`countersign gateway\`. On the embedded store, stop the gateway first.`,
  async run(args, io) {
    const { values, positionals } = parseArgs({ args: [...args], options: { config: { type: 'string' } }, allowPositionals: true });
    const [folder, ...more] = positionals;
    if (folder === undefined || more.length > 0) throw new UsageError('Say which folder to write to.');
    const { configFile, openRecords } = await loadGateway();
    const records = await openRecords(configFile(values.config, process.env), process.env);
    let whole = true;
    try {
      for await (const one of records.writeTo(resolve(io.cwd, folder))) {
        io.out(`${one.folder}  ${one.sessions} ${one.sessions === 1 ? 'session' : 'sessions'} of ${plain(one.person)}`);
        for (const problem of one.problems) io.error(plain(problem));
        whole &&= one.problems.length === 0;
      }
    } finally {
      await records.close();
    }
    return whole ? 0 : 1;
  },
};
