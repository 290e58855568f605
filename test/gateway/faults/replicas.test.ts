/**
 * Two gateways, then three, over one real PostgreSQL: killed at any moment, cut off from it, and it restarted under them.
 * What must hold is read from the store, and from the world behind the gateways, afterwards.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { Client } from 'pg';
import { freePort } from '../../../demo/freePort.ts';
import { SUPERUSER } from '../../../demo/postgres.ts';
import { Answers } from '../../../gateway/approval/answers.ts';
import { loadConfig } from '../../../gateway/config/load.ts';
import { Gateway } from '../../../gateway/gateway.ts';
import { verifyStore } from '../../../gateway/recording/verifyStore.ts';
import { startCluster } from '../../support/cluster.ts';
import { soon } from '../../support/soon.ts';
import { quiet } from '../stores.ts';

const LEASE_MS = 2_000;
/** How long faults go on for each number of replicas, in milliseconds. */
const FAULTS_MS = 10_000;
/** How long a process may take to start on a machine that is busy, in milliseconds. */
const START_MS = 150_000;
const PASSWORD = 'password-of-the-fault-test';
const POLICY = `version: 1
defaults: { read: allow, write: ask }
connections:
  orders: { protocol: postgres, upstream: postgres://127.0.0.1:1/orders, via: gateway, password: "secret:orders" }
rules:
  - { id: writes, match: { effect: write }, verdict: ask, approvers: group:dba, expires: 20s }
`;

/** Between a replica and the store: what cuts its network. */
class Wire {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cut = false;

  constructor(port: number, to: number) {
    this.port = port;
    this.#server = createServer((socket) => {
      if (this.#cut) return void socket.destroy();
      const upstream = dial(to, '127.0.0.1');
      for (const one of [socket, upstream]) {
        this.#sockets.add(one);
        one.on('error', () => undefined);
        one.on('close', () => {
          this.#sockets.delete(one);
          socket.destroy();
          upstream.destroy();
        });
      }
      socket.pipe(upstream);
      upstream.pipe(socket);
    });
  }

  start(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.port, '127.0.0.1', resolve));
  }

  cut(cut: boolean): void {
    this.#cut = cut;
    if (cut) for (const socket of this.#sockets) socket.destroy();
  }

  stop(): void {
    this.cut(true);
    this.#server.close();
  }
}

interface Running {
  readonly child: ChildProcess;
  readonly wire: Wire;
  up: boolean;
}

