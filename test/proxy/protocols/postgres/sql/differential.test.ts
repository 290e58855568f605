/** The classifier against the real server: where columns come from, what is a write, what leaks. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Client } from 'pg';
import type { Catalog } from '../../../../../proxy/protocols/postgres/sql/catalog.ts';
import { SqlClassifier } from '../../../../../proxy/protocols/postgres/sql/classifier.ts';
import { statements } from '../../../../corpus/read.ts';
import { askServer, classifyOne, disagreement, holdsCanary, READ_ONLY_VIOLATION } from './against.ts';
import { startTestServer, type TestServer } from './server.ts';

const texts = statements();

/** Would end the test's own transaction or connection, or wait. */
const UNSAFE =
  /^\s*(begin|start|commit|end|rollback|abort|prepare transaction|set |reset|discard|declare|fetch|copy|listen|close|select pg_sleep|select pg_terminate|select pg_promote|select dynamic|savepoint|release)/i;

describe('the classifier against the server', () => {
  let server: TestServer;
  let client: Client;
  let catalog: Catalog;
  let classifier: SqlClassifier;
  before(async () => {
    server = await startTestServer();
    client = await server.connect();
    catalog = await server.catalog();
    classifier = await SqlClassifier.load();
  });
  after(async () => {
    await client?.end();
    await server?.stop();
  });

  it('agrees on the origin of every column of every corpus statement that runs, and no unmasked value holds a canary', async () => {
    const wrong: string[] = [];
    let ran = 0;
    for (const sql of texts) {
      if (UNSAFE.test(sql)) continue;
      const statements = classifyOne(classifier, catalog, sql);
      const [info] = statements;
      if (statements.length !== 1 || !info) continue;
      const params = [...sql.matchAll(/\$(\d)/g)].map((m) => Number(m[1]));
      const answered = await askServer(client, sql, params.length === 0 ? undefined : Array.from({ length: Math.max(...params) }, () => '1'));
      if (answered.error === READ_ONLY_VIOLATION && info.facts.effect === 'read') wrong.push(`${sql}: read, but the server calls it a write`);
      if (!answered.result?.fields) continue;
      ran++;
      // What the statement itself says is no secret.
      const why = holdsCanary(sql) ? undefined : disagreement(info, answered.result, catalog);
      if (why !== undefined) wrong.push(`${sql}: ${why}`);
    }
    assert.deepEqual(wrong, []);
    assert.ok(ran > 250, `${ran} statements ran`);
  });

  it('says where every column of COPY comes from, and shows no canary in an unmasked field', async () => {
    for (const sql of ['copy customers to stdout', 'copy (select id, email, upper(ssn) from customers) to stdout', 'copy customers (name, card) to stdout']) {
      const [info] = classifyOne(classifier, catalog, sql);
      const query = sql
        .replace(/^copy \((.*)\) to stdout$/, '$1')
        .replace(
          /^copy (\w+)( \((.*)\))? to stdout$/,
          (_all, table: string, _list, columns?: string) => `select ${columns ?? 'id, name, email, ssn, card, city, vip, created'} from ${table}`,
        );
      const answered = await askServer(client, query);
      assert.ok(info?.copy && info.copy.columns !== 'opaque' && answered.result, sql);
      assert.equal(disagreement({ ...info, outputs: info.copy.columns }, answered.result, catalog), undefined, sql);
    }
  });
});
