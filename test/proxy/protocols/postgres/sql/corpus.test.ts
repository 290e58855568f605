/**
 * Every line of `test/corpus/sql.jsonl` gives what stands there. To add one: write `{"sql": "…"}`, run with
 * `UPDATE_CORPUS=1`, and read what comes out before keeping it.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { Facts } from '../../../../../contract/facts.ts';
import type { Catalog } from '../../../../../proxy/protocols/postgres/sql/catalog.ts';
import { SqlClassifier } from '../../../../../proxy/protocols/postgres/sql/classifier.ts';
import { corpusFile, corpusLines } from '../../../../corpus/read.ts';
import { asRecord, type CorpusExpectation } from './record.ts';
import { PLAN, SETTINGS, startTestServer, type TestServer } from './server.ts';

type Line = { readonly section: string } | { readonly sql: string; readonly expect?: CorpusExpectation };
const lines = corpusLines<Line>('sql.jsonl');

describe('the corpus of SQL', () => {
  let server: TestServer;
  let catalog: Catalog;
  let classifier: SqlClassifier;
  before(async () => {
    server = await startTestServer();
    catalog = await server.catalog();
    classifier = await SqlClassifier.load();
  });
  after(async () => {
    await server?.stop();
  });

  it('has at least 500 statements, each once', () => {
    const texts = lines.flatMap((line) => ('sql' in line ? [line.sql] : []));
    assert.ok(texts.length >= 500);
    assert.equal(new Set(texts).size, texts.length);
  });

  let section = '';
  const bySection = new Map<string, { sql: string; expect?: CorpusExpectation }[]>();
  for (const line of lines) {
    if ('section' in line) section = line.section;
    else bySection.set(section, [...(bySection.get(section) ?? []), line]);
  }
  for (const [title, statements] of bySection) {
    it(`${title}: gives effect, targets, columns, predicates and record as expected`, () => {
      for (const { sql, expect } of statements) {
        const classified = classifier.classify(sql, catalog, PLAN, SETTINGS);
        for (const part of classified.parts) Facts.parse(part);
        if (process.env['UPDATE_CORPUS'] === undefined) assert.deepEqual(asRecord(classified, sql), expect, sql);
      }
    });
  }

  it('is written anew on request only', () => {
    if (process.env['UPDATE_CORPUS'] === undefined) return;
    const text = lines.map((line) =>
      JSON.stringify('section' in line ? line : { sql: line.sql, expect: asRecord(classifier.classify(line.sql, catalog, PLAN, SETTINGS), line.sql) }),
    );
    writeFileSync(corpusFile('sql.jsonl'), `${text.join('\n')}\n`);
  });
});
