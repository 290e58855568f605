import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import type { Client } from 'pg';
import postgresJs from 'postgres';
import { LOGIN } from '../../../support/engine.ts';
import { CANARY } from '../../../support/postgres.ts';
import { until } from '../../../support/soon.ts';
import { describe, errorOf, front, NO_PSQL, type Proxied, proxied, RawClient, row } from './proxied.ts';

const TIMEOUT = { timeout: 300_000 };

async function code(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (cause: { code?: string }) => cause.code ?? 'no code',
  );
}

suite('a PostgreSQL connection with its default policy', TIMEOUT, () => {
  let p: Proxied;
  let client: Client;
  before(async () => {
    p = await proxied();
    client = await p.client();
  });
  after(() => p.stop());

  it('masks plain columns in the simple and in the extended protocol', async () => {
    const simple = await client.query('SELECT id, email, ssn, card, name FROM customers WHERE id = 3');
    const extended = await client.query('SELECT id, email, ssn, card, name FROM customers WHERE id = $1', [3]);
    const { card } = (simple.rows as { card: string }[])[0] ?? { card: '' };
    assert.match(card, /^‹card·1·[a-z]{5}›$/);
    assert.deepEqual(simple.rows, [{ id: 3, email: 'c•••@secret.example', ssn: '‹redacted›', card, name: 'Name 3' }]);
    assert.deepEqual(extended.rows, simple.rows);
  });

  it('masks whatever is made from a sensitive column, and never lets a canary through', async () => {
    const expressions = [
      'email AS e',
      "email || ''",
      'reverse(email)',
      'email::varchar',
      'substr(email, 1)',
      "encode(email::bytea, 'escape')",
      'row_to_json(c)::text',
      'c::text',
      'to_jsonb(c)',
      'array_agg(email) OVER ()',
      '(SELECT email FROM customers x WHERE x.id = c.id)',
      'md5(email)',
      'c',
      'jsonb_build_object(email, 1)',
    ];
    for (const expression of expressions) {
      const { rows } = await client.query(`SELECT ${expression} FROM customers c WHERE id < 3`);
      assert.doesNotMatch(JSON.stringify(rows), CANARY, expression);
      assert.doesNotMatch(JSON.stringify(rows), /elpmaxe\.terces/, expression);
    }
    for (const sql of [
      'TABLE people',
      'SELECT * FROM people UNION ALL SELECT 1, email, name FROM customers',
      'WITH x AS (SELECT * FROM customers) SELECT * FROM x LIMIT 3',
    ]) {
      assert.doesNotMatch(JSON.stringify((await client.query(sql)).rows), CANARY, sql);
    }
  });

  it('finds sensitive values in columns that nobody named', async () => {
    const { rows } = await client.query(
      "SELECT 'write to ann@real.example today' AS text, '{\"mail\": \"ann@real.example\"}'::jsonb AS json, ARRAY['ann@real.example'] AS list, 42 AS number",
    );
    assert.doesNotMatch(JSON.stringify(rows), /ann@real/);
    assert.equal(rows[0].number, 42);
  });

  it('denies with SQLSTATE 42501, the rule in the detail, on a connection that goes on', async () => {
    const error = await client.query('DELETE FROM orders').catch((cause: { code: string; message: string; detail: string }) => cause);
    assert.ok('code' in error);
    assert.equal(error.code, '42501');
    assert.match(error.message, /Denied by rule no-mass-change/);
    assert.equal(error.detail, 'Rule: no-mass-change');
    assert.deepEqual((await client.query('SELECT count(*)::int AS n FROM orders')).rows, [{ n: 200 }]);
  });

  it('denies a whole multi-statement query for one of its statements', async () => {
    const before = (await client.query('SELECT count(*)::int AS n FROM orders')).rows[0].n;
    assert.equal(await code(client.query('SELECT 1; DELETE FROM orders; SELECT 2')), '42501');
    const denied = p.t.onAsk('deny');
    assert.equal(await code(client.query('COMMIT; DROP TABLE orders')), '42501');
    await denied;
    assert.equal((await client.query('SELECT count(*)::int AS n FROM orders')).rows[0].n, before);
  });

  it('leaves the transaction aborted after a denial inside one, on the server too', async () => {
    for (const sql of [{ text: 'DELETE FROM orders' }, { text: 'DELETE FROM orders WHERE $1', values: [true] }]) {
      await client.query('BEGIN');
      assert.equal(await code(client.query(sql)), '42501');
      assert.equal(await code(client.query('SELECT 1')), '25P02');
      assert.equal((await client.query('COMMIT')).command, 'ROLLBACK');
      assert.deepEqual((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
    }
  });

  it('asks for a write, runs it when approved, and gives the note of who denied it', async () => {
    const approved = p.t.onAsk('approve');
    const updated = await client.query("UPDATE orders SET status = 'refunded' WHERE id = $1", [7]);
    assert.equal(updated.rowCount, 1);
    const question = await approved;
    assert.equal(question.facts.effect, 'write');
    assert.deepEqual(question.params, ['7']);
    const denied = p.t.onAsk('deny', 'Not on a Friday.');
    const error = await client.query("UPDATE orders SET status = 'gone' WHERE id = 7").catch((cause: { message: string; hint: string }) => cause);
    await denied;
    assert.ok('message' in error);
    assert.match(error.message, /Denied by Ada: Not on a Friday\./);
    assert.deepEqual((await client.query('SELECT status FROM orders WHERE id = 7')).rows, [{ status: 'refunded' }]);
  });

  it('sends nothing of an asked statement before the answer, not even its Parse', async () => {
    const raw = await p.raw();
    const direct = await p.db.direct();
    raw.send(front.parse('', "UPDATE orders SET status = 'x' WHERE id = 1"), front.bind('', ''), front.execute(), front.sync());
    const question = await new Promise<{ pid: number }>((resolve) => {
      void p.t.onAsk((pending) => {
        resolve({ pid: 1 });
        return { answer: 'deny', id: pending.id, digest: pending.digest };
      });
    });
    assert.equal(question.pid, 1);
    assert.equal(describe(await raw.until('Z')), 'E:42501 Z:I');
    const seen = await direct.query("SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE 'UPDATE orders SET status = ''x''%'");
    assert.equal(seen.rows[0].n, 0);
    await direct.end();
  });

  it('rolls back what was pipelined before a denied statement', async () => {
    const raw = await p.raw();
    const approved = p.t.onAsk('approve');
    const pipeline = [
      ...['INSERT INTO orders (customer, total) VALUES (1, 12345)', 'DELETE FROM orders', 'SELECT 1'].flatMap((sql) => [
        front.parse('', sql),
        front.bind('', ''),
        front.execute(),
      ]),
      front.sync(),
      front.query('SELECT count(*) FROM orders WHERE total = 12345'),
    ];
    raw.send(...pipeline);
    await approved;
    assert.equal(describe(await raw.until('Z')), '1 2 C:INSERT 0 1 E:42501 Z:I');
    const counted = await raw.until('Z');
    assert.deepEqual(counted.filter((m) => m.type === 'D').map(row), [['0']]);
  });

  it('checks a redefined name again: what was checked is what is executed', async () => {
    const raw = await p.raw();
    raw.send(front.parse('s', 'SELECT 1'), front.sync());
    assert.equal(describe(await raw.until('Z')), '1 Z:I');
    // The server refuses to redefine it, and goes on with the first meaning.
    raw.send(front.parse('s', 'DELETE FROM orders'), front.sync(), front.bind('', 's'), front.execute(), front.sync());
    assert.equal(describe(await raw.until('Z')), 'E:42501 Z:I');
    assert.match(describe(await raw.until('Z')), /^2 (T )?D C:SELECT 1 Z:I$/);
    // Closed and parsed anew, it means the new statement.
    raw.send(front.close('S', 's'), front.parse('s', 'DELETE FROM orders WHERE id = 100000'), front.sync());
    assert.equal(describe(await raw.until('Z')), '3 1 Z:I');
    const denied = p.t.onAsk('deny');
    raw.send(front.bind('', 's'), front.execute(), front.sync());
    await denied;
    assert.equal(describe(await raw.until('Z')), 'E:42501 Z:I');
    // The other way round: a write under the name, and a refused redefinition to a read.
    raw.send(front.parse('s', 'SELECT 1'), front.sync());
    assert.equal(describe(await raw.until('Z')), 'E:42P05 Z:I');
    const again = p.t.onAsk('deny');
    raw.send(front.bind('', 's'), front.execute(), front.sync());
    await again;
    assert.equal(describe(await raw.until('Z')), 'E:42501 Z:I');
  });

  it('treats EXECUTE as the statement that was PREPAREd', async () => {
    await client.query('PREPARE people AS SELECT upper(email) AS e FROM customers WHERE id < $1');
    assert.doesNotMatch(JSON.stringify((await client.query('EXECUTE people(4)')).rows), /CANARY\d/);
    await client.query('DEALLOCATE people');
    const asked = p.t.onAsk('deny');
    assert.equal(await code(client.query("PREPARE w AS UPDATE orders SET status = 'p' WHERE id = 1")), '42501');
    assert.equal((await asked).facts.effect, 'write');
  });

  it('masks what is fetched from a cursor, and rows of a portal that is read in parts', async () => {
    await client.query('BEGIN');
    await client.query('DECLARE c CURSOR FOR SELECT id, reverse(email) AS r, email FROM customers ORDER BY id');
    const { rows } = await client.query('FETCH 3 FROM c');
    assert.equal(rows.length, 3);
    assert.doesNotMatch(JSON.stringify(rows), /canary|yranac/);
    await client.query('COMMIT');

    const raw = await p.raw();
    raw.send(
      front.query('BEGIN'),
      front.parse('', 'SELECT id, email FROM customers ORDER BY id'),
      front.bind('portal', ''),
      front.execute('portal', 2),
      front.execute('portal', 2),
      front.execute('portal'),
      front.sync(),
    );
    await raw.until('Z');
    const messages = await raw.until('Z');
    assert.match(describe(messages), /^1 2 D D s D D s (D )+C:SELECT 46 Z:T$/);
    for (const message of messages.filter((m) => m.type === 'D')) assert.doesNotMatch(message.body.toString(), CANARY);
  });

  it('masks binary results: text by text, the rest by NULL', async () => {
    const raw = await p.raw();
    raw.send(
      front.parse('', 'SELECT id, email, length(email), to_jsonb(email) FROM customers WHERE id = 1'),
      front.bind('', '', [], [1]),
      front.execute(),
      front.sync(),
    );
    const messages = await raw.until('Z');
    const [data] = messages.filter((m) => m.type === 'D');
    assert.ok(data);
    const fields = row(data);
    assert.equal(fields[1], 'c•••@secret.example');
    assert.doesNotMatch(data.body.toString(), CANARY);
    assert.equal(fields[2], null, 'a length made from a sensitive column');
  });

  it('masks rows that nobody described', async () => {
    const raw = await p.raw();
    raw.send(front.parse('q', 'SELECT email FROM customers WHERE id = $1'), front.sync());
    await raw.until('Z');
    for (const id of ['1', '2']) {
      raw.send(front.bind('', 'q', [id]), front.execute(), front.sync());
      const messages = await raw.until('Z');
      assert.equal(describe(messages), '2 D C:SELECT 1 Z:I');
      assert.doesNotMatch(messages.map((m) => m.body.toString()).join(''), CANARY);
    }
  });

  it('masks what errors quote', async () => {
    for (const sql of ['SELECT email::int FROM customers', 'SELECT ssn::date FROM customers', 'SELECT email::regclass FROM customers']) {
      const error = (await client.query(sql).catch((cause: Error) => cause)) as unknown as Record<string, unknown>;
      assert.ok(error['code'], sql);
      assert.doesNotMatch(JSON.stringify({ ...error, message: (error as unknown as Error).message }), CANARY, sql);
    }
    const approved = p.t.onAsk('approve');
    const error = (await client
      .query("INSERT INTO customers SELECT 1000, 'x', email, 'y' FROM customers WHERE id = 2")
      .catch((cause: Error) => cause)) as unknown as Record<string, string>;
    await approved;
    assert.equal(error['code'], '23505');
    assert.match((error as unknown as Error).message, /customers_email_key/);
    assert.doesNotMatch(JSON.stringify(error), CANARY);
  });

  it('leaves errors that quote the client’s own words as they are', async () => {
    const error = (await client.query("SELECT 'abc'::int").catch((cause: Error) => cause)) as Error & { code: string; position: string };
    assert.equal(error.message, 'invalid input syntax for type integer: "abc"');
    assert.equal(error.position, '8');
    const approved = p.t.onAsk('approve');
    assert.equal(await code(client.query('SELECT * FROM nowhere')), '42P01');
    await approved;
  });

  it('masks COPY TO STDOUT in text and CSV, and refuses it in binary', async () => {
    for (const options of ['', ' WITH (FORMAT csv, HEADER)', " WITH (DELIMITER '|', NULL 'none')"]) {
      const raw = await p.raw();
      raw.send(front.query(`COPY (SELECT id, email, ssn, notes FROM customers ORDER BY id) TO STDOUT${options}`));
      const messages = await raw.until('Z');
      const text = messages.filter((m) => m.type === 'd').map((m) => m.body.toString());
      assert.equal(text.length, options.includes('csv') ? 51 : 50);
      assert.doesNotMatch(text.join(''), CANARY);
      assert.match(text.join(''), /c•••@secret\.example/);
      raw.stream.destroy();
    }
    assert.equal(await code(client.query('COPY customers TO STDOUT WITH (FORMAT binary)')), '42501');
  });

  it('refuses function calls, and ends a session that speaks another protocol', async () => {
    const raw = await p.raw();
    raw.send(front.functionCall());
    assert.equal(describe(await raw.until('Z')), 'E:0A000 Z:I');
    raw.send(Buffer.from('?\0\0\0\x04', 'latin1'));
    const [error] = await raw.until('E');
    assert.equal(error && errorOf(error).get('S'), 'FATAL');
    await raw.ended();
  });

  it('keeps a read-only session read-only, whatever policy allows', async () => {
    const reader = await p.inside({ readOnly: true });
    assert.deepEqual((await reader.query('SHOW default_transaction_read_only')).rows, [{ default_transaction_read_only: 'on' }]);
    for (const sql of [
      "UPDATE orders SET status = 'x' WHERE id = 1",
      'SET default_transaction_read_only = off',
      'BEGIN READ WRITE',
      'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE',
    ]) {
      assert.equal(await code(reader.query(sql)), '42501', sql);
    }
    assert.deepEqual((await reader.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
  });

  it('cancels an ask by the client’s own CancelRequest, and a running statement too', async () => {
    const raw = await p.raw();
    const key = raw.received.find((m) => m.type === 'K')?.body ?? Buffer.alloc(8);
    const cancel = async (bytes: Buffer): Promise<void> => {
      const other = await RawClient.tcp(p.port);
      other.send(Buffer.concat([Buffer.from([0, 0, 0, 16]), Buffer.from([0x04, 0xd2, 0x16, 0x2e]), bytes]));
      await other.ended();
    };
    p.t.holdAsks(true);
    raw.send(front.query("UPDATE orders SET status = 'held' WHERE id = 2"));
    await until('the question', () => p.t.approvals.pending().length === 1);
    await cancel(Buffer.concat([key.subarray(0, 4), Buffer.alloc(4)]));
    assert.equal(p.t.approvals.pending().length, 1, 'a wrong key cancels nothing');
    await cancel(key);
    assert.equal(describe(await raw.until('Z')), 'E:57014 Z:I');
    assert.equal(p.t.approvals.pending().length, 0);
    p.t.holdAsks(false);
    raw.send(front.query('SELECT count(*) FROM generate_series(1, 100000000000)'));
    const direct = await p.db.direct();
    await until(
      'the statement to run',
      async () =>
        (await direct.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%100000000000)' AND state = 'active' AND pid <> pg_backend_pid()")).rowCount ===
        1,
    );
    await direct.end();
    await cancel(key);
    assert.equal(describe(await raw.until('Z')).replace('T ', ''), 'E:57014 Z:I');
  });

  it('frees everything when the client vanishes while an ask holds it', async () => {
    const raw = await RawClient.tcp(p.port);
    raw.stream.destroy();
    const victim = await p.client();
    p.t.holdAsks(true);
    const asked = victim.query("UPDATE orders SET status = 'never' WHERE id = 3").catch(() => 'gone');
    await until('the question', () => p.t.approvals.pending().length === 1);
    (victim as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    await asked;
    await until('the end of the question', () => p.t.approvals.pending().length === 0);
    p.t.holdAsks(false);
    const direct = await p.db.direct();
    assert.equal((await direct.query("SELECT 1 FROM orders WHERE status = 'never'")).rowCount, 0);
    await direct.end();
  });

  it('tells the client when the database ends the connection, and records it', async () => {
    const victim = await p.client();
    const { rows } = await victim.query('SELECT pg_backend_pid() AS pid');
    const failed = code(victim.query('SELECT count(*) FROM generate_series(1, 100000000000)'));
    const direct = await p.db.direct();
    await until(
      'the statement to run',
      async () => (await direct.query("SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active'", [rows[0].pid])).rowCount === 1,
    );
    await direct.query('SELECT pg_terminate_backend($1)', [rows[0].pid]);
    await direct.end();
    assert.equal(await failed, '57P01');
    await until('its outcome', async () =>
      (await p.t.entries()).some((e) => e.type === 'operation.outcome' && e.error?.code === '57P01' && e.outcome === 'failed'),
    );
  });

  it('reads names as the server does when the search path changes', async () => {
    const direct = await p.db.direct();
    await direct.query('CREATE SCHEMA other; CREATE TABLE other.customers (id int, email text); INSERT INTO other.customers VALUES (1, $$plain words$$)');
    await direct.end();
    p.served.retry?.();
    const own = await p.client();
    await own.query('SET search_path = other, public');
    assert.deepEqual((await own.query('SELECT lower(email) AS email FROM customers')).rows, [{ email: 'plain words' }]);
    await own.query('RESET search_path');
    assert.doesNotMatch(JSON.stringify((await own.query('SELECT lower(email) AS email FROM customers')).rows), CANARY);
    await own.query('BEGIN');
    await own.query('SET LOCAL search_path = other');
    assert.deepEqual((await own.query('SELECT lower(email) AS email FROM customers')).rows, [{ email: 'plain words' }]);
    await own.query('ROLLBACK');
    assert.doesNotMatch(JSON.stringify((await own.query('SELECT lower(email) AS email FROM customers')).rows), CANARY);
  });

  it('refuses changes under which statements would be read differently', async () => {
    for (const sql of ["SET client_encoding = 'LATIN1'", 'SET standard_conforming_strings = off', 'SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres']) {
      assert.equal(await code(client.query(sql)), '42501', sql);
    }
    await client.query("SET client_encoding = 'UTF8'");
  });

  it('writes no canary to disk', async () => {
    assert.doesNotMatch(await p.t.written(), CANARY);
  });

  it('works with postgres.js', async () => {
    const sql = postgresJs({
      host: '127.0.0.1',
      port: p.port,
      database: p.db.database,
      user: LOGIN.user,
      password: LOGIN.password,
      max: 2,
      onnotice: () => {},
    });
    const rows = await sql`SELECT id, email FROM customers WHERE id = ${5}`;
    assert.deepEqual([...rows], [{ id: 5, email: 'c•••@secret.example' }]);
    assert.equal(await code(sql`DELETE FROM orders`), '42501');
    const total = await sql.begin(async (tx) => {
      await tx`SELECT 1`;
      return tx`SELECT count(*)::int AS n FROM orders WHERE customer = ${3}`;
    });
    assert.equal(total[0]?.['n'], 4);
    await sql.end();
  });

  it('works with psql, with TLS and without', { skip: NO_PSQL }, async () => {
    for (const mode of ['disable', 'prefer', 'require']) {
      const { out } = await p.psql(['-A', '-t', '-c', 'SELECT email FROM customers WHERE id = 1', '-c', 'DELETE FROM orders', '-c', 'SELECT 42'], '', {
        PGSSLMODE: mode,
      });
      assert.match(out, /c•••@secret\.example/, mode);
      assert.match(out, /Denied by rule no-mass-change/, mode);
      assert.match(out, /^42$/m, mode);
    }
    const copied = await p.psql(['-c', '\\copy (SELECT id, email FROM customers WHERE id < 4) TO STDOUT CSV']);
    assert.equal(copied.out, '1,"c•••@secret.example"\n2,"c•••@secret.example"\n3,"c•••@secret.example"\n');
    const listed = await p.psql(['-c', '\\dt']);
    assert.match(listed.out, /orders\s*\| table/);
  });
});
