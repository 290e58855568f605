import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client } from 'pg';
import type { DryRun, PendingApproval } from '../../../../contract/approval.ts';
import type { Digest } from '../../../../contract/ids.ts';
import { Secret } from '../../../../contract/secret.ts';
import type { Verdict } from '../../../../contract/verdict.ts';
import { permitForDryRun } from '../../../../proxy/pipeline/decide.ts';
import type { DryRunAttempt, Operation } from '../../../../proxy/pipeline/operation.ts';
import type { Permit } from '../../../../proxy/pipeline/permit.ts';
import type { MaskPlan, Policy, PostgresConnection } from '../../../../proxy/policy/policy.ts';
import { type Backend, closeBackend, openBackend } from '../../../../proxy/protocols/postgres/backend.ts';
import { type Batch, classify } from '../../../../proxy/protocols/postgres/classify.ts';
import { DRY_RUN_APPLICATION, dryRunOf } from '../../../../proxy/protocols/postgres/dryRun.ts';
import type { Reading } from '../../../../proxy/protocols/postgres/flight.ts';
import type { Ground } from '../../../../proxy/protocols/postgres/ground.ts';
import { ownQueries } from '../../../../proxy/protocols/postgres/ownQueries.ts';
import { postgres } from '../../../../proxy/protocols/postgres/serve.ts';
import { type Catalog, loadCatalog } from '../../../../proxy/protocols/postgres/sql/catalog.ts';
import { SqlClassifier } from '../../../../proxy/protocols/postgres/sql/classifier.ts';
import { LOGIN, type TestEngine, testEngine } from '../../../support/engine.ts';
import { CANARY, PASSWORD, SHOP, SUPERUSER, type TestDatabase, testDatabase } from '../../../support/postgres.ts';
import { soon, until } from '../../../support/soon.ts';
import { type Proxied, proxied } from './proxied.ts';

const TIMEOUT = { timeout: 300_000 };
/** Everything that is not a read is asked about, and tried first. */
const RULES = `defaults: { write: ask, delete: ask, schema: allow, admin: allow, execute: allow, unknown: allow }
rules:
  - { id: no-mass-change, match: { connection: none }, verdict: deny }
  - { id: sensitive-conditions-ask, match: { connection: none }, verdict: ask }
  - { id: tried, match: { effect: [write, delete, execute] }, verdict: ask, preview: dry-run }
`;
const SETUP = `${SHOP}
CREATE TABLE copies (id int PRIMARY KEY, what text, loud text GENERATED ALWAYS AS (upper(what)) STORED);
INSERT INTO copies VALUES (1, 'first'), (2, 'second');
CREATE TABLE witnessed (id int);
CREATE TABLE trapped (id int PRIMARY KEY, v int);
INSERT INTO trapped VALUES (1, 1);
CREATE SEQUENCE sprung;
CREATE FUNCTION spring() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('sprung'); RETURN NEW; END $$;
CREATE TRIGGER trap BEFORE UPDATE ON trapped FOR EACH ROW EXECUTE FUNCTION spring();
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE);
INSERT INTO parents VALUES (1), (2); INSERT INTO children VALUES (1, 1), (2, 1);
CREATE TABLE elders (id int PRIMARY KEY);
CREATE TABLE heirs (id int PRIMARY KEY, elder int REFERENCES elders ON DELETE CASCADE);
INSERT INTO elders VALUES (1); INSERT INTO heirs VALUES (1, 1);
CREATE TRIGGER trap BEFORE DELETE ON heirs FOR EACH ROW EXECUTE FUNCTION spring();
CREATE TABLE ruled (id int);
CREATE RULE also AS ON DELETE TO ruled DO ALSO INSERT INTO witnessed VALUES (1);
CREATE TABLE guarded (id int PRIMARY KEY, owner text);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
CREATE FUNCTION side(v int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('sprung'); RETURN true; END $$;
CREATE TABLE checked (id int CHECK (side(id)));
CREATE DOMAIN odd AS int CHECK (side(VALUE));
CREATE TABLE domained (id odd);
CREATE TABLE identified (id int GENERATED ALWAYS AS IDENTITY, v text);
CREATE TABLE defaulted (id int, ok boolean DEFAULT side(1));
CREATE TABLE parted (id int, region text) PARTITION BY LIST (region);
CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu');
CREATE TABLE parted_us PARTITION OF parted FOR VALUES IN ('us');
INSERT INTO parted VALUES (1, 'eu'), (2, 'us');
CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE faraway (id int, what text) SERVER far;
CREATE TABLE spread (id int) PARTITION BY RANGE (id);
CREATE FOREIGN TABLE spread_far PARTITION OF spread FOR VALUES FROM (1) TO (9) SERVER far;
CREATE TABLE large (id int); INSERT INTO large SELECT generate_series(1, 60000); ANALYZE large;
CREATE VIEW paid AS SELECT id, status FROM orders WHERE status = 'paid';
CREATE SCHEMA other; CREATE TABLE other.customers (id int PRIMARY KEY, name text); INSERT INTO other.customers VALUES (1, 'Other');
`;

