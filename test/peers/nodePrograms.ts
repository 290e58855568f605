/** node-postgres with its cursor and stream, and postgres.js, as programs use them. */
import { once } from 'node:events';
import { Client, type ClientConfig, Pool, type QueryConfig, type QueryResult } from 'pg';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import postgres from 'postgres';
import { type Program, told } from './steps.ts';
import type { Way } from './ways.ts';

const STATEMENTS = [
  'SELECT 1 AS a, NULL AS b, true AS c, ARRAY[1,2,NULL] AS d, 1.5::numeric AS e, 2.5::float8 AS f, 9007199254740993 AS g',
  "SELECT '2024-02-29'::date AS d, '2024-02-29 12:00+00'::timestamptz AS t, '1 day'::interval AS i, '{\"a\":[1]}'::jsonb AS j, '\\xdead'::bytea AS y",
  'SELECT 1 AS same, 2 AS same',
  'SELECT',
  '',
  ';;',
  '-- nothing but a comment',
  'SELECT 1; SELECT 2, 3; UPDATE things SET n = n; SELECT 4 WHERE false',
  'SELECT * FORM things',
  'SELECT nope FROM things',
  'SELECT 1/0',
  "INSERT INTO things (name) VALUES ('thing 1')",
  'INSERT INTO things (id) VALUES (1)',
  'DELETE FROM things WHERE id = 5 RETURNING *',
  'BEGIN; SELECT 1/0; COMMIT',
  'SELECT 2',
  'ROLLBACK',
  'SET statement_timeout = 50; SELECT pg_sleep(10)',
  'RESET statement_timeout',
  'CREATE TABLE IF NOT EXISTS things (id int)',
  'EXPLAIN (COSTS OFF) SELECT * FROM things WHERE id = 1',
  'SHOW search_path',
  'TABLE things LIMIT 2',
] as const;

export const THINGS = `
CREATE TABLE things (id serial PRIMARY KEY, name text UNIQUE NOT NULL, n int, meta jsonb, at timestamptz DEFAULT '2024-01-01', tags text[], raw bytea);
INSERT INTO things (name, n, meta, tags, raw) SELECT 'thing ' || i, i, jsonb_build_object('i', i), ARRAY['a', NULL, i::text], decode(md5(i::text), 'hex') FROM generate_series(1, 500) i;
`;

const config = ({ database, host, password, port, user }: Way): ClientConfig => ({ database, host, password, port, user });

const shown = (result: QueryResult | QueryResult[]): unknown =>
  (Array.isArray(result) ? result : [result]).map(({ command, fields, rowCount, rows }) => ({
    command,
    rowCount,
    rows,
    fields: fields?.map((field) => ({ ...field })),
  }));

