/** Whatever the text, the classifier answers; and what the server would refuse to a reader it never calls a read. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import * as fc from 'fast-check';
import type { Client } from 'pg';
import { Facts } from '../../../../../contract/facts.ts';
import type { Catalog } from '../../../../../proxy/protocols/postgres/sql/catalog.ts';
import { normalise, SqlClassifier, type StatementInfo } from '../../../../../proxy/protocols/postgres/sql/classifier.ts';
import { statements } from '../../../../corpus/read.ts';
import { askServer, disagreement, READ_ONLY_VIOLATION } from './against.ts';
import { query } from './generate.ts';
import { PLAN, SETTINGS, startTestServer, type TestServer } from './server.ts';

const texts = statements();

/** Statements that must not run in the test: they wait, end sessions, or leave something behind outside transactions. */
const UNSAFE =
  /pg_sleep|pg_terminate|pg_cancel|pg_promote|pg_switch|pg_reload|program|checkpoint|lock_timeout|advisory|commit|rollback|abort|\bend\b|prepare\b|discard|set |reset|lo_|listen|\/etc|\/tmp|dynamic|generate_series|recursive|repeat/i;

describe('classifying any text', () => {
  let server: TestServer;
  let client: Client;
  let catalog: Catalog;
  let classifier: SqlClassifier;
  before(async () => {
    server = await startTestServer();
    client = await server.connect();
    await client.query(`set statement_timeout = '2s'`);
    catalog = await server.catalog();
    classifier = await SqlClassifier.load();
  });
  after(async () => {
    await client?.end();
    await server?.stop();
  });

  const check = (sql: string): void => {
    const classified = classifier.classify(sql, catalog, PLAN, SETTINGS);
    assert.ok(classified.parts.length > 0);
    for (const part of classified.parts) Facts.parse(part);
    if (classified.shape !== undefined) assert.equal(classified.shape, normalise(sql));
  };

  it('never throws, and always gives valid facts', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), check), { numRuns: 300 });
    fc.assert(fc.property(mutated(), check), { numRuns: 1500 });
  });

  it('never calls a read what a read-only transaction refuses', async () => {
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(mutated(), async (sql) => {
        if (UNSAFE.test(sql)) return;
        const classified = classifier.classify(sql, catalog, PLAN, SETTINGS);
        const { error } = await askServer(client, sql);
        if (error !== READ_ONLY_VIOLATION) return;
        refused++;
        assert.notDeepEqual(new Set(classified.parts.map((p) => p.effect)), new Set(['read']), sql);
      }),
      { numRuns: 800 },
    );
    assert.ok(refused > 10, `${refused} of the mutated statements were refused`);
  });

  it('gives texts of one shape the same facts, columns and masked literals', () => {
    let compared = 0;
    fc.assert(
      fc.property(fc.constantFrom(...texts), fc.array(fc.nat(9999), { minLength: 3, maxLength: 3 }), (sql, numbers) => {
        const first = classifier.classify(sql, catalog, PLAN, SETTINGS);
        if (first.shape === undefined) return;
        // Other literals of the same kind at the same places.
        let i = 0;
        const other = sql.replace(/'(?:[^']|'')*'/g, () => `'v${numbers[i++ % 3]}'`).replace(/(?<![\w$.'"])\d+(?![\w.'"])/g, () => String(numbers[i++ % 3]));
        if (normalise(other) !== first.shape) return;
        if (other !== sql) compared++;
        const second = classifier.classify(other, catalog, PLAN, SETTINGS);
        assert.deepEqual(second.parts, first.parts, other);
        const anywhere = ({ places, writes, ...rest }: StatementInfo) => ({
          ...rest,
          places: places?.map(({ label, mask, param, use }) => ({ label, mask, param, use })),
          writes: writes?.size,
        });
        assert.deepEqual(second.statements.map(anywhere), first.statements.map(anywhere), other);
        assert.deepEqual(second.maskedLiterals, first.maskedLiterals, other);
      }),
      { numRuns: 600 },
    );
    assert.ok(compared > 50, `${compared} pairs of texts were compared`);
  });

  it('masks every column of generated queries through which a seeded value comes', async () => {
    let ran = 0;
    await fc.assert(
      fc.asyncProperty(query(), async (sql) => {
        const [info] = classifier.classify(sql, catalog, PLAN, SETTINGS).statements;
        const { result, error } = await askServer(client, sql);
        if (!result || !info) return assert.notEqual(error, READ_ONLY_VIOLATION, sql);
        ran++;
        assert.equal(info.facts.effect, 'read', sql);
        assert.equal(disagreement(info, result, catalog), undefined, sql);
      }),
      { numRuns: 600 },
    );
    assert.ok(ran > 400, `${ran} of the generated queries ran`);
  });
});

/** A statement of the corpus with words left out, doubled, exchanged or taken from another. */
function mutated(): fc.Arbitrary<string> {
  const words = (sql: string): string[] => sql.match(/\s+|\w+|'[^']*'|[^\s\w]/g) ?? [];
  return fc
    .record({
      base: fc.constantFrom(...texts),
      other: fc.constantFrom(...texts),
      edits: fc.array(fc.record({ at: fc.nat(60), kind: fc.nat(4), from: fc.nat(60) }), { minLength: 1, maxLength: 3 }),
    })
    .map(({ base, other, edits }) => {
      const list = words(base);
      const source = words(other);
      for (const { at, kind, from } of edits) {
        const i = at % (list.length + 1);
        const word = source[from % Math.max(1, source.length)] ?? '';
        if (kind === 0) list.splice(i, 1);
        else if (kind === 1) list.splice(i, 0, word);
        else if (kind === 2) list.splice(i, 1, word);
        else if (kind === 3) list.splice(i, 0, ...source);
        else list.splice(i, 0, list[from % Math.max(1, list.length)] ?? '');
      }
      return list.join('');
    });
}
