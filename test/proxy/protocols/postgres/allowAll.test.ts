/** With a policy that allows everything: what the protocol holds by itself, and what a client must not notice. */
import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import type { Client } from 'pg';
import { CANARY } from '../../../support/postgres.ts';
import { until } from '../../../support/soon.ts';
import { ALLOW_ALL, describe, errorOf, front, type Proxied, proxied, row } from './proxied.ts';

/** All that an error says, its message included. */
function fieldsOf(cause: Error): Record<string, unknown> {
  return Object.fromEntries(
    Object.getOwnPropertyNames(cause).flatMap((name) => (name === 'stack' ? [] : [[name, (cause as unknown as Record<string, unknown>)[name]]])),
  );
}

suite('a PostgreSQL connection whose policy allows everything', { timeout: 300_000 }, () => {
  let p: Proxied;
  let client: Client;
  const notices: string[] = [];
  before(async () => {
    p = await proxied(ALLOW_ALL);
    client = await p.client();
    client.on('notice', (notice) => notices.push(JSON.stringify(notice) + notice.message));
  });
  after(() => p.stop());

  const failure = async (sql: string, values: unknown[] = []): Promise<Record<string, unknown>> =>
    client.query(sql, values).then(
      () => ({ code: 'no error' }),
      (cause: Error) => fieldsOf(cause),
    );

  it('answers errors, notices and results as the server does', async () => {
    const direct = await p.db.direct();
    const statements = [
      'SELECT 1/0',
      'SELECT * FROM customers_that_are_not_there',
      'SELECT 1 AS a, NULL AS b, true AS c, now() - now() AS d, ARRAY[1,2] AS e, 1.5::numeric AS f',
      'SELEC 1',
      'INSERT INTO orders (customer) VALUES (99999)',
      "INSERT INTO orders (id) VALUES ('abc')",
      'DROP TABLE IF EXISTS not_there',
      '',
      'SELECT generate_series(1, 1000)',
      'VALUES (1, $$two$$), (3, $$four$$)',
      "SELECT 'äöü€😀' AS text, E'\\\\x00ff'::bytea AS bytes",
    ];
    for (const sql of statements) {
      const [ours, theirs] = await Promise.all(
        [client, direct].map((c) =>
          c.query(sql).then(
            (r) => ({ rows: r.rows, command: r.command, fields: r.fields?.map((f) => ({ ...f })) }) as unknown,
            (cause: Error & { code?: string; detail?: string; position?: string }) => ({
              message: cause.message,
              code: cause.code,
              detail: cause.detail,
              position: cause.position,
            }),
          ),
        ),
      );
      assert.deepEqual(ours, theirs, sql);
    }
    await direct.end();
  });

  it('withholds what code raises while it can reach sensitive tables', async () => {
    notices.length = 0;
    await client.query("DO $$ DECLARE v text; BEGIN SELECT email INTO v FROM customers WHERE id = 9; RAISE NOTICE 'it is %', v; END $$");
    const error = await failure(
      "DO $$ DECLARE v text; BEGIN SELECT ssn INTO v FROM customers WHERE id = 9; RAISE EXCEPTION USING MESSAGE = v, DETAIL = reverse(v), HINT = v, COLUMN = v, ERRCODE = '22023'; END $$",
    );
    assert.equal(error['code'], '22023');
    assert.doesNotMatch(JSON.stringify(error), /55-0009|9000-55/);
    assert.equal(notices.length, 1);
    assert.doesNotMatch(notices.join(''), CANARY);
    // A function of which nothing but the name is in the statement.
    await client.query(
      "CREATE FUNCTION tell(int) RETURNS int LANGUAGE plpgsql AS $$ DECLARE v text; BEGIN SELECT email INTO v FROM customers WHERE id = $1; RAISE WARNING '%', reverse(v); RETURN 1; END $$",
    );
    await client.query('SELECT tell(4)');
    assert.equal(notices.length, 2);
    assert.doesNotMatch(notices.join(''), /terces|canary/);
  });

  it('lets no canary out through settings, temporary tables, copies and notifications', async () => {
    const texts: string[] = [];
    const read = async (sql: string): Promise<void> => {
      texts.push(
        JSON.stringify(
          await client.query(sql).then(
            (r) => (Array.isArray(r) ? r.map((x) => x.rows) : r.rows),
            (cause: Error) => fieldsOf(cause),
          ),
        ),
      );
    };
    await read("SELECT set_config('app.stolen', (SELECT email FROM customers WHERE id = 5), false)");
    await read('SHOW app.stolen');
    await read("SELECT current_setting('app.stolen')");
    await read("SELECT set_config('application_name', (SELECT ssn FROM customers WHERE id = 5), false)");
    await read('SHOW application_name');
    await read('CREATE TEMP TABLE stolen AS SELECT id, email AS a, ssn || card AS b FROM customers');
    await read('SELECT * FROM stolen LIMIT 3');
    await read('SELECT upper(a), b || 1 FROM stolen LIMIT 3');
    await read('CREATE TABLE kept AS SELECT id, email AS a, ssn AS b FROM customers');
    await read('SELECT * FROM kept LIMIT 3');
    await read("SELECT a || '', b::varchar FROM kept LIMIT 3");
    await read('SELECT most_common_vals, histogram_bounds FROM pg_stats');
    await read('ANALYZE customers');
    await read("SELECT tablename, histogram_bounds, most_common_vals FROM pg_stats WHERE schemaname = 'public'");
    await read('UPDATE orders SET status = email FROM customers WHERE customers.id = orders.customer AND orders.id = 5 RETURNING status, email');
    await read('SELECT status FROM orders WHERE id = 5');
    await read("SELECT query_to_xml('select email from customers', true, true, '')");
    await read('SELECT string_agg(email, $$,$$), max(ssn), min(card), count(*) FROM customers');
    assert.doesNotMatch(texts.join('\n'), CANARY);
    assert.doesNotMatch(texts.join('\n'), /canary\d|CANARY\d/);
    await client.query('DROP TABLE kept, stolen');
  });

  it('withholds what notifications say, since whoever sent one may have read anything', async () => {
    const listener = await p.client();
    const got: string[] = [];
    listener.on('notification', (message) => got.push(message.payload ?? ''));
    await listener.query('LISTEN news');
    await client.query("NOTIFY news, 'ann@real.example wrote'");
    await client.query('NOTIFY news');
    await listener.query('SELECT 1');
    await until('both notifications', () => got.length >= 2);
    assert.deepEqual(got, ['‹hidden›', '']);
  });

  it('copies in, and counts the rows', async () => {
    const raw = await p.raw();
    raw.send(front.query('COPY orders (id, customer, status, total) FROM STDIN'));
    await raw.until('G');
    raw.send(front.copyData('9001\t1\tcopied\t1.50\n'), front.copyData('9002\t2\tcopied\t2.50\n'), front.copyDone());
    assert.equal(describe(await raw.until('Z')), 'C:COPY 2 Z:I');
    // Without waiting for the server's word, in the extended protocol, with the Sync that it ignores meanwhile.
    raw.send(front.parse('', 'COPY orders (id, customer, status, total) FROM STDIN'), front.bind('', ''), front.execute(), front.sync());
    raw.send(front.copyData('9003\t1\tcopied\t1.50\n'), front.copyDone(), front.sync());
    assert.match(describe(await raw.until('Z')), /^1 2 (n )?G C:COPY 1 Z:I$/);
    raw.send(front.query('SELECT count(*) FROM orders WHERE id > 9000'));
    assert.deepEqual((await raw.until('Z')).filter((m) => m.type === 'D').map(row), [['3']]);
    const outcomes = (await p.t.entries()).filter((e) => e.type === 'operation.outcome' && e.rows === 2);
    assert.ok(outcomes.length >= 1);
  });

  it('drops COPY data that nobody asked for, as the server does', async () => {
    const raw = await p.raw();
    raw.send(front.copyData('x'), front.copyDone(), front.query('SELECT 1'));
    assert.match(describe(await raw.until('Z')), /^T D C:SELECT 1 Z:I$/);
  });

  it('follows names that code redefines unseen', async () => {
    const own = await p.client();
    await own.query('PREPARE n AS SELECT name FROM customers WHERE id = 1');
    assert.deepEqual((await own.query('EXECUTE n')).rows, [{ name: 'Name 1' }]);
    await own.query("DO $$ BEGIN EXECUTE 'DEALLOCATE n'; EXECUTE 'PREPARE n AS SELECT reverse(email) AS name FROM customers WHERE id = 1'; END $$");
    assert.doesNotMatch(JSON.stringify((await own.query('EXECUTE n')).rows), /yranac/);
    const last = (await p.t.entries()).findLast((e) => e.type === 'operation.intent' && e.payload === 'EXECUTE n');
    assert.ok(last?.type === 'operation.intent');
    assert.deepEqual(last.facts.sensitive, ['customers.email']);
  });

  it('forgets a temporary table with the transaction that made it', async () => {
    const own = await p.client();
    await own.query('BEGIN');
    await own.query('CREATE TEMP TABLE customers (id int, email text)');
    await own.query('ROLLBACK');
    assert.doesNotMatch(JSON.stringify((await own.query('SELECT lower(email) AS e FROM customers LIMIT 2')).rows), CANARY);
    await own.query('BEGIN; CREATE TEMP TABLE customers (id int, email text) ON COMMIT DROP; COMMIT');
    assert.doesNotMatch(JSON.stringify((await own.query('SELECT lower(email) AS e FROM customers LIMIT 2')).rows), CANARY);
  });

  it('does not trust names after a change of the search path in the same pipeline', async () => {
    await client.query(
      'CREATE SCHEMA evil; CREATE VIEW evil.harmless AS SELECT reverse(email) AS x FROM customers; CREATE TABLE harmless (x text); INSERT INTO harmless VALUES ($$fine$$)',
    );
    const raw = await p.raw();
    raw.send(
      ...['SET search_path = evil', 'SELECT x FROM harmless LIMIT 1'].flatMap((sql) => [front.parse('', sql), front.bind('', ''), front.execute()]),
      front.sync(),
    );
    const messages = await raw.until('Z');
    assert.doesNotMatch(messages.map((m) => m.body.toString()).join(''), /yranac/);
    raw.send(front.query("RESET search_path; SELECT x FROM harmless; SELECT set_config('search_path', 'evil', false); SELECT x FROM harmless LIMIT 1"));
    assert.doesNotMatch((await raw.until('Z')).map((m) => m.body.toString()).join(''), /yranac/);
    raw.send(front.query('SELECT x FROM harmless LIMIT 1'));
    assert.doesNotMatch((await raw.until('Z')).map((m) => m.body.toString()).join(''), /yranac/);
  });

  it('ends a session whose settings make statements unreadable', async () => {
    const raw = await p.raw();
    raw.send(front.query("SELECT set_config('client_encoding', 'LATIN1', false)"));
    const error = (await raw.until('E')).at(-1);
    assert.equal(error && errorOf(error).get('S'), 'FATAL');
    await raw.ended();
  });

  it('understands a view that was made a moment ago', async () => {
    await client.query('CREATE VIEW fresh AS SELECT id, email || $$!$$ AS shout, name FROM customers');
    const { rows } = await client.query('SELECT * FROM fresh ORDER BY id LIMIT 1');
    assert.doesNotMatch(JSON.stringify(rows), CANARY);
    assert.equal(rows[0].name, 'Name 1');
    const direct = await p.db.direct();
    await direct.query('CREATE VIEW unseen AS SELECT id, email AS plain FROM customers');
    await direct.end();
    assert.doesNotMatch(JSON.stringify((await client.query('SELECT * FROM unseen LIMIT 1')).rows), CANARY);
  });

  it('passes a large result on in bounded memory to a client that reads slowly', async () => {
    const raw = await p.raw();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = process.memoryUsage().rss;
    raw.stream.pause();
    raw.send(front.query("SELECT repeat('x', 1000) FROM generate_series(1, 200000)"));
    await new Promise((resolve) => setTimeout(resolve, 700));
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 80 * 1024 * 1024, `grew by ${Math.round(grown / 1024 / 1024)} MB`);
    raw.stream.removeAllListeners('data');
    let bytes = 0;
    let tail = Buffer.alloc(0);
    await new Promise<void>((resolve) => {
      raw.stream.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        tail = Buffer.concat([tail, chunk]).subarray(-6);
        if (tail.equals(Buffer.from('Z\0\0\0\x05I'))) resolve();
      });
      raw.stream.resume();
    });
    assert.ok(bytes > 200_000_000);
  });

  it('frees the server’s side when a client vanishes in the middle of a result', async () => {
    const victim = await p.raw();
    victim.send(front.query("SELECT repeat('y', 1000) FROM generate_series(1, 10000) a, generate_series(1, 10000) b"));
    await victim.until('D');
    victim.stream.destroy();
    const direct = await p.db.direct();
    const running = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%10000) b' AND state = 'active' AND pid <> pg_backend_pid()";
    await until('the end of the statement', async () => (await direct.query(running)).rowCount === 0);
    await direct.end();
  });

  it('records an outcome of what was bound and never executed, or not to its end', async () => {
    const raw = await p.raw();
    raw.send(front.query('BEGIN'));
    await raw.until('Z');
    raw.send(
      front.parse('', "SELECT 'never executed'"),
      front.bind('idle', ''),
      front.parse('', "SELECT 'read in part', generate_series(1, 9)"),
      front.bind('part', ''),
      front.execute('part', 2),
      front.sync(),
    );
    assert.equal(describe(await raw.until('Z')), '1 2 1 2 D D s Z:T');
    raw.stream.destroy();
    const outcomes = async (): Promise<Record<string, string>> => {
      const entries = await p.t.entries();
      const payloads = new Map(entries.flatMap((e) => (e.type === 'operation.intent' ? [[e.operation, e.payload] as const] : [])));
      return Object.fromEntries(entries.flatMap((e) => (e.type === 'operation.outcome' ? [[payloads.get(e.operation) ?? '', e.outcome] as const] : [])));
    };
    for (let i = 0; i < 2000 && Object.keys(await outcomes()).filter((sql) => /never|part/.test(sql)).length < 2; i++)
      await new Promise((resolve) => setTimeout(resolve, 25));
    const seen = await outcomes();
    assert.equal(seen["SELECT 'never executed'"], 'cancelled');
    assert.equal(seen["SELECT 'read in part', generate_series(1, 9)"], 'done');
  });

  it('has written no canary to disk', async () => {
    const written = await p.t.written();
    assert.doesNotMatch(written, CANARY);
  });
});
