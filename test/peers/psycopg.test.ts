/** psycopg (Debian's python3-psycopg2), straight to a database and through the proxy: a program, and psycopg's own tests. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { missing, PSYCOPG_SUITE, PYTHON } from './programs.ts';
import { type Printed, runClient, twoWays, type Way } from './ways.ts';

const NO_PYTHON = missing('psycopg (python3-psycopg2)', PYTHON);
const NO_SUITE = missing('psycopg’s own test-suite', PYTHON, PSYCOPG_SUITE);
const ways = NO_PYTHON ? undefined : await twoWays();
const client = (name: string): string => fileURLToPath(new URL(`clients/${name}`, import.meta.url));

/** Tests of psycopg's whose outcome is another through the proxy, and why that is meant to be. */
const DIFFERENT: Readonly<Record<string, string>> = {
  'test_connection.ConnectionTests.test_encoding_name': 'client_encoding other than UTF8 is refused',
  'test_copy.CopyTests.test_copy_bytes': 'client_encoding other than UTF8 is refused',
  'test_copy.CopyTests.test_copy_expert_textiobase': 'client_encoding other than UTF8 is refused',
  'test_copy.CopyTests.test_copy_text': 'client_encoding other than UTF8 is refused',
  'test_notify.NotifiesTests.test_notifies_received_on_set_client_encoding': 'client_encoding other than UTF8 is refused',
  'test_quote.QuotingTestCase.test_koi8': 'client_encoding other than UTF8 is refused',
  'test_quote.QuotingTestCase.test_latin1': 'client_encoding other than UTF8 is refused',
  'test_types_extras.JsonTestCase.test_scs': 'standard_conforming_strings=off is refused',
  'test_connection.TestConnectionInfo.test_user': 'the client logs in to the proxy as another user than the proxy to the database',
};

/** Fewer than this, and it is not the suite that we know. */
const LEAST_TESTS = 500;

describe('psycopg through the proxy', { timeout: 500_000 }, () => {
  it('gives a program the same, step by step', { skip: NO_PYTHON }, async () => {
    assert.ok(ways);
    const { direct, proxied } = await ways.each((way) => runClient(way, PYTHON ?? '', [client('psycopg.py')]));
    assert.equal(direct.code, 0, direct.err);
    const steps = ({ out }: Printed): unknown[] =>
      out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown);
    const [ours, theirs] = [steps(proxied), steps(direct)];
    for (const [i, step] of theirs.entries()) assert.deepEqual(ours[i], step);
    assert.equal(ours.length, theirs.length);
    assert.equal(proxied.err, direct.err);
  });

  it('passes and fails psycopg’s own tests as direct, but for those that are refused on purpose', { skip: NO_SUITE }, async () => {
    assert.ok(ways && PSYCOPG_SUITE);
    const source = PSYCOPG_SUITE;
    const suite = async (way: Way): Promise<Map<string, string>> => {
      // Those that psycopg calls slow wait for time to pass: with SLOW_PEERS set they run too.
      const env = { PSYCOPG2_TESTDB: way.database, ...(process.env['SLOW_PEERS'] === undefined && { PSYCOPG2_TEST_FAST: '1' }) };
      const { out } = await runClient(way, PYTHON ?? '', [client('suite.py'), source], { env, cwd: source });
      return new Map(
        out
          .split('\n')
          .map((line) => line.split('\t'))
          .flatMap(([outcome = '', id = '']) => (id === '' ? [] : [[id.replace('tests.', ''), outcome] as const])),
      );
    };
    const [direct, proxied] = await Promise.all([suite(ways.direct), suite(ways.proxied)]);
    assert.ok(direct.size >= LEAST_TESTS, `only ${direct.size} tests ran`);
    assert.deepEqual([...proxied.keys()], [...direct.keys()]);
    const different = [...direct].filter(([id, outcome]) => proxied.get(id) !== outcome).map(([id]) => id);
    assert.deepEqual(
      different.filter((id) => DIFFERENT[id] === undefined),
      [],
    );
    const passed = [...direct.values()].filter((outcome) => outcome === 'ok').length;
    console.log(
      `psycopg's own tests: ${direct.size}, of which ${passed} pass directly and ${[...proxied.values()].filter((o) => o === 'ok').length} through the proxy`,
    );
  });
});