for (const count of [2, 3]) {
  describe(`${count} gateways over one PostgreSQL, killed and cut off at any moment`, () => {
    it('let nothing through without a permit, use no approval twice, lose no record, leave no session half-owned', { timeout: 400_000 }, async (context) => {
      const folder = await mkdtemp(join(tmpdir(), 'countersign-faults-'));
      const port = await freePort();
      const start = (): ReturnType<typeof startCluster> =>
        startCluster({ folder, port, password: PASSWORD, settings: ['max_connections=300', 'shared_buffers=32MB'] });
      let server = await start();
      // Whatever fails: what was started ends, in the order in which it leans on each other.
      const ends: (() => unknown)[] = [() => rm(folder, { recursive: true, force: true }), () => server.stop('immediate')];
      context.after(async () => {
        for (const end of ends.reverse()) await end();
      });
      const url = (at: number, database: string): string => `postgres://${SUPERUSER}:${PASSWORD}@127.0.0.1:${at}/${database}`;
      const admin = new Client(url(port, 'postgres'));
      await admin.connect();
      await admin.query('CREATE DATABASE gateway');
      await admin.query('CREATE DATABASE world');
      await admin.end();
      const worldUrl = url(port, 'world');
      await inWorld(worldUrl, 'CREATE TABLE world (operation text NOT NULL, basis text NOT NULL)');

      const env = { KEY: randomBytes(32).toString('hex'), DATABASE_URL: url(port, 'gateway') };
      const file = join(folder, 'gateway.yaml');
      await writeFile(
        file,
        JSON.stringify({
          version: 1,
          publicUrl: 'http://127.0.0.1:1',
          listen: `127.0.0.1:${await freePort()}`,
          key: 'env:KEY',
          identity: { roles: { developer: ['group:dev'], approver: ['group:dba'] } },
        }),
      );
      const loaded = loadConfig(file, env);
      assert.ok(loaded.ok);
      const judge = await Gateway.start({ config: loaded.config, env, version: 'test', log: quiet, leaseMs: LEASE_MS });
      ends.push(() => judge.stop('the test is over'));
      await judge.policy.put({ text: POLICY, comment: 'begin', over: 0 }, { issuer: 'test', subject: 'test', groups: [] });

      const recorded = new Set<string>();
      const done = new Set<string>();
      const problems: string[] = [];
      const running: Running[] = [];
      const upstream = { restarted: false };
      const launch = async (): Promise<void> => {
        const wire = new Wire(await freePort(), port);
        await wire.start();
        const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'replicaChild.ts')], {
          env: {
            ...process.env,
            KEY: env.KEY,
            DATABASE_URL: url(wire.port, 'gateway'),
            WORLD_URL: worldUrl,
            FOLDER: folder,
            LEASE_MS: String(LEASE_MS),
          },
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        const one: Running = { child, wire, up: false };
        running.push(one);
        let said = '';
        child.stderr.on('data', (chunk: Buffer) => {
          said += chunk.toString();
        });
        child.stderr.once('close', () => {
          // One that starts while the store is away says so and ends; whatever runs it starts it again. Nothing else may end one.
          if (said !== '' && !said.includes('store-down') && !said.includes('out of reach')) problems.push(said.slice(0, 1_000));
        });
        child.once('exit', () => {
          if (running.includes(one)) void kill(one, true);
        });
        createInterface({ input: child.stdout }).on('line', (line) => {
          const [what = '', ...rest] = line.split(' ');
          if (what === 'up') one.up = true;
          else if (what === 'recorded') recorded.add(rest[0] ?? '');
          else if (what === 'done') done.add(rest[0] ?? '');
          // An operation fails where its upstream, on the same server, is restarted under it, and for no other reason.
          else if (what === 'error' && line.includes('operation.failed') && upstream.restarted) return;
          else if (what === 'error' && !/replica\.fenced|recorder|session|console\.missing/.test(line)) problems.push(line.slice(0, 500));
        });
      };
      const kill = async (one: Running, again: boolean): Promise<void> => {
        running.splice(running.indexOf(one), 1);
        one.child.kill('SIGKILL');
        one.wire.stop();
        if (again) await launch();
      };
      const killAll = async (): Promise<void> => {
        for (const one of running.slice()) await kill(one, false);
      };
      ends.push(killAll);
      for (let i = 0; i < count; i++) await launch();

      // People who answer whatever they see, at once and sometimes twice, each at their own replica.
      const people = { answer: true };
      ends.push(() => {
        people.answer = false;
      });
      const accepted = new Map<string, number>();
      // An approval counts while whoever gave it may give it: they are people whom the gateway knows.
      const viewer = async (name: string): Promise<Parameters<Answers['answer']>[1]> => {
        const person = { issuer: 'https://idp.example', subject: name, groups: ['dba'] };
        const { id } = await judge.db.transaction((tx) => judge.identity.people.signedIn(tx, person));
        return { id, person, auditor: false };
      };
      const approver = async (name: string): Promise<void> => {
        const [one, again] = [await viewer(name), await viewer(`${name}-again`)];
        while (people.answer) {
          try {
            for (const { id, digest } of (await judge.answers.list(one)).pending) {
              const answer =
                Math.random() < 0.8
                  ? ({ answer: 'approve', id, digest, scope: { what: 'exact', howLong: 'once' } } as const)
                  : ({ answer: 'deny', id, digest } as const);
              const results = await Promise.allSettled([judge.answers.answer(answer, one), judge.answers.answer(answer, again)]);
              for (const result of results)
                if (result.status === 'fulfilled' && result.value.result === 'accepted') accepted.set(id, (accepted.get(id) ?? 0) + 1);
            }
          } catch {
            // The store is away: so are the questions.
          }
          await new Promise((resolve) => setTimeout(resolve, 15));
        }
      };
      const approvers = [approver('dana'), approver('dora')];
      await soon(() => assert.ok(running.every(({ up }) => up) && recorded.size > 5), START_MS);

      const faults = { killed: 0, cut: 0, restarted: 0 };
      const until = Date.now() + FAULTS_MS;
      let restarts = 1;
      while (Date.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 1_000));
        const victim = running[Math.floor(Math.random() * running.length)];
        const dice = Math.random();
        if (restarts > 0 && Date.now() > until - FAULTS_MS / 2) {
          restarts--;
          upstream.restarted = true;
          await server.stop('immediate');
          server = await start();
          faults.restarted++;
        } else if (victim && (dice < 0.55 || faults.killed === 0)) {
          await kill(victim, true);
          faults.killed++;
        } else if (victim) {
          victim.wire.cut(true);
          // Longer than a lease now and then: others take over what it owned while it still runs.
          setTimeout(() => victim.wire.cut(false), Math.random() < 0.5 ? 300 : LEASE_MS + 1_500).unref();
          faults.cut++;
        }
      }
      const before = recorded.size;
      // It goes on by itself.
      await soon(() => assert.ok(recorded.size > before), START_MS);
      // On a machine that is busy, the faults can be over before anyone has answered in time.
      await soon(
        async () => assert.ok((await inWorld(worldUrl, "SELECT operation, basis FROM world WHERE basis LIKE 'approval:%' LIMIT 1")).length > 0),
        START_MS,
      );
      await killAll();
      people.answer = false;
      await Promise.all(approvers);

      const { db } = judge;
      await soon(async () => {
        const rows = await db.query<{ open: number; waiting: number }>(
          "SELECT (SELECT count(*) FROM sessions WHERE closed_at IS NULL) AS open, (SELECT count(*) FROM approvals WHERE state IN ('pending', 'approved')) AS waiting",
        );
        assert.deepEqual(rows[0], { open: 0, waiting: 0 });
      }, START_MS);
      const world = await inWorld(worldUrl, 'SELECT operation, basis FROM world');
      const approvals = new Map(
        (await db.query<{ id: string; state: string; operation: string }>('SELECT id, state, operation FROM approvals')).map((row) => [row.id, row]),
      );
      const used = new Set<string>();
      for (const { operation, basis } of world) {
        if (basis.startsWith('rule:')) continue;
        const approval = approvals.get(basis.slice('approval:'.length));
        assert.ok(approval, `${operation} was done under ${basis}, which is none`);
        assert.equal(approval.state, 'spent', 'it was used up');
        assert.equal(approval.operation, operation, 'by the operation that it was given for');
        assert.ok(!used.has(approval.id), `${approval.id} was used twice`);
        used.add(approval.id);
      }
      for (const [id, times] of accepted) assert.equal(times, 1, `${id} was decided ${times} times`);
      const entries = await db.query<{ type: string; operation: string }>(
        "SELECT line::jsonb #>> '{body,type}' AS type, line::jsonb #>> '{body,operation}' AS operation FROM entries WHERE line::jsonb #>> '{body,operation}' IS NOT NULL",
      );
      const has = (type: string): ReadonlySet<string> => new Set(entries.filter((entry) => entry.type === type).map(({ operation }) => operation));
      const [intents, outcomes, approved] = [has('operation.intent'), has('operation.outcome'), has('operation.approval')];
      for (const { operation, basis } of world) {
        if (basis.startsWith('rule:')) continue;
        assert.ok(intents.has(operation) && approved.has(operation), `${operation} changed the world and its intent is not recorded`);
        assert.ok(outcomes.has(operation), `${operation} has no outcome, not even lost`);
      }
      for (const operation of recorded) assert.ok(intents.has(operation) && outcomes.has(operation), `${operation} was recorded, and is not there`);
      const report = await verifyStore(db);
      assert.deepEqual(report.problems, []);
      assert.deepEqual(problems, []);
      assert.ok(faults.killed > 0 && faults.restarted === 1 && used.size > 0, JSON.stringify(faults));
      context.diagnostic(
        `${count} replicas: ${JSON.stringify(faults)}; ${world.length} operations done, ${used.size} of them approved, ${recorded.size} heard to be recorded, ${report.sessions} sessions, ${report.entries} entries`,
      );
    });
  });
}

async function inWorld(url: string, sql: string): Promise<{ operation: string; basis: string }[]> {
  const client = new Client(url);
  await client.connect();
  try {
    return (await client.query(sql)).rows as { operation: string; basis: string }[];
  } finally {
    await client.end();
  }
}
