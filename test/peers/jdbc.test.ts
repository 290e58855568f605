/** JDBC (Debian's libpostgresql-jdbc-java), straight to a database and through the proxy. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { JAVA, missing, PGJDBC } from './programs.ts';
import { type Printed, runClient, twoWays, type Way } from './ways.ts';

const NO_JDBC = missing('JDBC (default-jdk-headless and libpostgresql-jdbc-java)', JAVA, PGJDBC);
/** Fewer, and the program has ended early. */
const LEAST_STEPS = 55;

describe('JDBC through the proxy', { timeout: 300_000, skip: NO_JDBC }, () => {
  it('gives a program the same, step by step', async () => {
    const ways = await twoWays();
    const program = fileURLToPath(new URL('clients/Peer.java', import.meta.url));
    const { direct, proxied } = await ways.each((way) => runClient(way, JAVA ?? '', ['-XX:TieredStopAtLevel=1', '-cp', PGJDBC ?? '', program]));
    assert.equal(direct.code, 0, direct.err);
    // The name that a failed login quotes back, and the hint of ours with it.
    const steps = (way: Way, { out }: Printed): string[] =>
      out
        .trimEnd()
        .split('\n')
        .map((line) =>
          line.startsWith('wrong database')
            ? line.replaceAll(`"${way.user}"`, '"…"').replace(/\\n {2}Hint: Logins to Countersign.*? \/ 28P01.*| \/ 28P01.*/, '')
            : line,
        );
    const [ours, theirs] = [steps(ways.proxied, proxied), steps(ways.direct, direct)];
    for (const [i, step] of theirs.entries()) assert.equal(ours[i], step);
    assert.equal(proxied.code, 0, proxied.err);
    assert.ok(theirs.length >= LEAST_STEPS, `${theirs.length} steps`);
    console.log(`JDBC: ${theirs.length} steps, the same both ways`);
  });
});
