/** What people do in psql, each a script of its own. Every script leaves the database as it found it, or adds for the next. */
export interface Script {
  readonly name: string;
  readonly text: string;
  readonly args?: readonly string[];
}

export const SETUP = `
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE people (id serial PRIMARY KEY, name text NOT NULL, feels mood DEFAULT 'ok', born date, CONSTRAINT no_empty_name CHECK (name <> ''));
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person int REFERENCES people ON DELETE CASCADE, total numeric(10,2), tags text[], meta jsonb,
  doubled numeric GENERATED ALWAYS AS (total * 2) STORED);
CREATE INDEX orders_by_person ON orders (person) WHERE total > 0;
CREATE VIEW rich AS SELECT p.name, sum(o.total) AS total FROM people p JOIN orders o ON o.person = p.id GROUP BY p.name;
CREATE MATERIALIZED VIEW summary AS SELECT count(*) AS n FROM orders;
CREATE FUNCTION add(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
CREATE FUNCTION noisy(level text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  RAISE NOTICE 'a notice of %', level USING DETAIL = 'its detail', HINT = 'its hint'; RAISE WARNING 'a warning'; RAISE INFO 'for information';
  IF level = 'error' THEN RAISE EXCEPTION 'an error' USING ERRCODE = 'P0042', DETAIL = 'why', HINT = 'what to do', COLUMN = 'a_column', TABLE = 'a_table', DATATYPE = 'a_type', CONSTRAINT = 'a_constraint', SCHEMA = 'a_schema'; END IF; END $$;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% of %', TG_OP, TG_TABLE_NAME; RETURN NEW; END $$;
CREATE TRIGGER stamped BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TABLE measures (at timestamptz, value float8) PARTITION BY RANGE (at);
CREATE TABLE measures_2024 PARTITION OF measures FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
COMMENT ON TABLE people IS 'who buys';
INSERT INTO people (name, feels, born) SELECT 'Person ' || i, (ARRAY['sad','ok','happy']::mood[])[1 + i % 3], DATE '1990-01-01' + i FROM generate_series(1, 40) i;
INSERT INTO orders (person, total, tags, meta) SELECT 1 + i % 40, i * 1.25, ARRAY['t' || i, NULL, 'with "quotes"'], jsonb_build_object('n', i, 'deep', jsonb_build_array(i, NULL, true)) FROM generate_series(1, 200) i;
`;

