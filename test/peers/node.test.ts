/** Node's drivers, straight to a database and through the proxy: the same values, errors and notices. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nodePostgres, postgresJs, THINGS } from './nodePrograms.ts';
import { drizzleProgram, kyselyProgram } from './ormPrograms.ts';
import { same } from './steps.ts';
import { twoWays } from './ways.ts';

const ways = await twoWays(THINGS);

describe('through the proxy', { timeout: 300_000 }, () => {
  for (const [name, program, least] of [
    ['node-postgres, with pg-cursor and pg-query-stream', nodePostgres, 60],
    ['postgres.js', postgresJs, 25],
    ['Drizzle', drizzleProgram, 15],
    ['Kysely', kyselyProgram, 15],
  ] as const) {
    it(`${name} sees the same as directly`, async () => {
      const steps = await same(ways, program);
      assert.ok(steps >= least, `${steps} steps`);
      console.log(`${name}: ${steps} steps, the same both ways`);
    });
  }
});