export const nodePostgres: Program = async (way, step) => {
  const client = new Client(config(way));
  const notices: unknown[] = [];
  const heard: unknown[] = [];
  client.on('notice', (notice) => notices.push(told(notice)));
  client.on('notification', ({ channel, payload, processId }) =>
    heard.push({ channel, payload, own: processId === (client as unknown as { processID: number }).processID }),
  );
  await client.connect();
  for (const sql of STATEMENTS) {
    await step(`simple ${sql}`, async () => shown(await client.query(sql)));
    await step(`extended ${sql}`, async () => shown(await client.query({ text: sql, values: [], queryMode: 'extended' } as QueryConfig)));
  }
  await step('rows as arrays', async () => shown(await client.query({ text: 'SELECT id, name FROM things ORDER BY id LIMIT 3', rowMode: 'array' })));
  for (let i = 0; i < 3; i++)
    await step(`named statement ${i}`, async () => shown(await client.query({ name: 'by id', text: 'SELECT * FROM things WHERE id = $1', values: [i + 1] })));
  await step('named statement with another text', () => client.query({ name: 'by id', text: 'SELECT 1' }));
  await step('named statement after its table changed', async () => {
    await client.query('ALTER TABLE things ADD COLUMN more int');
    return shown(await client.query({ name: 'by id', text: 'SELECT * FROM things WHERE id = $1', values: [9] }));
  });
  await step('binary', async () =>
    shown(await client.query({ text: 'SELECT id, n FROM things WHERE id < $1 ORDER BY id', values: [5], binary: true } as QueryConfig)),
  );
  await step('parameters', async () =>
    shown(
      await client.query('SELECT $1::int AS i, $2::text AS t, $3::jsonb AS j, $4::text[] AS a, $5::bytea AS b, $6::timestamptz AS d, $7::text AS n', [
        1,
        "o'x",
        { k: [1] },
        ['a', null],
        Buffer.from([0, 255]),
        new Date(0),
        null,
      ]),
    ),
  );
  await step('a wrong parameter', () => client.query('SELECT $1::int', ['not a number']));
  await step('too few parameters', () => client.query('SELECT $1::int, $2::int', [1]));
  await step('a wide value', async () => (await client.query("SELECT repeat('é', 2000000) AS w")).rows[0].w.length);
  await step('many rows', async () => (await client.query("SELECT i, 'row ' || i AS t FROM generate_series(1, 20000) i")).rows.at(-1));
  await step('a queue of queries', async () =>
    (await Promise.allSettled([client.query('SELECT 1 AS a'), client.query('SELECT 1/0'), client.query('SELECT $1::int AS b', [2])])).map((r) =>
      r.status === 'fulfilled' ? r.value.rows : String(r.reason),
    ),
  );
  await step('cursor', async () => {
    const cursor = client.query(new Cursor('SELECT id FROM things ORDER BY id', []));
    const sizes = [await cursor.read(100), await cursor.read(3), await cursor.read(1000), await cursor.read(10)].map((rows) => rows.length);
    await cursor.close();
    return sizes;
  });
  await step('cursor closed early', async () => {
    const cursor = client.query(new Cursor('SELECT id FROM things ORDER BY id', []));
    const rows = await cursor.read(2);
    await cursor.close();
    return [rows, (await client.query('SELECT 1 AS after')).rows];
  });
  await step('cursor over an error', () => client.query(new Cursor('SELECT 1/(id - 3) AS x FROM things ORDER BY id', [])).read(10));
  await step('stream', async () => {
    let sum = 0;
    for await (const { id } of client.query(new QueryStream('SELECT id FROM things WHERE id > $1 ORDER BY id', [10], { batchSize: 37 })) as AsyncIterable<{
      id: number;
    }>)
      sum += id;
    return sum;
  });
  await step('stream left early', async () => {
    const stream = client.query(new QueryStream('SELECT generate_series(1, 100000) AS i', []));
    for await (const { i } of stream as AsyncIterable<{ i: number }>) if (i > 500) break;
    return (await client.query('SELECT 1 AS after')).rows;
  });
  await step('notices', async () => {
    notices.length = 0;
    await client.query("DO $$ BEGIN RAISE NOTICE 'one' USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'two'; END $$");
    return [...notices];
  });
  await step('listen and notify', async () => {
    await client.query('LISTEN news');
    await client.query("NOTIFY news, 'said'");
    await client.query('SELECT 1');
    return [...heard];
  });
  await step('cancel', async () => {
    const slow = client.query('SELECT pg_sleep(30)').catch((cause: unknown) => cause);
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const cancel = (): void => {
      const canceller = new Client(config(way));
      canceller.on('error', () => {});
      const { connection } = canceller as unknown as {
        connection: { cancel(pid: number, key: number): void; connect(port: number, host: string): void; once(event: string, f: () => void): void };
      };
      connection.once('connect', () => connection.cancel(processID, secretKey));
      connection.connect(way.port, way.host);
    };
    // One that comes before the statement hits nothing: on a busy machine it may take another.
    setTimeout(cancel, 300);
    const again = setInterval(cancel, 3_000);
    const cause = await slow;
    clearInterval(again);
    throw cause;
  });
  await step('query timeout of the server', () => client.query('SET LOCAL statement_timeout = 1; SELECT pg_sleep(5)'));
  await client.end();
  await step('pool', async () => {
    const pool = new Pool({ ...config(way), max: 4 });
    const results = await Promise.all([...Array(40).keys()].map(async (i) => (await pool.query('SELECT $1::int * 2 AS twice', [i])).rows[0].twice));
    const one = await pool.connect();
    await one.query('BEGIN');
    const failed = await one.query('SELECT 1/0').catch((cause: { code: string }) => cause.code);
    await one.query('ROLLBACK');
    one.release();
    await pool.end();
    return [results, failed];
  });
  await step('a wrong database', async () => {
    const other = new Client({ ...config(way), password: 'wrong' });
    other.on('error', () => {});
    await other.connect().catch((cause: { code: string; severity: string; message: string }) => {
      throw Object.assign(new Error(cause.message.replaceAll(way.user, 'user')), { code: cause.code, severity: cause.severity });
    });
  });
  await step('terminated by another session', async () => {
    const victim = new Client(config(way));
    const ended = new Promise((resolve) => victim.once('end', resolve));
    victim.on('error', () => {});
    await victim.connect();
    const { rows } = await victim.query('SELECT pg_backend_pid() AS pid');
    const killer = new Client(config(way));
    await killer.connect();
    const outcome = victim.query('SELECT pg_sleep(30)').catch((cause: { code: string; message: string }) => [cause.code, cause.message]);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await killer.query('SELECT pg_terminate_backend($1)', [rows[0].pid]);
    await killer.end();
    const what = await outcome;
    await ended;
    return what;
  });
};

