/** One gateway in a process of its own, with agents that never rest; killed without warning by the test that starts it. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Pool } from 'pg';
import { freePort } from '../../../demo/freePort.ts';
import { loadConfig } from '../../../gateway/config/load.ts';
import { Gateway } from '../../../gateway/gateway.ts';
import { connect } from '../agent.ts';

const AGENTS = 4;
const { env } = process;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const port = await freePort();
const file = join(env.FOLDER ?? '', `${process.pid}.yaml`);
writeFileSync(
  file,
  JSON.stringify({
    version: 1,
    publicUrl: 'http://127.0.0.1:1',
    listen: `127.0.0.1:${port}`,
    key: 'env:KEY',
    identity: { roles: { developer: ['group:dev'], approver: ['group:dba'] } },
  }),
);
const loaded = loadConfig(file, env);
if (!loaded.ok) throw new Error(loaded.problems[0]?.message);
const log = { info: () => undefined, warn: () => undefined, error: (event: string, fields: unknown) => say(`error ${event} ${JSON.stringify(fields)}`) };
const gateway = await Gateway.start({ config: loaded.config, env, version: 'test', log, leaseMs: Number(env.LEASE_MS) });
const world = new Pool({ connectionString: env.WORLD_URL, max: AGENTS });
world.on('error', () => undefined);
say(`up ${gateway.replica.id}`);

async function token(): Promise<string> {
  const { people, tokens } = gateway.identity;
  const login = await gateway.db.transaction(async (tx) => {
    const { id } = await people.signedIn(tx, { issuer: 'https://idp.example', subject: 'ada', name: 'Ada', groups: ['dev'] });
    return { id, login: await people.begin(tx, id, { client: 'test', provider: 'test', authTime: Date.now() }) };
  });
  return (await tokens.issue({ sub: login.id, kind: 'person', basis: login.login }, 600)).token;
}

async function agent(): Promise<void> {
  for (;;) {
    try {
      const connected = await connect(gateway, await token(), 'orders', async (permit) => {
        await world.query('INSERT INTO world (operation, basis) VALUES ($1, $2)', [permit.operation, permit.basis]);
        say(`done ${permit.operation}`);
      });
      for (let n = 0; n < 5 && !connected.session.signal.aborted; n++) {
        const effect = Math.random() < 0.2 ? 'read' : 'write';
        const abort = new AbortController();
        // Some give up while they wait.
        const timer = setTimeout(() => abort.abort(), Math.random() < 0.15 ? 20 : 20_000);
        const before = connected.forwarded.length;
        const result = await connected.do({ effect, payload: `statement ${randomBytes(6).toString('hex')}` }, abort.signal).catch(() => undefined);
        clearTimeout(timer);
        const last = connected.forwarded.at(-1);
        if (result?.forwarded && connected.forwarded.length > before && last) {
          await connected.session.recording.sync();
          // What is not this replica's any more is cut, and its last lines are refused.
          if (!connected.session.signal.aborted) say(`recorded ${last.operation}`);
        }
      }
      await connected.session.close('enough');
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
await Promise.all(Array.from({ length: AGENTS }, agent));
