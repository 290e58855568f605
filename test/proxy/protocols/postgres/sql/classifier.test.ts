/** What hangs on the session, the plan and the text as a whole; single statements are in the corpus. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { MaskPlan } from '../../../../../proxy/policy/policy.ts';
import type { Catalog } from '../../../../../proxy/protocols/postgres/sql/catalog.ts';
import { type Classified, recordSql, SqlClassifier, type SqlSettings, type StatementInfo } from '../../../../../proxy/protocols/postgres/sql/classifier.ts';
import { columnText } from './record.ts';
import { PLAN, SETTINGS, startTestServer, type TestServer } from './server.ts';

describe('the classifier', () => {
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

  const classify = (sql: string, settings: Partial<SqlSettings> = {}): Classified => classifier.classify(sql, catalog, PLAN, { ...SETTINGS, ...settings });
  const last = (sql: string, settings: Partial<SqlSettings> = {}): StatementInfo => {
    const info = classify(sql, settings).statements.at(-1);
    assert.ok(info);
    return info;
  };
  const out = (info: StatementInfo): unknown => (info.outputs === 'opaque' ? 'opaque' : info.outputs.map(columnText));

  describe('resolves names as the server would', () => {
    it('along the search path', () => {
      assert.deepEqual(last('select * from orders', { searchPath: ['shop', 'public'] }).facts.targets, [{ kind: 'table', name: 'shop.orders' }]);
      assert.deepEqual(last('select * from people', { searchPath: ['hr'] }).facts.targets, [{ kind: 'table', name: 'hr.people' }]);
      assert.equal(last('select * from orders', { searchPath: [] }).facts.effect, 'unknown');
      assert.equal(last('select * from orders', { searchPath: ['nosuch'] }).facts.effect, 'unknown');
      assert.deepEqual(out(last('select salary from people', { searchPath: ['hr', 'public'] })), ['hr.people.salary!hash']);
    });

    it('with pg_catalog first unless the path says otherwise', () => {
      assert.equal(last('select relname from pg_class', { searchPath: ['public'] }).facts.targets[0]?.name, 'pg_catalog.pg_class');
      assert.deepEqual(out(last('select email::text from customers', { searchPath: ['public', 'pg_catalog'] })), ['public.customers.email!partial']);
    });

    it('with temporary tables before all others, and what they shadow counted in', () => {
      const temporary = new Map([['orders', [{ name: 'email', taints: [{ label: 'customers.email', mask: 'partial' as const }] }]]]);
      assert.deepEqual(out(last('select email from orders', { temporary })), ['partial:customers.email']);
      assert.deepEqual(out(last('select email from pg_temp.orders', { temporary })), ['partial:customers.email']);
      assert.deepEqual(out(last('select id from public.orders', { temporary })), ['public.orders.id']);
      assert.deepEqual(out(last('select id from orders', { temporary, searchPath: ['public', 'pg_temp'] })), ['public.orders.id']);
      // A temporary table that was rolled back no longer hides the sensitive one.
      const clean = new Map([['customers', [{ name: 'email', taints: [] }]]]);
      assert.deepEqual(out(last('select upper(email) from customers', { temporary: clean })), ['partial:customers.email']);
      assert.deepEqual(out(last('select upper(ssn) from customers', { temporary: clean })), ['redact:not understood']);
    });

    it('and says which names the catalog does not know, so that it can be read again', () => {
      assert.deepEqual(classify('select * from nosuch').misses, ['table nosuch']);
      assert.deepEqual(classify('select nosuch from orders').misses, ['column nosuch']);
      assert.deepEqual(classify('select nosuch()').misses, ['function nosuch']);
      assert.deepEqual(classify('select id from orders').misses, []);
    });
  });

  it('takes IS NULL of a row for a question about its fields, and that of a domain over text for none', () => {
    const plan: MaskPlan = {
      ...PLAN,
      columns: new Map([...PLAN.columns, ['public.typed.p', 'redact'], ['public.typed.s', 'redact'], ['public.typed.tags', 'redact']]),
    };
    const asks = (sql: string): boolean => classifier.classify(sql, catalog, plan, SETTINGS).parts[0].sql?.equality !== true;
    for (const sql of [
      'select id from typed where p is null',
      'select p is not null from typed',
      'select count(p) from typed',
      'select (p).a is null from typed',
    ])
      assert.equal(asks(sql), true, sql);
    for (const sql of ['select id from typed where s is null', 'select count(s), count(tags) from typed']) assert.equal(asks(sql), false, sql);
  });

  describe('knows what a name stands for', () => {
    it('when a prepared statement is executed, under the search path of then', () => {
      const prepared = new Map([
        ['p', 'prepare p(text) as select email from customers where ssn = $1'],
        ['q', 'delete from orders'],
        ['r', 'select * from orders'],
      ]);
      const p = last(`execute p('123-45-6789')`, { prepared });
      assert.deepEqual([p.facts.effect, out(p), p.facts.sql?.predicates], ['read', ['public.customers.email!partial'], ['customers.ssn']]);
      assert.equal(classify(`execute p('123-45-6789')`, { prepared }).recorded, `execute p('‹masked›')`);
      const q = last('execute q', { prepared });
      assert.deepEqual([q.facts.effect, q.facts.bulk, q.facts.headline], ['delete', true, 'EXECUTE q: DELETE orders']);
      assert.equal(last('explain analyze execute q', { prepared }).facts.effect, 'delete');
      assert.equal(last('create table x as execute p(1)', { prepared }).flows[0]?.column, 'email');
      assert.deepEqual(last('execute r', { prepared, searchPath: ['shop'] }).facts.targets, [{ kind: 'table', name: 'shop.orders' }]);
      assert.equal(last('execute nosuch', { prepared }).facts.effect, 'unknown');
      // It may execute itself.
      assert.equal(last('execute s', { prepared: new Map([['s', 'execute s']]) }).facts.effect, 'unknown');
    });

    it('when a cursor is fetched from', () => {
      const control = last('declare c cursor for select id, upper(email) from customers').control;
      assert.ok(control?.kind === 'declare');
      const cursors = new Map([['c', control.statement]]);
      assert.deepEqual(out(last('fetch 5 from c', { cursors })), ['public.customers.id', 'partial:customers.email']);
      assert.equal(last('fetch 5 from c', { cursors }).facts.effect, 'read');
      assert.equal(last('fetch 5 from d', { cursors }).facts.effect, 'unknown');
    });
  });

  describe('follows what earlier statements of one text do', () => {
    it('to the search path', () => {
      assert.deepEqual(last('set search_path = shop; select * from orders').facts.targets, [{ kind: 'table', name: 'shop.orders' }]);
      assert.equal(last('begin; set local search_path = shop; rollback; select id from orders').facts.effect, 'unknown');
      assert.equal(last(`select set_config('search_path', 'shop', false); select id from orders`).facts.effect, 'unknown');
      assert.equal(last('do $$ begin end $$; select id from orders').facts.effect, 'unknown');
      assert.equal(last('discard all; select id from orders').facts.effect, 'unknown');
    });

    it('to temporary tables, prepared statements and cursors', () => {
      assert.deepEqual(out(last('select ssn into temp t from customers; select ssn from t')), ['redact:customers.ssn']);
      assert.equal(last('prepare x as select 1; deallocate x; execute x').facts.effect, 'unknown');
      assert.deepEqual(out(last('begin; declare c cursor for select ssn from customers; close c; fetch c')), 'opaque');
    });
  });

  describe('refuses to understand', () => {
    it('strings with backslashes where the server may read them differently', () => {
      assert.equal(last(`select 'a\\' from orders --'`, { standardConformingStrings: false }).facts.effect, 'unknown');
      assert.equal(last(`select 'a' from orders`, { standardConformingStrings: false }).facts.effect, 'read');
      assert.equal(classify(`select 'a' from orders`, { standardConformingStrings: false }).shape, undefined);
    });

    it('what is too long, too deep, too many or no text, without taking long', () => {
      const started = performance.now();
      for (const sql of [
        `select '${'x'.repeat(300_000)}'`,
        `select ${Array.from({ length: 20_000 }, () => '1').join('+')}`,
        'select 1;'.repeat(5000),
        'select 1\0',
        `select ${'array['.repeat(3000)}`,
      ]) {
        assert.equal(classify(sql).parts[0].effect, 'unknown', sql.slice(0, 30));
      }
      // Large, but plain.
      for (const sql of [
        `select id from orders where ${Array.from({ length: 5000 }, (_, i) => `id = ${i}`).join(' or ')}`,
        `delete from orders where ${Array.from({ length: 5000 }, (_, i) => `id <> ${i}`).join(' or ')}`,
        `select id from orders where id in (${Array.from({ length: 20_000 }, (_, i) => i).join(',')})`,
        `insert into items values ${Array.from({ length: 8000 }, (_, i) => `(${i}, 'x', ${i})`).join(',')}`,
      ]) {
        assert.notEqual(classify(sql).parts[0].effect, 'unknown', sql.slice(0, 30));
      }
      assert.ok(performance.now() - started < 20_000);
    });
  });

  describe('records', () => {
    const recorded = (sql: string): string => classify(sql).recorded;
    it('literals that meet sensitive columns masked, and others as they are', () => {
      assert.equal(
        recorded(`select id from customers where email = 'a@b' and city = 'Paris' and id = 5`),
        `select id from customers where email = '‹masked›' and city = 'Paris' and id = 5`,
      );
      assert.equal(recorded(`update customers set ssn = '1', city = 'x' where id = -3`), `update customers set ssn = '‹masked›', city = 'x' where id = -3`);
      assert.equal(
        recorded(`select id from hr.people where salary > - 5`),
        `select id from hr.people where salary > '‹masked›'`.replace(`'‹masked›'`, `- '‹masked›'`),
      );
      assert.equal(
        recorded(`select 'é', id from customers where email = E'ü\\'@b' or name = 'ö'`),
        `select 'é', id from customers where email = '‹masked›' or name = 'ö'`,
      );
      assert.equal(recorded(`select id from customers where email = 'a'\n'b'`), `select id from customers where email = '‹masked›'`);
      assert.equal(recorded(`select id from customers where email = $q$a$q$`), `select id from customers where email = '‹masked›'`);
    });

    it('literals that reach a sensitive column through a CTE, VALUES, a subquery or a join', () => {
      for (const sql of [
        `with v(e) as (values ('SEED')) select id from customers join v on email = e`,
        `with v as (select 'SEED' as e) select id from customers where email = (select e from v)`,
        `select id from customers join unnest(array['SEED']) u(e) on u.e = email`,
        `select id from customers where email in (select 'SEED' union select 'x')`,
        `select id from customers where (id, email) in ((1, 'SEED'))`,
        `insert into customers (id, email) select 1, 'SEED'`,
        `insert into customers (id, email) values (1, lower('SEED'))`,
        `update customers set email = v.e from (values ('SEED')) v(e) where customers.id = 1`,
        `merge into customers c using (values (1, 'SEED')) s(i, e) on c.id = s.i when matched then update set email = s.e`,
        `select id from customers where case when email = 'SEED' then true end`,
        `select id from customers where coalesce(email, 'SEED') = 'x'`,
        `select id from customers where strpos(email, 'SEED') > 0`,
        `select id from customers where email ~ ('^' || 'SEED')`,
        `select 'SEED' in (select email from customers)`,
        `select id from customers c where c = row(1, 'a', 'SEED', 'b', 'c', 'd', true, now(), '', '', '')`,
      ]) {
        assert.ok(!recorded(sql).includes('SEED'), recorded(sql));
      }
    });

    it('everything masked where the text was not understood', () => {
      assert.equal(recorded(`selec 'SEED', 5`), `selec '‹masked›', '‹masked›'`);
      assert.ok(!recorded(`select 'SEED`).includes('SEED'));
      assert.equal(recorded(`do $$ begin update customers set email = 'SEED'; end $$`), `do $$ begin update customers set email = '‹masked›'; end $$`);
    });

    it('another text of the same shape in the same way', () => {
      const first = classify(`select id from customers where city = 'a' and email = 'b'`);
      assert.equal(
        recordSql(`select id from customers where city = 'c' and email = 'd'`, first.maskedLiterals),
        `select id from customers where city = 'c' and email = '‹masked›'`,
      );
    });
  });

  it('touches nothing where nothing is sensitive', () => {
    const none = { ...PLAN, columns: new Map() };
    const { statements, recorded } = classifier.classify(`select email from customers where email = 'a'`, catalog, none, SETTINGS);
    assert.deepEqual([statements[0]?.touchesSensitive, statements[0]?.facts.sensitive, recorded], [false, [], `select email from customers where email = 'a'`]);
    assert.equal(classifier.classify('selec', catalog, none, SETTINGS).parts[0].effect, 'unknown');
  });

  it('masks settings once sensitive data may have been put there', () => {
    assert.deepEqual(out(last('show application_name')), ['-']);
    assert.deepEqual(out(last('show application_name', { settingsTainted: true })), ['redact:not understood']);
    assert.deepEqual(out(last(`select current_setting('application_name')`, { settingsTainted: true })), ['redact:not understood']);
  });
});
