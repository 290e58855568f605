/**
 * The official conformance suite's client mode, with us in between: what its server sees of the same client direct and through the
 * relay; and, since it is we who sign in upstream, its OAuth scenarios with us as the client.
 *
 * Left out: extensions by which a client gets a token without a person (client credentials, enterprise-managed, workload identity)
 * or binds it to a key (DPoP), which we do not speak; what a client does with skills that it has read (`sep-2640-*`), which passes
 * through us as any resource; and the other suite, whose scenarios are all in this one.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Check, inShort, type Results, runClient } from './suite.ts';

const suite = fileURLToPath(new URL('../../../node_modules/mcp-conformance-next/dist/index.js', import.meta.url));
const client = fileURLToPath(new URL('suiteClient.ts', import.meta.url));
/** Programs at once: each scenario is three of them. */
const AT_ONCE = 2;

const SCENARIOS = [
  ['initialize', '2025-11-25'],
  ['tools_call', '2025-11-25'],
  ['elicitation-sep1034-client-defaults', '2025-11-25'],
  ['sse-retry', '2025-11-25'],
  ['json-schema-2020-12-preservation', '2025-11-25'],
  ['tools_call', '2026-07-28'],
  ['request-metadata', '2026-07-28'],
  ['sep-2322-client-request-state', '2026-07-28'],
  ['http-standard-headers', '2026-07-28'],
  ['http-custom-headers', '2026-07-28'],
  ['http-invalid-tool-headers', '2026-07-28'],
  ['json-schema-ref-no-deref', '2026-07-28'],
  ['json-schema-2020-12-preservation', '2026-07-28'],
] as const;

/** `basic-cimd` warns: a metadata document is ours only where policy names one, for it must lie on somebody's server. */
const SIGNING_IN = [
  'metadata-default',
  'metadata-var1',
  'metadata-var2',
  'metadata-var3',
  'basic-cimd',
  'scope-from-www-authenticate',
  'scope-from-scopes-supported',
  'scope-omitted-when-undefined',
  'scope-step-up',
  'scope-retry-limit',
  'token-endpoint-auth-basic',
  'token-endpoint-auth-post',
  'token-endpoint-auth-none',
  'pre-registration',
  'resource-mismatch',
  'offline-access-scope',
  'offline-access-not-supported',
  'authorization-server-migration',
  'iss-supported',
  'iss-not-advertised',
  'iss-supported-missing',
  'iss-wrong-issuer',
  'iss-unexpected',
  'iss-normalized',
  'metadata-issuer-mismatch',
] as const;

const run = (mode: string, scenario: string, version: string): Promise<Results> => runClient(suite, [client, mode], scenario, version);
const checksOf = (results: Results): readonly Check[] => [...results.values()].flat();
/** What was checked and how it came out, once each: a request more or less is no difference. */
const outcomes = (checks: readonly Check[]): string[] =>
  [...new Set(checks.filter(({ status }) => status !== 'INFO').map(({ id, name, status }) => `${id}/${name}: ${status}`))].sort();

async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
    }),
  );
}

describe('the official conformance suite’s client mode', () => {
  it('sees the same of a client direct and through the relay', async (t: TestContext) => {
    await each(SCENARIOS, async ([scenario, version]) => {
      const direct = checksOf(await run('direct', scenario, version));
      const through = checksOf(await run('through', scenario, version));
      t.diagnostic(`${scenario.padEnd(40)} ${version}  ${inShort(direct).padEnd(24)} ${inShort(through)}`);
      assert.ok(
        direct.some(({ status }) => status === 'SUCCESS') && direct.every(({ status }) => status !== 'FAILURE'),
        `${scenario}: the client itself fails it`,
      );
      assert.deepEqual(outcomes(through), outcomes(direct), scenario);
    });
  });

  it('finds nothing wrong with how we sign in upstream', async (t: TestContext) => {
    await each(SIGNING_IN, async (scenario) => {
      const checks = checksOf(await run('through', `auth/${scenario}`, '2026-07-28'));
      t.diagnostic(`auth/${scenario.padEnd(35)} ${inShort(checks)}`);
      assert.ok(
        checks.some(({ status }) => status === 'SUCCESS'),
        scenario,
      );
      const wrong = outcomes(checks).filter(
        (outcome) => !/: (?:SUCCESS|SKIPPED)$/.test(outcome) && !(scenario === 'basic-cimd' && outcome.endsWith(': WARNING')),
      );
      assert.deepEqual(wrong, [], scenario);
    });
  });
});
