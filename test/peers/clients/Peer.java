import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/** JDBC as programs use it. Prints a line a step: what it gave, or all that its error says. */
public class Peer {
  interface Work { Object run() throws Exception; }

  static String server(ServerErrorMessage m) {
    if (m == null) return "";
    return String.join("|", m.getSeverity(), m.getSQLState(), m.getMessage(), m.getDetail(), m.getHint(), String.valueOf(m.getPosition()), m.getWhere(),
        m.getSchema(), m.getTable(), m.getColumn(), m.getConstraint(), m.getDatatype(), m.getRoutine());
  }

  static String told(Throwable e) {
    StringBuilder text = new StringBuilder(e.getClass().getSimpleName() + ": " + e.getMessage());
    if (e instanceof PSQLException p) text.append(" / ").append(p.getSQLState()).append(" / ").append(server(p.getServerErrorMessage()));
    if (e instanceof BatchUpdateException b) text.append(" / ").append(Arrays.toString(b.getUpdateCounts()));
    if (e instanceof SQLException s && s.getNextException() != null) text.append(" > ").append(told(s.getNextException()));
    return text.toString();
  }

  static void step(String name, Work work) {
    String outcome;
    try {
      outcome = String.valueOf(work.run());
    } catch (Exception e) {
      outcome = "ERROR " + told(e);
    }
    System.out.println(name + "\t" + outcome.replace("\n", "\\n"));
  }

  static String rows(ResultSet rs) throws SQLException {
    ResultSetMetaData meta = rs.getMetaData();
    StringBuilder text = new StringBuilder();
    for (int i = 1; i <= meta.getColumnCount(); i++)
      text.append(meta.getColumnLabel(i)).append(':').append(meta.getColumnTypeName(i)).append(':').append(meta.getTableName(i)).append(':')
          .append(meta.getPrecision(i)).append(':').append(meta.getScale(i)).append(':').append(meta.isNullable(i)).append(':').append(meta.isAutoIncrement(i)).append(' ');
    while (rs.next()) {
      text.append('(');
      for (int i = 1; i <= meta.getColumnCount(); i++) {
        Object value = rs.getObject(i);
        text.append(value instanceof byte[] b ? Arrays.toString(b) : String.valueOf(value)).append(';');
      }
      text.append(')');
    }
    return text.toString();
  }

  static String warnings(SQLWarning first) {
    StringBuilder text = new StringBuilder();
    for (SQLWarning w = first; w != null; w = w.getNextWarning()) text.append(w.getSQLState()).append(' ').append(w.getMessage()).append("; ");
    return text.toString();
  }