describe('a dry run', TIMEOUT, () => {
  let p: Proxied;
  let client: Client;
  let direct: Client;
  before(async () => {
    p = await proxied(RULES, { setup: SETUP });
    client = await p.client();
    direct = await p.db.direct();
  });
  after(async () => {
    await direct.end();
    await p.stop();
  });

  /** What the approval shows when the dry run has come to its end; the statement itself is denied after it. */
  async function tried(sql: string, values?: readonly unknown[], on = client): Promise<PendingApproval['dryRun']> {
    p.t.holdAsks(true);
    const query = on.query(sql, values as unknown[]).then(
      () => 'it ran',
      (cause: { message: string }) => cause.message,
    );
    const shown = await decided();
    const denied = p.t.onAsk('deny', 'no');
    const question = await denied;
    assert.match(await query, /no$/, question.payload);
    return shown;
  }

  async function decided(): Promise<PendingApproval['dryRun']> {
    for (let i = 0; i < 10_000; i++) {
      const [pending] = p.t.approvals.pending();
      if (pending && pending.dryRun.state !== 'running') return pending.dryRun;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error('no question came up, or its dry run does not end');
  }

  async function result(sql: string, values?: readonly unknown[], on = client): Promise<DryRun> {
    const shown = await tried(sql, values, on);
    assert.equal(shown.state, 'done', JSON.stringify(shown));
    assert.ok(shown.state === 'done');
    return shown.result;
  }

  async function off(sql: string, values?: readonly unknown[], on = client): Promise<string> {
    const shown = await tried(sql, values, on);
    assert.equal(shown.state, 'none', JSON.stringify(shown));
    return (shown.state === 'none' && shown.why) || '';
  }

  const one = async (sql: string): Promise<unknown> => Object.values((await direct.query(sql)).rows[0] ?? {})[0];
  const trying = (): Promise<unknown> =>
    one(`SELECT count(*)::int FROM pg_stat_activity WHERE application_name = '${DRY_RUN_APPLICATION}' AND (state <> 'idle' OR xact_start IS NOT NULL)`);

  it('shows what an UPDATE would change, before and after, and changes nothing', async () => {
    const shown = await result("UPDATE orders SET status = 'refunded' WHERE id IN (3, 4)");
    assert.equal(shown.rows, 2);
    assert.deepEqual(shown.columns, ['id', 'customer', 'status', 'total']);
    assert.deepEqual(shown.samples, [
      { before: ['3', '4', 'paid', '3.00'], after: ['3', '4', 'refunded', '3.00'] },
      { before: ['4', '5', 'paid', '4.00'], after: ['4', '5', 'refunded', '4.00'] },
    ]);
    assert.equal(await one("SELECT count(*)::int FROM orders WHERE status = 'refunded'"), 0);
  });

  it('counts all rows and shows twenty', async () => {
    const shown = await result("UPDATE orders SET status = 'x' WHERE id <= 150 RETURNING id, status AS s -- every one");
    assert.equal(shown.rows, 150);
    assert.equal(shown.samples.length, 20);
    assert.deepEqual(shown.samples[0]?.after?.[2], 'x');
    assert.equal((await result('UPDATE orders SET total = 0 WHERE id <= 20')).rows, 20);
    assert.deepEqual(await result('UPDATE orders SET total = 0 WHERE id < 0'), { rows: 0, columns: ['id', 'customer', 'status', 'total'], samples: [] });
  });

  it('shows what a DELETE would take and what an INSERT would add', async () => {
    const gone = await result('DELETE FROM copies c USING customers x WHERE x.id = c.id AND c.id = 2;');
    assert.deepEqual(gone.samples, [{ before: ['2', 'second', 'SECOND'], after: null }]);
    const added = await result("INSERT INTO copies (id, what) VALUES (9, 'new'), (10, NULL)");
    assert.deepEqual(added.samples, [
      { before: null, after: ['9', 'new', 'NEW'] },
      { before: null, after: ['10', null, null] },
    ]);
    const upserted = await result("INSERT INTO copies VALUES (1, 'again'), (9, 'new') ON CONFLICT (id) DO UPDATE SET what = excluded.what");
    assert.deepEqual(upserted.samples, [
      { before: ['1', 'first', 'FIRST'], after: ['1', 'again', 'AGAIN'] },
      { before: null, after: ['9', 'new', 'NEW'] },
    ]);
    assert.equal(await one('SELECT count(*)::int FROM copies'), 2);
  });

  it('binds the parameters as the client did', async () => {
    const shown = await result('UPDATE orders SET total = $2, status = $3, customer = $4 WHERE id = $1', [5, '12.5', "it's $1", null]);
    assert.deepEqual(shown.samples, [{ before: ['5', '6', 'paid', '5.00'], after: ['5', null, "it's $1", '12.50'] }]);
    const binary = await result('UPDATE orders SET status = $2 WHERE id = 6 AND $1::bytea IS NOT NULL', [Buffer.from([0, 255, 39]), 'x']);
    assert.deepEqual(binary.samples[0]?.after?.[2], 'x');
  });

  it('masks whatever an answer would mask, wherever the statement puts it', async () => {
    const statements = [
      'UPDATE customers SET name = name WHERE id < 9',
      "UPDATE customers SET email = 'canary77@secret.example', ssn = '977-55-0077' WHERE id = 3",
      'UPDATE customers SET notes = email WHERE id < 9',
      "UPDATE customers SET notes = 'x ' || ssn, meta = jsonb_build_object('a', email) WHERE id < 9",
      'UPDATE customers c SET (notes, meta) = (SELECT email, to_jsonb(card) FROM customers x WHERE x.id = c.id) WHERE id < 3',
      'DELETE FROM customers c USING copies o WHERE o.id = c.id AND false OR c.id > 60 OR c.id = -1',
      'INSERT INTO copies (id, what) SELECT id + 100, email FROM customers',
      'INSERT INTO copies (id, what) SELECT id + 100, reverse(reverse(ssn)) FROM customers RETURNING what, (SELECT max(email) FROM customers)',
      'WITH s AS (SELECT id, card FROM customers) UPDATE copies SET what = s.card FROM s WHERE s.id = copies.id RETURNING s.card, copies.*',
    ];
    for (const sql of statements) assert.doesNotMatch(JSON.stringify(await tried(sql)), CANARY, sql);
    const [sample] = (await result('UPDATE customers SET name = $1 WHERE id = 3', ['Neu'])).samples;
    assert.deepEqual(sample?.before?.slice(0, 4), ['3', 'Name 3', 'c•••@secret.example', '‹redacted›']);
    assert.match(sample?.before?.[4] ?? '', /^‹card·\d+·[a-z]{5}›$/);
    assert.deepEqual(sample?.after?.slice(0, 3), ['3', 'Neu', 'c•••@secret.example']);
    assert.match(JSON.stringify(await result("UPDATE copies SET what = 'mail ann@real.example now' WHERE id = 1")), /mail (?!ann@real)/);
    assert.doesNotMatch(await p.t.written(), CANARY);
  });

  it('has rolled back and let go of every lock before the approved statement runs', async () => {
    const other = await p.db.direct();
    p.t.holdAsks(true);
    const query = client.query("UPDATE orders SET status = 'really' WHERE id = 9");
    const shown = await decided();
    assert.equal(shown.state, 'done');
    assert.equal(await trying(), 0);
    await other.query('SET lock_timeout = 100; UPDATE orders SET total = 1 WHERE id = 9');
    await p.t.onAsk('approve');
    assert.equal((await query).rowCount, 1);
    assert.equal(await one('SELECT status FROM orders WHERE id = 9'), 'really');
    await other.end();
  });

  it('waits for nobody’s lock for long, and says so', async () => {
    const other = await p.db.direct();
    await other.query('BEGIN; UPDATE orders SET total = 2 WHERE id = 11');
    try {
      assert.match(await off("UPDATE orders SET status = 'x' WHERE id = 11"), /locked by somebody else.*55P03/);
    } finally {
      await other.query('ROLLBACK');
      await other.end();
    }
  });

  it('ends when it takes too long', async () => {
    assert.match(
      await off(
        'UPDATE copies SET what = (SELECT count(*) FROM orders a, orders b, orders c, orders d, orders e WHERE a.id + b.id + c.id + d.id + e.id = 0) WHERE id = 1',
      ),
      /longer than 3 s.*57014/,
    );
    assert.equal(await trying(), 0);
  });

  it('is cancelled on the server when the question is answered', async () => {
    p.t.holdAsks(true);
    const query = client
      .query('UPDATE copies SET what = (SELECT count(*) FROM orders a, orders b, orders c, orders d, orders e WHERE a.id + b.id = 0) WHERE id = 1')
      .catch(() => 'denied');
    await until('the dry run', async () => (await trying()) === 1);
    await p.t.onAsk('deny', 'no');
    assert.equal(await query, 'denied');
    await soon(async () => assert.equal(await trying(), 0));
    // Not at its own limit: that would be recorded as a failure.
    const [entry] = (await p.t.entries()).filter((body) => body.type === 'operation.dry-run' && body.state === 'cancelled');
    assert.ok(entry);
  });

  it('is turned off, with the reason, where a roll-back would not take everything back', async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ["INSERT INTO orders (status) VALUES ('x')", /column id takes its value from a sequence/],
      ["INSERT INTO orders VALUES (DEFAULT, 1, 'x', 1)", /column id takes its value from a sequence/],
      ['UPDATE orders SET id = DEFAULT WHERE id = 1', /sequence/],
      ["INSERT INTO identified (v) VALUES ('x')", /column id takes its value from a sequence/],
      ['INSERT INTO defaulted (id) VALUES (1)', /default of the column ok calls/],
      ["UPDATE copies SET id = nextval('sprung') WHERE id = 1", /calls nextval/],
      ['UPDATE copies SET what = side(1)::text WHERE id = 1', /calls .*side/],
      ['UPDATE trapped SET v = 2', /trigger trap/],
      ['DELETE FROM elders', /heirs has the trigger trap/],
      ['DELETE FROM ruled', /rule/],
      ['INSERT INTO checked VALUES (1)', /uses the function public\.side/],
      ['INSERT INTO domained VALUES (1)', /uses the function public\.side/],
      ['DELETE FROM faraway', /faraway is a foreign table/],
      ['UPDATE spread SET id = 3 WHERE id = 2', /spread_far is a foreign table/],
      ["UPDATE paid SET status = 'x'", /not a plain table/],
      ['UPDATE large SET id = id', /about 60,000 rows/],
      ['MERGE INTO copies c USING orders o ON o.id = c.id WHEN MATCHED THEN DELETE', /MERGE/],
      ["UPDATE copies SET what = 'x' WHERE id = 1; UPDATE copies SET what = 'y' WHERE id = 2", /several statements/],
      ['WITH d AS (DELETE FROM witnessed RETURNING id) UPDATE copies SET what = d.id::text FROM d', /more than one table/],
      ['COPY witnessed FROM STDIN', /COPY/],
    ];
    for (const [sql, why] of cases) assert.match(await off(sql).catch((cause: Error) => `${sql}: ${cause.message}`), why, sql);
    assert.equal(await one('SELECT is_called FROM sprung'), false);
    assert.equal(await one('SELECT last_value::int FROM orders_id_seq'), 200);
  });

  it('is turned off by row security and by missing rights, which a superuser does not see', async () => {
    await direct.query(`CREATE ROLE plain LOGIN PASSWORD '${PASSWORD}'; GRANT SELECT, UPDATE ON guarded, copies TO plain; GRANT UPDATE ON orders TO plain`);
    const connection = p.t.policy().connections.get('orders') as PostgresConnection;
    const served = await postgres.serve({ ...connection, upstream: { ...connection.upstream, user: 'plain' } }, p.t.host);
    const plain = new Client({ host: '127.0.0.1', port: served.environment?.port ?? 0, database: p.db.database, ...LOGIN });
    try {
      await plain.connect();
      assert.match(await off("UPDATE guarded SET owner = 'me'", undefined, plain), /row security is on for guarded/);
      assert.match(await off("UPDATE copies SET what = 'x' WHERE id IN (SELECT id FROM guarded)", undefined, plain), /row security is on for guarded/);
      assert.match(await off("UPDATE orders SET status = 'x'", undefined, plain), /may not read what it would change \(SQLSTATE 42501\)/);
      assert.equal((await result("UPDATE copies SET what = 'x' WHERE id = 1", undefined, plain)).rows, 1);
    } finally {
      await plain.end();
      await served.stop('the test is over');
    }
  });

  it('goes on where what could trip it is not used by the statement', async () => {
    assert.equal((await result("INSERT INTO orders (id, customer, status) VALUES (1000, 1, 'x')")).rows, 1);
    assert.equal((await result('DELETE FROM trapped WHERE id = 1')).rows, 1);
    assert.equal((await result('DELETE FROM parents WHERE id = 1')).rows, 1);
    assert.equal((await result("UPDATE parted SET region = 'us' WHERE id = 1")).rows, 1);
    assert.equal(await one('SELECT count(*)::int FROM children'), 2);
  });

  it('says that the statement would fail, without the server’s words', async () => {
    const why = await off("UPDATE customers SET email = 'canary7@secret.example' WHERE id = 3");
    assert.match(why, /must be unique exists already \(SQLSTATE 23505\)/);
    assert.doesNotMatch(why, CANARY);
    assert.match(await off('DELETE FROM customers WHERE id = 3'), /foreign key would be broken/);
  });

  it('means by a name what the session means by it', async () => {
    const own = await p.client();
    await own.query('SET search_path TO other, public');
    const shown = await result("UPDATE customers SET name = 'x' WHERE id = 1", undefined, own);
    assert.deepEqual(shown.samples, [{ before: ['1', 'Other'], after: ['1', 'x'] }]);
    await own.end();
  });

  it('is turned off where another connection would not see what the session sees', async () => {
    const own = await p.client();
    await own.query('BEGIN');
    assert.match(await off("UPDATE copies SET what = 'x' WHERE id = 1", undefined, own), /in a transaction/);
    await own.query('ROLLBACK');
    await own.query("SET TIME ZONE 'Asia/Tokyo'");
    assert.match(await off("UPDATE copies SET what = 'x' WHERE id = 1", undefined, own), /changed settings/);
    await own.end();
    const third = await p.client();
    await third.query('CREATE TEMP TABLE copies (id int, what text)');
    assert.match(await off("UPDATE copies SET what = 'x' WHERE id = 1", undefined, third), /temporary tables|changed settings|catalog/);
    await third.end();
  });

  it('is on the record before and after, by the rule that permits it', async () => {
    await result("UPDATE copies SET what = 'on the record' WHERE id = 1");
    const asked = (await p.t.entries()).find((body) => body.type === 'operation.intent' && body.payload.includes('on the record'));
    const entries = (await p.t.entries())
      .filter((body) => body.type === 'operation.dry-run')
      .filter((body) => asked && 'operation' in asked && body.operation === asked.operation);
    assert.deepEqual(
      entries.map(({ basis, rows, state }) => [basis, state, rows]),
      [
        ['dry-run:tried', 'started', undefined],
        ['dry-run:tried', 'done', 1],
      ],
    );
    const intents = (await p.t.entries()).filter((body) => body.type === 'operation.intent');
    assert.ok(entries.every(({ digest }) => !intents.some((intent) => intent.digest === digest)));
  });

  it('is not made where no rule asks for it', async () => {
    p.t.setPolicy(p.policyText(RULES.replace(', preview: dry-run', '')));
    const before = (await p.t.entries()).filter((body) => body.type === 'operation.dry-run').length;
    assert.deepEqual(await tried("UPDATE copies SET what = 'x' WHERE id = 1"), { state: 'none' });
    assert.deepEqual(await tried("INSERT INTO orders (status) VALUES ('x')"), { state: 'none' });
    assert.equal((await p.t.entries()).filter((body) => body.type === 'operation.dry-run').length, before);
  });
});

