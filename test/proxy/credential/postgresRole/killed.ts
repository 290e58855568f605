/** A proxy's broker in a process of its own, for a test to kill. Arguments: host, port, database, installation, how many roles. */
import type { TestDatabase } from '../../../support/postgres.ts';
import { stageOf } from './stage.ts';

const [host = '', port = '', database = '', installation = '', count = ''] = process.argv.slice(2);
const { broker } = stageOf({ host, port: Number(port), database } as TestDatabase, { installation });
const roles = [];
for (let i = 0; i < Number(count); i++) roles.push(await broker.mint());
process.stdout.write(`${JSON.stringify(roles.map(({ password, user }) => ({ user, password: password.reveal() })))}\n`);
setInterval(() => {}, 60_000);