  static Connection open(String... more) throws SQLException {
    Properties p = new Properties();
    p.setProperty("user", System.getenv("PGUSER"));
    p.setProperty("password", System.getenv("PGPASSWORD"));
    for (int i = 0; i < more.length; i += 2) p.setProperty(more[i], more[i + 1]);
    return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), p);
  }

  public static void main(String[] args) throws Exception {
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
    try (Connection c = open()) {
      Statement s = c.createStatement();
      step("server", () -> c.getMetaData().getDatabaseProductVersion() + " " + c.getTransactionIsolation() + " " + c.isReadOnly() + " " + c.getCatalog() + " " + c.getSchema());
      step("create", () -> s.executeUpdate("CREATE TABLE jd (id serial PRIMARY KEY, t text UNIQUE, n numeric(20,5), i8 bigint, f8 float8, b bytea, at timestamptz, d date, a int[], j jsonb, u uuid, ok boolean)"));
      step("insert", () -> {
        PreparedStatement p = c.prepareStatement("INSERT INTO jd (t, n, i8, f8, b, at, d, a, j, u, ok) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?::jsonb, ?, ?)", Statement.RETURN_GENERATED_KEYS);
        StringBuilder keys = new StringBuilder();
        for (int i = 0; i < 12; i++) {
          p.setString(1, "row " + i); p.setBigDecimal(2, new java.math.BigDecimal("12345.6789")); p.setLong(3, Long.MAX_VALUE - i); p.setDouble(4, 0.1 * i);
          p.setBytes(5, new byte[] {0, 1, (byte) 255, (byte) i}); p.setTimestamp(6, new Timestamp(1709208000000L + i)); p.setDate(7, java.sql.Date.valueOf("2024-02-29"));
          p.setArray(8, c.createArrayOf("int4", new Object[] {1, null, i})); p.setString(9, "{\"k\": " + i + "}"); p.setObject(10, UUID.fromString("550e8400-e29b-41d4-a716-44665544000" + (i % 10))); p.setBoolean(11, i % 2 == 0);
          p.executeUpdate();
          ResultSet k = p.getGeneratedKeys(); k.next(); keys.append(k.getInt(1)).append(',');
        }
        return keys;
      });
      // The fifth execution makes it a named statement on the server, and results come in binary.
      step("server-side prepare", () -> {
        PreparedStatement p = c.prepareStatement("SELECT * FROM jd WHERE id = ? OR t = ? ORDER BY id");
        StringBuilder all = new StringBuilder();
        for (int i = 1; i <= 9; i++) { p.setInt(1, i); p.setString(2, "row " + (i + 1)); all.append(rows(p.executeQuery())).append('\n'); }
        return all;
      });
      step("altered under a prepared statement", () -> {
        PreparedStatement p = c.prepareStatement("SELECT * FROM jd WHERE id = ?");
        for (int i = 1; i <= 6; i++) { p.setInt(1, i); p.executeQuery().close(); }
        s.execute("ALTER TABLE jd ADD COLUMN later text DEFAULT 'l'");
        p.setInt(1, 3);
        return rows(p.executeQuery());
      });
      step("batch", () -> {
        PreparedStatement p = c.prepareStatement("INSERT INTO jd (t, i8) VALUES (?, ?)");
        for (int i = 0; i < 700; i++) { p.setString(1, "batch " + i); p.setInt(2, i); p.addBatch(); }
        int total = 0;
        for (int n : p.executeBatch()) total += n;
        return total;
      });
      step("batch that fails in the middle", () -> {
        PreparedStatement p = c.prepareStatement("INSERT INTO jd (t) VALUES (?)");
        for (String t : List.of("new a", "row 3", "new b")) { p.setString(1, t); p.addBatch(); }
        return Arrays.toString(p.executeBatch());
      });
      step("batch of different statements", () -> {
        Statement b = c.createStatement();
        b.addBatch("UPDATE jd SET ok = NOT ok WHERE id < 4"); b.addBatch("DELETE FROM jd WHERE t = 'batch 1'"); b.addBatch("INSERT INTO jd (t) VALUES ('b')");
        return Arrays.toString(b.executeBatch());
      });
      step("copy in", () -> {
        CopyManager m = c.unwrap(PGConnection.class).getCopyAPI();
        return m.copyIn("COPY jd (t, i8) FROM STDIN", new StringReader("c1\t1\nc2\t\\N\n")) + " " + m.copyIn("COPY jd (t) FROM STDIN (FORMAT csv)", new ByteArrayInputStream("\"c,3\"\nc4\n".getBytes(StandardCharsets.UTF_8)));
      });
      step("copy in that fails", () -> c.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY jd (i8) FROM STDIN", new StringReader("x\n")));
      step("copy out", () -> {
        StringWriter w = new StringWriter();
        ByteArrayOutputStream b = new ByteArrayOutputStream();
        CopyManager m = c.unwrap(PGConnection.class).getCopyAPI();
        long n = m.copyOut("COPY (SELECT t, n, b, at FROM jd ORDER BY id LIMIT 20) TO STDOUT (FORMAT csv, HEADER)", w);
        long k = m.copyOut("COPY (SELECT id, t FROM jd ORDER BY id) TO STDOUT (FORMAT binary)", b);
        return n + " " + k + " " + w + Arrays.hashCode(b.toByteArray());
      });
      step("fetch size", () -> {
        c.setAutoCommit(false);
        try {
          PreparedStatement p = c.prepareStatement("SELECT id, t FROM jd ORDER BY id");
          p.setFetchSize(50);
          ResultSet rs = p.executeQuery();
          int n = 0; long sum = 0;
          while (rs.next()) { n++; sum += rs.getInt(1); if (n == 130) s.executeQuery("SELECT 1").close(); }
          Statement scrolls = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY);
          ResultSet q = scrolls.executeQuery("SELECT id FROM jd ORDER BY id");
          q.absolute(100); int at = q.getInt(1); q.last();
          return n + " " + sum + " " + at + " " + q.getRow();
        } finally { c.commit(); c.setAutoCommit(true); }
      });
      step("updatable result", () -> {
        Statement u = c.createStatement(ResultSet.TYPE_SCROLL_SENSITIVE, ResultSet.CONCUR_UPDATABLE);
        ResultSet rs = u.executeQuery("SELECT id, t FROM jd WHERE id = 2");
        rs.next(); rs.updateString("t", "updated in place"); rs.updateRow();
        return rows(s.executeQuery("SELECT id, t FROM jd WHERE id = 2"));
      });
      step("savepoints", () -> {
        c.setAutoCommit(false);
        try {
          Savepoint sp = c.setSavepoint("here");
          try { s.executeUpdate("INSERT INTO jd (t) VALUES ('row 5')"); } catch (SQLException e) { c.rollback(sp); }
          int n = s.executeUpdate("UPDATE jd SET i8 = 1 WHERE id = 7");
          c.rollback();
          return n;
        } finally { c.setAutoCommit(true); }
      });
      step("failed transaction", () -> {
        c.setAutoCommit(false);
        try { try { s.execute("SELECT 1/0"); } catch (SQLException e) { /* as meant */ } return rows(s.executeQuery("SELECT 1")); } finally { c.rollback(); c.setAutoCommit(true); }
      });
      for (String sql : List.of("SELECT * FORM jd", "SELECT 1/0", "INSERT INTO jd (t) VALUES ('row 1')", "SELECT nope FROM jd", "SELECT 'x'::int", "DROP TABLE not_there", "SELECT 1; SELECT 1/0; SELECT 3"))
        step("error of " + sql, () -> s.execute(sql));
      step("several results", () -> {
        StringBuilder all = new StringBuilder();
        boolean more = s.execute("SELECT 1 AS one; UPDATE jd SET ok = true WHERE id < 3; SELECT 'three' AS t");
        while (more || s.getUpdateCount() != -1) { all.append(more ? rows(s.getResultSet()) : "count " + s.getUpdateCount()).append('|'); more = s.getMoreResults(); }
        return all;
      });
      step("warnings", () -> {
        s.execute("DO $$ BEGIN RAISE NOTICE 'a notice' USING DETAIL = 'd'; RAISE WARNING 'a warning'; END $$");
        return warnings(s.getWarnings());
      });
      step("callable", () -> {
        s.execute("CREATE FUNCTION jd_twice(x int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2'");
        s.execute("CREATE PROCEDURE jd_proc(INOUT x int) LANGUAGE plpgsql AS $$ BEGIN x := x + 1; END $$");
        CallableStatement f = c.prepareCall("{? = call jd_twice(?)}"); f.registerOutParameter(1, Types.INTEGER); f.setInt(2, 21); f.execute();
        CallableStatement q = c.prepareCall("call jd_proc(?)"); q.setInt(1, 1); q.registerOutParameter(1, Types.INTEGER);
        String proc; try { q.execute(); proc = "" + q.getInt(1); } catch (SQLException e) { proc = e.getSQLState(); }
        return f.getInt(1) + " " + proc;
      });
      step("ref cursor", () -> {
        s.execute("CREATE FUNCTION jd_cursor() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE r refcursor; BEGIN OPEN r FOR SELECT id, t FROM jd ORDER BY id LIMIT 3; RETURN r; END $$");
        c.setAutoCommit(false);
        try { CallableStatement f = c.prepareCall("{? = call jd_cursor()}"); f.registerOutParameter(1, Types.OTHER); f.execute(); return rows((ResultSet) f.getObject(1)); } finally { c.rollback(); c.setAutoCommit(true); }
      });
      step("cancel", () -> {
        Statement slow = c.createStatement();
        // Cancelled once it runs: before that, the driver cancels nothing.
        Thread watch = new Thread(() -> {
          try (Connection other = open(); Statement look = other.createStatement()) {
            while (true) {
              ResultSet rs = look.executeQuery("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(30%'");
              rs.next();
              if (rs.getInt(1) > 0) break;
              Thread.sleep(20);
            }
            slow.cancel();
          } catch (Exception e) { throw new IllegalStateException(e); }
        });
        watch.setDaemon(true);
        watch.start();
        return slow.executeQuery("SELECT pg_sleep(30)");
      });
      step("query timeout", () -> { Statement slow = c.createStatement(); slow.setQueryTimeout(1); return slow.executeQuery("SELECT pg_sleep(30)"); });
      step("goes on", () -> rows(s.executeQuery("SELECT 'fine' AS it")));
      step("notify", () -> {
        s.execute("LISTEN jd_news");
        try (Connection other = open()) { other.createStatement().execute("NOTIFY jd_news, 'payload'"); }
        PGNotification[] got = c.unwrap(PGConnection.class).getNotifications(20000);
        return got == null ? "none" : got[0].getName() + " " + got[0].getParameter();
      });
      step("backend pid", () -> { ResultSet rs = s.executeQuery("SELECT pg_backend_pid()"); rs.next(); return rs.getInt(1) == c.unwrap(PGConnection.class).getBackendPID(); });
      step("large object", () -> {
        c.setAutoCommit(false);
        try {
          LargeObjectManager m = c.unwrap(PGConnection.class).getLargeObjectAPI();
          long oid = m.createLO(LargeObjectManager.READWRITE);
          LargeObject big = m.open(oid, LargeObjectManager.READWRITE);
          byte[] bytes = new byte[100000]; new Random(1).nextBytes(bytes);
          big.write(bytes); big.seek64(500, LargeObject.SEEK_SET);
          byte[] part = big.read(20); big.truncate(600); int size = big.size(); big.close(); m.unlink(oid);
          return Arrays.equals(part, Arrays.copyOfRange(bytes, 500, 520)) + " " + size;
        } finally { c.commit(); c.setAutoCommit(true); }
      });
      DatabaseMetaData meta = c.getMetaData();
      step("tables", () -> rows(meta.getTables(null, "public", "jd%", null)));
      step("columns", () -> rows(meta.getColumns(null, "public", "jd", null)));
      step("keys", () -> rows(meta.getPrimaryKeys(null, "public", "jd")) + rows(meta.getIndexInfo(null, "public", "jd", false, false)));
      step("types", () -> rows(meta.getTypeInfo()).hashCode());
      step("functions", () -> rows(meta.getFunctions(null, "public", "jd%")).replaceAll("_\\d+", ""));
      step("schemas", () -> rows(meta.getSchemas()));
      step("wide rows", () -> { ResultSet rs = s.executeQuery("SELECT repeat('x', 2000000) AS x, i FROM generate_series(1, 4) i"); long n = 0; while (rs.next()) n += rs.getString(1).length(); return n; });
      step("many rows", () -> { ResultSet rs = s.executeQuery("SELECT i, md5(i::text) FROM generate_series(1, 50000) i"); long h = 0; while (rs.next()) h = h * 31 + rs.getString(2).hashCode(); return h; });
    }
    for (String mode : List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything")) {
      try (Connection c = open("preferQueryMode", mode, "binaryTransfer", "true", "prepareThreshold", "1")) {
        PreparedStatement p = c.prepareStatement("SELECT ?::int + 1 AS n, ?::text AS t, now() > '2020-01-01' AS b, '\\x00ff'::bytea AS y, 1.5::float8 AS f, '{1,2}'::int[] AS a");
        step("mode " + mode, () -> { StringBuilder all = new StringBuilder(); for (int i = 0; i < 4; i++) { p.setInt(1, i); p.setString(2, "o'" + i); all.append(rows(p.executeQuery())); } return all; });
        step("rewritten batch in mode " + mode, () -> {
          PreparedStatement b = c.prepareStatement("UPDATE jd SET i8 = ? WHERE id = ?");
          for (int i = 1; i < 20; i++) { b.setInt(1, i); b.setInt(2, i); b.addBatch(); }
          return Arrays.toString(b.executeBatch());
        });
        step("goes on in mode " + mode, () -> rows(c.createStatement().executeQuery("SELECT count(*) > 0 AS has FROM jd")));
      }
    }
    try (Connection c = open("reWriteBatchedInserts", "true", "ApplicationName", "a peer")) {
      PreparedStatement p = c.prepareStatement("INSERT INTO jd (t, i8) VALUES (?, ?)");
      for (int i = 0; i < 300; i++) { p.setString(1, "rewritten " + i); p.setInt(2, i); p.addBatch(); }
      step("rewritten inserts", () -> Arrays.stream(p.executeBatch()).filter(n -> n == Statement.SUCCESS_NO_INFO || n == 1).count());
      step("application name", () -> rows(c.createStatement().executeQuery("SHOW application_name")));
    }
    step("wrong database", () -> DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), System.getenv("PGUSER"), "wrong").isValid(1));
    try (Connection c = open()) { c.createStatement().execute("DROP TABLE jd; DROP FUNCTION jd_twice; DROP FUNCTION jd_cursor; DROP PROCEDURE jd_proc"); }
  }
}