export const SCRIPTS: readonly Script[] = [
  {
    name: 'meta commands that describe',
    text: String.raw`
\d
\d people
\d+ orders
\d rich
\d+ rich
\d measures
\dt+
\di
\dv
\dm
\ds
\df add
\df+ noisy
\dT+
\dD
\dn+
\du
\dp
\ddp
\dx
\dO
\dc
\dC int4
\do +
\dy
\des
\dP
\sf noisy
\sv rich
\dd
\dconfig work_mem
\encoding
\l+ template1
\z people
`,
  },
  {
    name: 'errors, with all that they say',
    text: String.raw`
\set VERBOSITY verbose
SELEC 1;
SELECT 1 +;
SELECT nothere FROM people;
SELECT * FROM not_there;
SELECT 'unterminated;
';
SELECT 1/0;
SELECT 'abc'::int;
SELECT '2024-13-45'::date;
INSERT INTO people (name) VALUES (NULL);
INSERT INTO people (name) VALUES ('');
INSERT INTO people (id, name) VALUES (1, 'twice');
INSERT INTO orders (person) VALUES (4711);
INSERT INTO people (name, feels) VALUES ('x', 'angry');
DELETE FROM people_not_there;
UPDATE people SET id = 'x' WHERE id = 1;
SELECT add('a', 'b');
SELECT no_such_function(1);
SELECT (-5)::positive;
SELECT noisy('error');
SELECT name FROM people GROUP BY feels;
SELECT * FROM people p, orders o WHERE id = 1;
CREATE TABLE people ();
DROP TABLE people;
ALTER TABLE people ADD COLUMN name text;
COMMIT;
ROLLBACK;
SET nonsense = 1;
SET work_mem = 'a lot';
EXECUTE never_prepared;
CLOSE never_opened;
DO $$ BEGIN PERFORM 1/0; END $$;
\errverbose
SELECT "ünïcode" FROM people WHERE name = 'äöü' AND x;
SELECT repeat('x', 300) || 1/0;
`,
  },
  { name: 'errors in short', text: "\\set VERBOSITY sqlstate\nSELECT 1/0;\nSELECT 'x'::int;\n\\set VERBOSITY terse\nSELECT nope;\n" },
  {
    name: 'notices and command tags',
    text: String.raw`
SELECT noisy('some');
DROP TABLE IF EXISTS not_there;
CREATE TABLE IF NOT EXISTS people (id int);
SET client_min_messages = debug1;
CREATE TABLE t (id int PRIMARY KEY);
SET client_min_messages = notice;
INSERT INTO t SELECT generate_series(1, 10);
UPDATE t SET id = id + 100 WHERE id > 5;
DELETE FROM t WHERE id > 100;
TRUNCATE t;
MERGE INTO t USING (VALUES (1), (2)) v(x) ON t.id = v.x WHEN NOT MATCHED THEN INSERT VALUES (x);
ALTER TABLE t ADD COLUMN note text DEFAULT 'n';
CREATE INDEX ON t (note);
ANALYZE t;
VACUUM t;
REINDEX TABLE t;
COMMENT ON TABLE t IS 'a table';
EXPLAIN (COSTS OFF) SELECT * FROM people WHERE id = 1;
GRANT SELECT ON t TO PUBLIC;
REFRESH MATERIALIZED VIEW summary;
LOCK TABLE t;
CHECKPOINT;
BEGIN; LOCK TABLE t; COMMIT;
UPDATE people SET born = born WHERE id IN (1, 2);
SELECT * FROM t \gx
DROP TABLE t;
COMMIT;
`,
  },
  {
    name: 'several statements in one message, transactions and savepoints',
    text: String.raw`
BEGIN\; SELECT 1 AS one\; SELECT 2 AS two\; COMMIT;
SELECT 1\; SELECT 1/0\; SELECT 3;
BEGIN;
INSERT INTO people (name) VALUES ('in a transaction') RETURNING name, feels;
SAVEPOINT s;
INSERT INTO orders (person) VALUES (4711);
SELECT 1;
ROLLBACK TO s;
SELECT count(*) FROM people;
RELEASE s;
ROLLBACK AND CHAIN;
SHOW transaction_isolation;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
INSERT INTO people (name) VALUES ('read only');
ABORT;
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT 1/0;
SELECT 'goes on';
COMMIT;
\set ON_ERROR_ROLLBACK off
\set AUTOCOMMIT off
SELECT 1;
SELECT 1/0;
SELECT 2;
ROLLBACK;
PREPARE TRANSACTION 'nothing';
\set AUTOCOMMIT on
BEGIN; UPDATE people SET name = name WHERE id = 3; PREPARE TRANSACTION 'two-phase'; ROLLBACK PREPARED 'two-phase';
`,
  },
  {
    name: 'cursors, prepared statements, \\gexec, \\gset, \\gdesc, \\crosstabview',
    text: String.raw`
BEGIN;
DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT id, name FROM people ORDER BY id;
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
MOVE FORWARD 5 FROM c;
FETCH ABSOLUTE 20 FROM c;
UPDATE people SET name = 'changed' WHERE CURRENT OF c;
COMMIT;
FETCH LAST FROM c;
CLOSE c;
PREPARE p(int, text) AS SELECT id, $2 || name AS name FROM people WHERE id = $1;
EXECUTE p(3, 'it is ');
EXECUTE p('x', 'y');
SELECT name, statement, parameter_types, from_sql FROM pg_prepared_statements;
DEALLOCATE p;
SELECT 'SELECT ' || i || ' AS n' FROM generate_series(1, 3) i \gexec
SELECT 42 AS answer, 'text' AS kind \gset my_
\echo :my_answer :my_kind
SELECT id, name, born, 1.5 AS n FROM people \gdesc
SELECT feels, date_part('year', born)::int AS y, count(*) FROM people GROUP BY 1, 2 ORDER BY 1, 2 \crosstabview
SELECT $1::int + $2::int AS bound \bind 40 2 \g
\set FETCH_COUNT 7
SELECT id, name FROM people WHERE id <> 3 ORDER BY id LIMIT 20;
\set FETCH_COUNT 0
\pset format csv
SELECT id, tags, meta, doubled FROM orders ORDER BY id LIMIT 3;
\pset format aligned
\x on
SELECT * FROM orders ORDER BY id LIMIT 2;
`,
  },
  {
    name: 'COPY and \\copy in and out, in every format',
    text: String.raw`
CREATE TEMP TABLE c (id int, t text, a text[]);
COPY c FROM STDIN;
1	one	{a,b}
2	\N	{}
3	back\\slash\ttab\nline	{"with \\"quotes\\""}
\.
COPY c (id, t) FROM STDIN WITH (FORMAT csv, HEADER, NULL 'nil');
id,t
4,"quoted, ""text"""
5,nil
\.
COPY c FROM STDIN;
not a number	x	{}
\.
COPY c FROM STDIN (FORMAT nonsense);
COPY c TO STDOUT;
COPY c TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';', FORCE_QUOTE *);
COPY (SELECT id, name, born FROM people ORDER BY id LIMIT 3) TO STDOUT (DELIMITER '|');
COPY (SELECT 1/0) TO STDOUT;
\copy c TO 'copied.txt'
\copy c FROM 'copied.txt'
\copy (SELECT * FROM c ORDER BY id) TO 'copied.bin' (FORMAT binary)
\copy c FROM 'copied.bin' (FORMAT binary)
\copy c FROM 'not-there.txt'
SELECT count(*), count(t), sum(id) FROM c;
\! cat copied.txt; cksum copied.bin
BEGIN; CREATE TABLE made (x int); 
COPY made FROM STDIN;
1
2
\.
SELECT sum(x) FROM made; ROLLBACK;
COPY people FROM '/nonexistent/file';
COPY people TO PROGRAM 'cat > /dev/null';
COPY c TO STDOUT\; SELECT 'after' AS it;
`,
  },
  {
    name: 'LISTEN and NOTIFY',
    text: String.raw`
LISTEN news;
NOTIFY news, 'a payload';
NOTIFY news;
SELECT pg_notify('news', 'from a function');
BEGIN; NOTIFY news, 'rolled back'; ROLLBACK;
UNLISTEN *;
NOTIFY news, 'unheard';
`,
  },
  {
    name: 'large objects',
    text: String.raw`
\! printf 'the contents of a large object' > object.bin
\lo_import object.bin 'a comment'
SELECT :LASTOID > 0 AS has_oid \gset
\echo :has_oid
\lo_export :LASTOID exported.bin
\! cmp object.bin exported.bin && echo same
SELECT convert_from(lo_get(:LASTOID), 'UTF8');
\lo_list
\lo_unlink :LASTOID
\lo_export 424242 nothing.bin
\lo_unlink 424242
SELECT lo_from_bytea(0, 'from sql') > 0 AS made;
`,
  },
  {
    name: 'types of every kind',
    text: String.raw`
SELECT 1::int2, 2::int8, 3.14::float4, 2.718281828459045::float8, 'NaN'::float8, '-Infinity'::float8, 12345678901234567890.123456789::numeric, 'NaN'::numeric;
SELECT true, false, NULL::bool, 'c'::"char", 'b'::bytea, '\xdeadbeef'::bytea, ''::text, E'tab\there', 'äöü€😀';
SELECT '2024-02-29'::date, '12:34:56.789'::time, '12:34+02'::timetz, '2024-02-29 12:34:56.123456'::timestamp, '2024-02-29 12:34:56+00'::timestamptz, 'infinity'::timestamptz, '1 year 2 mons -3 days 04:05:06.7'::interval;
SELECT '(1,2)'::point, '[(0,0),(1,1)]'::lseg, '<(1,1),5>'::circle, '192.168.0.0/24'::cidr, '::1'::inet, '08:00:2b:01:02:03'::macaddr, B'1011'::bit(4), '{1,2,{}}'::text;
SELECT '{"a": [1, null, "x"]}'::json, '{"b": 1, "a": 2}'::jsonb, '<a>b</a>'::xml, ARRAY[[1,2],[3,4]], '[2:4]={1,2,3}'::int[], ROW(1, 'x', NULL), '[1,5)'::int4range, '{[1,3),[5,7)}'::int4multirange;
SELECT '550e8400-e29b-41d4-a716-446655440000'::uuid, 'a fat cat'::tsvector, 'fat & rat'::tsquery, '1.23'::money, 'people'::regclass, 'add'::regproc, '16/B374D848'::pg_lsn, 'happy'::mood;
SET bytea_output = escape; SELECT '\xdeadbeef'::bytea; SET extra_float_digits = 0; SELECT 0.1::float8 + 0.2; SET datestyle = 'SQL, DMY'; SELECT '2024-02-29'::date; SET intervalstyle = iso_8601; SELECT '1 day 2 hours'::interval; SET timezone = 'Asia/Tokyo'; SELECT '2024-02-29 12:00+00'::timestamptz; RESET ALL;
SHOW timezone; SHOW search_path; SET search_path = pg_catalog; SHOW search_path; RESET search_path;
SELECT generate_series(1, 3), NULL; SELECT; SELECT FROM people LIMIT 2; VALUES (1, 'a'), (2, 'b'); TABLE people LIMIT 1;
`,
  },
  {
    name: 'psql with everything in one message',
    args: ['-c', "CREATE TABLE once (id int); INSERT INTO once VALUES (1), (2); SELECT * FROM once; DROP TABLE once; SELECT 'last'"],
    text: '',
  },
  {
    name: 'psql in one transaction that fails',
    args: ['-1', '-v', 'ON_ERROR_STOP=1', '-f', '-'],
    text: "INSERT INTO people (name) VALUES ('never');\nSELECT 1/0;\n",
  },
  {
    name: 'a script of thousands of statements',
    text: [...Array(1500).keys()].map((i) => `SELECT ${i} AS n, '${i}' || 'x' AS t;`).join('\n'),
  },
  {
    name: 'a statement of half a megabyte',
    args: ['-At'],
    text: `SELECT length('${'long '.repeat(100_000)}');\nSELECT count(*) FROM (VALUES ${'(1),'.repeat(9_999)}(1)) v;`,
  },
];
