import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Client } from 'pg';
import type { Catalog } from '../../../../../proxy/protocols/postgres/sql/catalog.ts';
import { SqlClassifier } from '../../../../../proxy/protocols/postgres/sql/classifier.ts';
import { PLAN, SETTINGS, startTestServer, type TestServer } from './server.ts';

describe('the catalog', () => {
  let server: TestServer;
  let client: Client;
  let catalog: Catalog;
  before(async () => {
    server = await startTestServer();
    client = await server.connect();
    catalog = await server.catalog();
  });
  after(async () => {
    await client?.end();
    await server?.stop();
  });

  const mask = (from: Catalog, table: string, column: string, schema = 'public'): string | undefined => {
    const relation = from.findRelation(schema, table, []);
    assert.ok(relation, `${schema}.${table}`);
    const attribute = relation.columns.find((c) => c.name === column);
    assert.ok(attribute, column);
    const found = from.maskFor(relation.oid, attribute.number, PLAN);
    return found && `${found.mask} ${found.label}`;
  };

  it('follows sensitive columns into views, views of views, materialised views and generated columns', () => {
    assert.equal(mask(catalog, 'customers', 'email'), 'partial customers.email');
    assert.equal(mask(catalog, 'customers', 'name'), undefined);
    assert.equal(mask(catalog, 'customer_contacts', 'contact'), 'partial customers.email');
    assert.equal(mask(catalog, 'customer_contacts', 'area'), 'redact customers.ssn');
    assert.equal(mask(catalog, 'customer_contacts', 'name'), undefined);
    assert.equal(mask(catalog, 'contacts_twice', 'area'), 'redact customers.ssn');
    assert.equal(mask(catalog, 'emails', 'address'), 'partial customers.email');
    assert.equal(mask(catalog, 'busy', 'n'), undefined);
    assert.equal(mask(catalog, 'customers', 'email_lower'), 'partial customers.email');
    assert.equal(mask(catalog, 'customers', 'ssn_last4'), 'redact customers.ssn');
    assert.equal(mask(catalog, 'customers', 'label'), undefined);
  });

  it('follows them between parents and children', () => {
    assert.equal(mask(catalog, 'events_2025', 'body'), 'redact events.body');
    const relation = catalog.findRelation('public', 'base', []);
    const plan = { ...PLAN, columns: new Map([['public.child.v', 'redact' as const]]) };
    assert.deepEqual(relation && catalog.maskFor(relation.oid, 2, plan), { mask: 'redact', label: 'child.v' });
  });

  it('takes a whole row for its most sensitive column, and knows nothing of a table that is not there', () => {
    const customers = catalog.findRelation('public', 'customers', []);
    assert.equal(customers && catalog.maskFor(customers.oid, 0, PLAN)?.mask, 'redact');
    assert.equal(catalog.maskFor(999_999, 1, PLAN), undefined);
  });

  it('names the keys of a plan that name no column', () => {
    const plan = { ...PLAN, columns: new Map([...PLAN.columns, ['public.customers.emial', 'redact' as const]]) };
    assert.deepEqual(catalog.sensitivity(plan).unmatched(), ['public.customers.emial']);
  });

  it('sees what was made since it was read only when it is read again', async () => {
    await client.query(`create view late as select id, reverse(email) as liame from customers;
      create view later as select * from late; alter table customers add column extra text;
      create table "Mixed Case" ("E-Mail" text); create view recursive_one as with recursive t as (select 1 as n, ssn from customers union all select n + 1, ssn from t where n < 2) select * from t`);
    assert.equal(catalog.findRelation('public', 'late', []), undefined);
    const fresh = await server.catalog();
    assert.equal(mask(fresh, 'later', 'liame'), 'redact customers.email');
    assert.equal(mask(fresh, 'recursive_one', 'ssn'), 'redact customers.ssn');
    assert.equal(mask(fresh, 'recursive_one', 'n'), undefined);
    const plan = { ...PLAN, columns: new Map([['public.mixed case.e-mail', 'redact' as const]]) };
    const [info] = (await SqlClassifier.load()).classify('select "E-Mail" from "Mixed Case"', fresh, plan, SETTINGS).statements;
    assert.deepEqual(info?.facts.sensitive, ['Mixed Case.E-Mail']);
  });

  it('is what was known already where nothing has changed, and another after any change', async () => {
    await client.query(
      "create table kept (a text, b text); create view of_kept as select a from kept; create function kept_text() returns text language sql as 'select 1'",
    );
    let known = await server.catalog();
    // Data is no catalog; nor is what was taken back.
    for (const sql of ["insert into kept values ('a', 'b')", 'begin; alter table kept add column z int; rollback', 'analyze kept']) {
      await client.query(sql);
      assert.equal(await server.catalog(known), known, sql);
    }
    for (const sql of [
      'alter table kept rename column b to c',
      'create or replace view of_kept as select c as a from kept',
      'create or replace view of_kept as select a from kept',
      "create or replace function kept_text() returns text language sql as 'select a from kept'",
      'alter function kept_text() stable',
      'alter table kept add column g text generated always as (c) stored',
      'create rule kept_rule as on delete to kept do instead nothing',
      'create trigger kept_trigger after update on kept for each row execute function note_change()',
      'create table kept_child () inherits (kept)',
      'alter table kept_child no inherit kept',
      'create schema kept_schema',
      'alter view of_kept set schema kept_schema',
      "create type kept_type as enum ('x')",
      'alter type kept_type rename to kept_types',
      'alter operator @+@ (int, int) set schema kept_schema',
      'drop view kept_schema.of_kept',
      'vacuum full pg_proc',
      'begin; drop table kept_child; create table kept_child (a text); commit',
    ]) {
      await client.query(sql);
      const fresh = await server.catalog(known);
      assert.notEqual(fresh, known, sql);
      assert.equal(await server.catalog(fresh), fresh, sql);
      known = fresh;
    }
    await client.query('alter operator kept_schema.@+@ (int, int) set schema public; drop schema kept_schema; drop table kept_child; drop table kept cascade');
  });

  it('reads through columns that were dropped', async () => {
    await client.query('create table holes (a text, b text, c text); alter table holes drop column a; create view over_holes as select * from holes');
    const fresh = await server.catalog();
    const plan = { ...PLAN, columns: new Map([['public.holes.c', 'redact' as const]]) };
    const holes = fresh.findRelation('public', 'holes', []);
    const view = fresh.findRelation('public', 'over_holes', []);
    assert.equal(holes && fresh.maskFor(holes.oid, 3, plan)?.label, 'holes.c');
    assert.equal(holes && fresh.maskFor(holes.oid, 2, plan), undefined);
    assert.equal(view && fresh.maskFor(view.oid, 2, plan)?.label, 'holes.c');
  });

  it('leaves the connection that it is read over as it was', async () => {
    const { rows } = await client.query<{ p: string }>('select current_setting($1) as p', ['search_path']);
    assert.equal(rows[0]?.p, '"$user", public');
  });
});
