"""psycopg as programs use it. Prints one line of JSON a step: what it gave, or all that its error says."""
import io
import json
import select
import sys
import threading
import time

import psycopg2
import psycopg2.extensions as ext
import psycopg2.extras as extras

ERROR = ["severity", "sqlstate", "message_primary", "message_detail", "message_hint", "statement_position", "internal_position", "context",
         "schema_name", "table_name", "column_name", "constraint_name", "datatype_name", "source_file", "source_function"]


def step(name, work):
    try:
        value = work()
    except psycopg2.Error as error:
        value = {"error": type(error).__name__, "pgcode": error.pgcode, **{key: getattr(error.diag, key) for key in ERROR if error.pgcode}}
    print(json.dumps([name, value], default=lambda v: v.hex() if isinstance(v, memoryview) else repr(v)), flush=True)


conn = psycopg2.connect("")
cur = conn.cursor()


def run(sql, args=None, commit=True):
    try:
        cur.execute(sql, args)
        rows = cur.fetchall() if cur.description else None
        about = [list(column) for column in cur.description or []]
        return {"rows": rows, "count": cur.rowcount, "status": cur.statusmessage, "columns": about}
    finally:
        (conn.commit if commit and conn.status != ext.STATUS_READY else conn.rollback)()


step("server", lambda: [conn.server_version, conn.encoding, {k: conn.get_parameter_status(k) for k in ("server_encoding", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes", "standard_conforming_strings", "IntervalStyle", "is_superuser", "in_hot_standby")}])
step("create", lambda: run("CREATE TABLE py (id serial PRIMARY KEY, t text UNIQUE, n numeric, j jsonb, a int[], b bytea, at timestamptz)"))
step("insert", lambda: run("INSERT INTO py (t, n, j, a, b, at) VALUES (%s, %s, %s, %s, %s, %s) RETURNING *", ("o'clock \\ %", 1.5, extras.Json({"k": [1, None]}), [1, 2, None], psycopg2.Binary(bytes(range(256))), "2024-02-29 12:00+02")))
step("execute_values", lambda: [extras.execute_values(cur, "INSERT INTO py (t, n) VALUES %s RETURNING id", [(f"v{i}", i) for i in range(250)], page_size=100, fetch=True), conn.commit()])
step("execute_batch", lambda: [extras.execute_batch(cur, "UPDATE py SET n = n + %s WHERE id = %s", [(1, i) for i in range(1, 120)], page_size=50), conn.commit()])
step("executemany", lambda: [cur.executemany("INSERT INTO py (t) VALUES (%s)", [("m1",), ("m2",)]), cur.rowcount, conn.commit()])
step("unique", lambda: run("INSERT INTO py (t) VALUES ('v1')"))
step("syntax", lambda: run("SELECT * FORM py"))
step("division", lambda: run("SELECT 1 / (n - n) FROM py WHERE id = 2"))
step("cast", lambda: run("SELECT 'x'::int"))
step("types", lambda: run("SELECT 1::int8, 1.5::float8, 'NaN'::numeric, true, NULL, '{a,NULL,\"b c\"}'::text[], '[1,5)'::int4range, '1 day'::interval, '12:00'::time, ROW(1, 'x'), '::1'::inet, '\\xdead'::bytea"))


def named():
    with conn.cursor("a cursor") as own:
        own.itersize = 37
        own.execute("SELECT id, t FROM py ORDER BY id")
        first = own.fetchone()
        some = own.fetchmany(5)
        rest = sum(1 for _ in own)
    with conn.cursor("scrolls", scrollable=True, withhold=True) as own:
        own.execute("SELECT id FROM py ORDER BY id")
        conn.commit()
        own.scroll(100, mode="absolute")
        place = own.fetchone()
        own.scroll(-50)
        again = own.fetchmany(2)
    conn.commit()
    return [first, some, rest, place, again]


step("named cursors", named)


def copies():
    cur.copy_expert("COPY py (t, n) FROM STDIN (FORMAT csv)", io.StringIO('"c,1",1\nc2,\n'))
    cur.copy_from(io.StringIO("f1\t1\nf\\\\2\t\\N\n"), "py", columns=("t", "n"))
    out = io.StringIO()
    cur.copy_to(out, "py", columns=("t", "n"))
    csv = io.BytesIO()
    cur.copy_expert("COPY (SELECT * FROM py WHERE id < 5 ORDER BY id) TO STDOUT (FORMAT csv, HEADER)", csv)
    binary = io.BytesIO()
    cur.copy_expert("COPY (SELECT id, t, n FROM py ORDER BY id) TO STDOUT (FORMAT binary)", binary)
    conn.commit()
    return [out.getvalue(), csv.getvalue().decode(), binary.getvalue().hex()]


step("copy", copies)
step("copy refused", lambda: cur.copy_expert("COPY py (n) FROM STDIN", io.StringIO("not a number\n")))
conn.rollback()


def raised():
    def reader(size):
        raise KeyError("the program's own")

    class Broken:
        read = staticmethod(reader)
        readline = staticmethod(reader)

    try:
        cur.copy_expert("COPY py (t) FROM STDIN", Broken())
    finally:
        conn.rollback()


step("copy given up by the client", raised)


def notices():
    del conn.notices[:]
    cur.execute("DO $$ BEGIN RAISE NOTICE 'one' USING DETAIL = 'detail', HINT = 'hint'; RAISE WARNING 'two'; END $$")
    cur.execute("CREATE TABLE IF NOT EXISTS py (id int)")
    conn.commit()
    return conn.notices


step("notices", notices)


def listens():
    own = psycopg2.connect("")
    own.autocommit = True
    other = own.cursor()
    other.execute("LISTEN news")
    cur.execute("NOTIFY news, 'a payload'; NOTIFY news")
    conn.commit()
    got = []
    until = time.time() + 20
    while len(got) < 2 and time.time() < until:
        select.select([own], [], [], 1)
        own.poll()
        while own.notifies:
            note = own.notifies.pop(0)
            got.append([note.channel, note.payload, note.pid == conn.info.backend_pid])
    own.close()
    return got


step("listen and notify", listens)


def cancels():
    timer = threading.Timer(0.3, conn.cancel)
    timer.start()
    try:
        cur.execute("SELECT pg_sleep(30)")
    finally:
        conn.rollback()


step("cancel", cancels)
step("goes on after a cancel", lambda: run("SELECT 'fine'"))


def asynchronous():
    def wait(one):
        while True:
            state = one.poll()
            if state == ext.POLL_OK:
                return
            select.select([one.fileno()] if state == ext.POLL_READ else [], [one.fileno()] if state == ext.POLL_WRITE else [], [], 20)

    own = psycopg2.connect("", async_=1)
    wait(own)
    other = own.cursor()
    other.execute("SELECT generate_series(1, 5), pg_backend_pid() = %s", (own.info.backend_pid,))
    wait(own)
    rows = other.fetchall()
    own.close()
    return rows


step("asynchronous", asynchronous)


def twophase():
    xid = conn.xid(42, "global", "branch")
    conn.tpc_begin(xid)
    cur.execute("INSERT INTO py (t) VALUES ('two phases')")
    conn.tpc_prepare()
    conn.tpc_rollback()
    return [str(x) for x in conn.tpc_recover()]


step("two phases", twophase)
conn.rollback()


def lobs():
    big = conn.lobject(0, "wb")
    big.write(bytes(range(256)) * 300)
    oid = big.oid
    big.close()
    again = conn.lobject(oid, "rb")
    again.seek(1000)
    part = again.read(10)
    size = again.seek(0, 2)
    again.close()
    conn.lobject(oid).unlink()
    conn.commit()
    return [part.hex(), size]


step("large objects", lobs)


def isolation():
    conn.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
    try:
        return run("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')")
    finally:
        conn.set_session(isolation_level="DEFAULT", readonly=False, deferrable=False)


step("isolation", isolation)
step("wide", lambda: run("SELECT repeat('x', 3000000), i FROM generate_series(1, 3) i")["count"])
step("many", lambda: [run("SELECT i, md5(i::text) FROM generate_series(1, 30000) i")["rows"][::3000]])
step("multiple", lambda: run("SELECT 1 AS one; SELECT 2 AS two"))
step("empty", lambda: run(""))
step("drop", lambda: run("DROP TABLE py"))
conn.close()
sys.stdout.flush()
