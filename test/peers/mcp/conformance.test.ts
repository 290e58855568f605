/** The official conformance suite against the same server direct and through the relay: scenario by scenario the same. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { mcp } from '../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../proxy/protocols/protocol.ts';
import { listening, remoteConnection } from '../../proxy/protocols/mcp/everything.ts';
import { Stage } from '../../proxy/protocols/mcp/stage.ts';
import { forwarder } from './forwarder.ts';
import { inShort, runSuite, verdicts } from './suite.ts';

/** The suites are programs, not modules: they have nothing to import. */
const program = (name: string): string => fileURLToPath(new URL(`../../../node_modules/${name}/dist/index.js`, import.meta.url));
const latest = program('@modelcontextprotocol/conformance');
const next = program('mcp-conformance-next');
const reference = fileURLToPath(new URL('referenceServer.ts', import.meta.url));

const RUNS = [
  { title: 'latest, sessions', program: latest, version: undefined },
  { title: 'pre-release, 2025-11-25', program: next, version: '2025-11-25' },
  { title: 'pre-release, 2026-07-28', program: next, version: '2026-07-28' },
] as const;

let stage: Stage;
let served: Served;
let server: Awaited<ReturnType<typeof listening>>;
let relayed: Awaited<ReturnType<typeof forwarder>>;

before(async () => {
  stage = await Stage.start(true);
  server = await listening([process.execPath, '--disable-warning=ExperimentalWarning', reference]);
  const connection = remoteConnection('reference', `http://127.0.0.1:${server.port}/mcp`);
  stage.connections.push(connection);
  served = await mcp.serve(connection, stage.host);
  relayed = await forwarder(stage.url('mcp/reference'), stage.headers());
});

after(async () => {
  relayed?.stop();
  await served?.stop('the test is over');
  server?.stop();
  await stage?.stop();
});

describe('the official conformance suite says the same of a server direct and through the relay', () => {
  for (const { title, program: suite, version } of RUNS) {
    it(title, async (t) => {
      const direct = await runSuite(suite, `http://127.0.0.1:${server.port}/mcp`, version);
      const through = await runSuite(suite, relayed.url, version);
      for (const scenario of new Set([...direct.keys(), ...through.keys()])) {
        const [one, other] = [direct.get(scenario), through.get(scenario)];
        const same = inShort(one) === inShort(other);
        t.diagnostic(`${same ? '=' : '≠'} ${scenario.padEnd(50)} ${inShort(one).padEnd(24)} ${inShort(other)}`);
      }
      for (const [scenario, checks] of direct) assert.deepEqual(verdicts(through.get(scenario)), verdicts(checks), scenario);
      assert.deepEqual([...through.keys()].sort(), [...direct.keys()].sort());
    });
  }
});