export const postgresJs: Program = async (way, step) => {
  const notices: unknown[] = [];
  const sql = postgres({
    ...(config(way) as { host: string; port: number }),
    max: 3,
    onnotice: (notice) => notices.push({ ...notice }),
    connection: { application_name: 'a peer' },
  });
  await step('prepared', async () => [...(await sql`SELECT id, name, meta, at, tags, raw FROM things WHERE id < ${4} ORDER BY id`)]);
  await step('again', async () => [...(await sql`SELECT id, name, meta, at, tags, raw FROM things WHERE id < ${5} ORDER BY id`)]);
  await step('columns', async () =>
    (await sql`SELECT id, name, 1 AS x FROM things LIMIT 1`).columns.map(({ name, number, table, type }) => ({ name, number, table, type })),
  );
  await step('simple', async () => (await sql.unsafe('SELECT 1 AS a; SELECT 2 AS b').simple()).map((rows) => [...(rows as unknown as Iterable<unknown>)]));
  await step('described', async () => {
    const { columns, string, types } = await sql`SELECT id, name FROM things WHERE id = ${1} AND name = ${'x'}`.describe();
    return { string, types, columns: columns.map(({ name, type }) => ({ name, type })) };
  });
  await step('pipelined', async () => (await Promise.all([...Array(200).keys()].map((i) => sql`SELECT ${i}::int AS i`))).map(([row]) => row?.['i']));
  await step('pipelined with errors', async () =>
    (await Promise.allSettled([...Array(30).keys()].map((i) => sql`SELECT 10 / ${i % 3}::int AS i`))).map((r) =>
      r.status === 'fulfilled' ? r.value[0]?.['i'] : (r.reason as { code: string }).code,
    ),
  );
  await step('inserted by helper', async () => [
    ...(await sql`INSERT INTO things ${sql([
      { name: 'js 1', n: 1 },
      { name: 'js 2', n: 2 },
    ])} RETURNING name, n`),
  ]);
  await step('dynamic', async () => [...(await sql`SELECT ${sql(['id', 'name'])} FROM ${sql('things')} WHERE id IN ${sql([1, 2, 3])} ORDER BY id`)]);
  await step('unique', () => sql`INSERT INTO things (name) VALUES ('thing 1')`);
  await step('syntax', () => sql`SELECT * FORM things`);
  await step('position', () => sql`SELECT nope, ${1}::int FROM things`);
  await step('transaction', () =>
    sql.begin(async (tx) => [...(await tx`UPDATE things SET n = 0 WHERE id = 1 RETURNING n`), ...(await tx.savepoint((sp) => sp`SELECT 1 AS inside`))]),
  );
  await step('transaction that fails', () => sql.begin(async (tx) => void (await tx`UPDATE things SET n = 7 WHERE id = 2`, await tx`SELECT 1/0`)));
  await step('pipelined transaction', () =>
    sql.begin((tx) => [tx`SELECT 1 AS a`, tx`UPDATE things SET n = n WHERE id = 3`, tx`SELECT 3 AS c`]).then((all) => all.map((rows) => [...rows])),
  );
  await step('savepoint that fails', () =>
    sql.begin(async (tx) => {
      const inner = await tx.savepoint((sp) => sp`SELECT 1/0`).catch((cause: { code: string }) => cause.code);
      return [inner, ...(await tx`SELECT 'goes on' AS it`)];
    }),
  );
  await step('cursor', async () => {
    const sizes: number[] = [];
    for await (const rows of sql`SELECT id FROM things ORDER BY id`.cursor(200)) sizes.push(rows.length);
    return sizes;
  });
  await step('cursor left early', async () => {
    for await (const [row] of sql`SELECT generate_series(1, 1000) AS x`.cursor()) if (row?.['x'] === 3) break;
    return [...(await sql`SELECT 'after' AS it`)];
  });
  await step('each', async () => {
    let sum = 0;
    await sql`SELECT n FROM things WHERE id BETWEEN 10 AND 20`.forEach((row) => void (sum += Number(row['n'])));
    return sum;
  });
  await step('raw', async () =>
    [...(await sql`SELECT id, raw FROM things ORDER BY id LIMIT 2`.raw())].map((row) => (row as unknown as (Buffer | null)[]).map((b) => b?.toString('hex'))),
  );
  await step('copied in and out', async () => {
    await sql`CREATE TABLE copied (i int, t text)`;
    const writable = await sql`COPY copied FROM STDIN`.writable();
    writable.write('1\tone\n');
    writable.end('2\ttwo\n');
    await once(writable, 'finish');
    let text = '';
    for await (const chunk of await sql`COPY copied TO STDOUT`.readable()) text += String(chunk);
    return text;
  });
  await step('listens', async () => {
    let hear: (payload: string) => void = () => {};
    const heard = new Promise<string>((resolve) => {
      hear = resolve;
    });
    const listening = await sql.listen('js_news', (payload) => hear(payload));
    await sql.notify('js_news', 'told');
    const got = await heard;
    await listening.unlisten();
    return got;
  });
  await step('notices', async () => {
    await sql`DO $$ BEGIN RAISE NOTICE 'for %', 'you'; END $$`;
    return notices;
  });
  await step('cancelled', async () => {
    const slow = sql`SELECT pg_sleep(30)`;
    setTimeout(() => slow.cancel(), 300);
    await slow;
  });
  await step('without prepared statements', async () => {
    const plain = postgres({ ...(config(way) as { host: string; port: number }), max: 1, prepare: false });
    const rows = [...(await plain`SELECT ${'x'}::text AS t, ${[1, 2]}::int[] AS a, ${plain.json({ k: 1 })}::jsonb AS j`)];
    await plain.end();
    return rows;
  });
  await step('reserved', async () => {
    const one = await sql.reserve();
    await one`CREATE TEMP TABLE mine AS SELECT 1 AS x`;
    const rows = [...(await one`SELECT * FROM mine`)];
    one.release();
    return rows;
  });
  await sql.end({ timeout: 5 });
};