describe('a dry run on a server that does not return old rows', TIMEOUT, () => {
  let db: TestDatabase;
  let t: TestEngine;
  let catalog: Catalog;
  let classifier: SqlClassifier;
  before(async () => {
    // PostgreSQL 16 and 17 take the same statements: the server of the tests stands for them.
    db = await testDatabase(SETUP);
    t = await testEngine(`version: 1\n${RULES}`);
    const backend = await open(new AbortController().signal);
    const loaded = await loadCatalog(ownQueries(backend));
    closeBackend(backend);
    catalog = new Proxy(loaded, {
      get: (of, name) => {
        if (name === 'serverVersion') return 170_000;
        const value: unknown = Reflect.get(of, name, of);
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(of) : value;
      },
    });
    classifier = await SqlClassifier.load();
  });
  after(() => t.stop());

  const connection = (): PostgresConnection =>
    ({ name: 'orders', upstream: { host: db.host, port: db.port, database: db.database, user: SUPERUSER }, tls: { mode: 'disable' } }) as PostgresConnection;
  const open = (signal: AbortSignal): Promise<Backend> =>
    openBackend(connection(), new Secret(PASSWORD), new Map([['application_name', DRY_RUN_APPLICATION]]), signal);

  async function attempted(sql: string): Promise<{ attempt: DryRunAttempt; permit: Permit }> {
    const plan: MaskPlan = {
      ...t.policy().maskPlan('orders'),
      columns: new Map([
        ['public.customers.email', 'redact'],
        ['public.customers.ssn', 'redact'],
        ['public.customers.card', 'redact'],
      ]),
    };
    const reading: Reading = { catalog, plan, searchPath: ['public'] };
    const understand = (text: string): Batch =>
      classify(classifier, text, reading, {}, { uncertain: false, uncertainAfterTransaction: false, readOnly: false });
    const masking = t.engine.masking('orders');
    const session = { masking, login: { connection: connection(), open }, understand, settled: () => Promise.resolve() };
    const attempt = await dryRunOf({ engine: t.engine } as Ground, session, { sql, batch: understand(sql), reading, bound: undefined, digest: 'd' });
    const verdict = { decision: 'ask', preview: 'dry-run', policyVersion: t.policy().version, rule: { id: 'tried' } } as Verdict;
    const permit = permitForDryRun(t.policy(), verdict, { id: 'op_1' } as Operation, attempt);
    return { attempt, permit };
  }

  async function result(sql: string): Promise<DryRun> {
    const { attempt, permit } = await attempted(sql);
    const shown = await attempt.run(permit, new AbortController().signal);
    // A permit is for one try.
    await assert.rejects(attempt.run(permit, new AbortController().signal), /used twice/);
    return shown;
  }

  it('leaves nothing running and nothing locked, at whatever moment it is given up', async () => {
    const watcher = await db.direct();
    const slow = 'UPDATE copies SET what = (SELECT count(*) FROM orders a, orders b, orders c, orders d WHERE a.id + b.id + c.id + d.id = 0) WHERE id = 1';
    for (let moment = 0; moment < 60; moment++) {
      const { attempt, permit } = await attempted(slow);
      const abort = new AbortController();
      const run = attempt.run(permit, abort.signal);
      // Some give up between two steps, some within one: what holds afterwards must not depend on it.
      setTimeout(() => abort.abort(), moment / 2);
      await assert.rejects(run);
      // A login that was given up may still be starting on the server: it has been sent no statement.
      const { rows } = await watcher.query(
        `SELECT state, query FROM pg_stat_activity WHERE application_name = '${DRY_RUN_APPLICATION}' AND xact_start IS NOT NULL AND state <> 'starting'`,
      );
      assert.deepEqual(rows, [], `given up after ${moment / 2} ms`);
    }
    await watcher.end();
  });

  it('reads rows as they were by their key, out of the same snapshot', async () => {
    const shown = await result("UPDATE orders AS o SET status = 'x' FROM customers c WHERE c.id = o.customer AND o.id IN (3, 4)");
    assert.deepEqual(shown, {
      rows: 2,
      columns: ['id', 'customer', 'status', 'total'],
      samples: [
        { before: ['3', '4', 'paid', '3.00'], after: ['3', '4', 'x', '3.00'] },
        { before: ['4', '5', 'paid', '4.00'], after: ['4', '5', 'x', '4.00'] },
      ],
    });
  });

  it('masks them, and what the statement copies', async () => {
    const shown = await result('UPDATE customers SET notes = email WHERE id < 9 RETURNING ssn');
    assert.equal(shown.samples.length, 8);
    assert.deepEqual(shown.samples[0]?.before?.slice(0, 4), ['1', 'Name 1', '‹redacted›', '‹redacted›']);
    assert.doesNotMatch(JSON.stringify(shown), CANARY);
  });

  it('tells only the count where a row cannot be found again', async () => {
    assert.deepEqual((await result('UPDATE customers SET id = id + 1000 WHERE id = 51 OR id < 0')).samples, []);
    assert.deepEqual(await result("UPDATE parted SET region = 'eu' WHERE id = 1"), { rows: 1, columns: ['id', 'region'], samples: [] });
  });

  it('shows what is added and what is taken', async () => {
    assert.deepEqual((await result("INSERT INTO public.copies (id, what) VALUES (9, 'new')")).samples, [{ before: null, after: ['9', 'new', 'NEW'] }]);
    assert.deepEqual((await result('DELETE FROM public.copies WHERE id = 2')).samples, [{ before: ['2', 'second', 'SECOND'], after: null }]);
    await assert.rejects(result('INSERT INTO copies VALUES (1) ON CONFLICT (id) DO UPDATE SET what = excluded.what'), /before PostgreSQL 18/);
  });
});

describe('a permit for a dry run', () => {
  it('is given under a verdict that asks and wants one, of the policy in force, and under no other', () => {
    const policy = { version: 'v1' } as Policy;
    const operation = { id: 'op_1' } as Operation;
    const attempt = { digest: 'tried' } as DryRunAttempt;
    const good = { decision: 'ask', preview: 'dry-run', policyVersion: 'v1', rule: { id: 'tried' } } as Verdict;
    const permit = permitForDryRun(policy, good, operation, attempt);
    assert.equal(permit.basis, 'dry-run:tried');
    assert.throws(() => permit.use('asked' as Digest), /other bytes/);
    for (const bad of [{ preview: 'none' }, { decision: 'deny' }, { decision: 'allow' }, { policyVersion: 'v0' }] as Partial<Verdict>[])
      assert.throws(() => permitForDryRun(policy, { ...good, ...bad }, operation, attempt), /no dry run/);
  });
});
