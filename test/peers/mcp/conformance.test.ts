/** The official conformance suite against the same server direct and through the relay: scenario by scenario the same. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { mcp } from '../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../proxy/protocols/protocol.ts';
import { listening, remoteConnection } from '../../proxy/protocols/mcp/everything.ts';
import { Stage } from '../../proxy/protocols/mcp/stage.ts';
import { forwarder } from './forwarder.ts';
import { inShort, type Results, runScenario, runSuite, verdicts } from './suite.ts';

/** The suites are programs, not modules: they have nothing to import. */
const program = (name: string): string => fileURLToPath(new URL(`../../../node_modules/${name}/dist/index.js`, import.meta.url));
const latest = program('@modelcontextprotocol/conformance');
const next = program('mcp-conformance-next');

const RUNS = [
  { title: 'latest, sessions', program: latest, version: undefined },
  { title: 'pre-release, 2025-11-25', program: next, version: '2025-11-25' },
  { title: 'pre-release, 2026-07-28', program: next, version: '2026-07-28' },
] as const;

/** Of the tasks extension; `tasks-status-notifications` is left out: the suite skips it by itself. */
const TASKS = [
  'tasks-lifecycle',
  'tasks-capability-negotiation',
  'tasks-wire-fields',
  'tasks-request-state-removal',
  'tasks-mrtr-input',
  'tasks-request-headers',
  'tasks-dispatch-and-envelope',
  'tasks-required-task-error',
  'tasks-mrtr-composition',
] as const;

let stage: Stage;
const ends: (() => unknown)[] = [];

interface Server {
  readonly direct: string;
  readonly through: string;
}

/** A server, direct and through the relay. */
async function serve(name: string, file: string): Promise<Server> {
  const server = await listening([process.execPath, '--disable-warning=ExperimentalWarning', fileURLToPath(new URL(file, import.meta.url))]);
  const direct = `http://127.0.0.1:${server.port}/mcp`;
  const connection = remoteConnection(name, direct);
  stage.connections.push(connection);
  const served: Served = await mcp.serve(connection, stage.host);
  const relayed = await forwarder(stage.url(`mcp/${name}`), stage.headers());
  ends.push(server.stop, () => served.stop('the test is over'), relayed.stop);
  return { direct, through: relayed.url };
}

function compare(direct: Results, through: Results, say: (line: string) => void): void {
  for (const scenario of new Set([...direct.keys(), ...through.keys()])) {
    const [one, other] = [inShort(direct.get(scenario)), inShort(through.get(scenario))];
    say(`${one === other ? '=' : '≠'} ${scenario.padEnd(50)} ${one.padEnd(24)} ${other}`);
  }
  for (const [scenario, checks] of direct) assert.deepEqual(verdicts(through.get(scenario)), verdicts(checks), scenario);
  assert.deepEqual([...through.keys()].sort(), [...direct.keys()].sort());
}

let server: Server;

before(async () => {
  stage = await Stage.start(true);
  server = await serve('reference', 'referenceServer.ts');
});

after(async () => {
  for (const end of ends.reverse()) await end();
  await stage?.stop();
});

describe('the official conformance suite says the same of a server direct and through the relay', () => {
  for (const { title, program: suite, version } of RUNS) {
    it(title, async (t) => {
      compare(await runSuite(suite, server.direct, version), await runSuite(suite, server.through, version), (line) => t.diagnostic(line));
    });
  }

  it('pre-release, the tasks extension', async (t) => {
    const { direct, through } = await serve('tasks', 'taskServer.ts');
    const ask = async (url: string): Promise<Results> => {
      const found = await Promise.all(TASKS.map((scenario) => runScenario(next, url, '2026-07-28', scenario)));
      return new Map(found.flatMap((one) => [...one]));
    };
    const [alone, relayed] = await Promise.all([ask(direct), ask(through)]);
    for (const [scenario, checks] of alone) {
      assert.ok(
        checks.every(({ status }) => status !== 'FAILURE'),
        `${scenario}: ${verdicts(checks).join('; ')}`,
      );
    }
    compare(alone, relayed, (line) => t.diagnostic(line));
    assert.equal(alone.size, TASKS.length);
  });
});
