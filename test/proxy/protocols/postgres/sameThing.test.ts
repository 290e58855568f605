/** What was approved, or understood, is what is executed: whatever its names come to mean in between. */
import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import type { Client } from 'pg';
import { ADA } from '../../../support/engine.ts';
import { SHOP } from '../../../support/postgres.ts';
import { describe, front, type Proxied, proxied, type RawClient } from './proxied.ts';

const SETUP = `${SHOP}
create schema near;
create schema late;
create table public.jobs (id int, state text);
insert into public.jobs values (1, 'new');
create table near.jobs (id int, state text);
insert into near.jobs values (1, 'new');
create function watch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger watched before update on public.jobs for each row execute function watch();
create table public.harmless (x text);
insert into public.harmless values ('fine');
create view near.harmless as select reverse(email) as x from public.customers;
`;
const SECRET = /canary|yranac/i;

/** What past the proxy happens to `jobs`, and how it is taken back. */
const CHANGES: readonly (readonly [string, string, string])[] = [
  [
    'another table comes before it on the search path',
    "create table late.jobs (id int, state text); insert into late.jobs values (1, 'new')",
    'drop table late.jobs',
  ],
  [
    'it gets a trigger',
    `create function changes() returns trigger language plpgsql as $$ begin return new; end $$;
     create trigger changed after update on public.jobs for each row execute function changes()`,
    'drop function changes cascade',
  ],
  [
    'the function of its trigger is another',
    `create or replace function watch() returns trigger language plpgsql as $$ begin new.state := 'watched'; return new; end $$`,
    'create or replace function watch() returns trigger language plpgsql as $$ begin return new; end $$',
  ],
  [
    'a view takes its name',
    'alter table public.jobs rename to jobs_before; create view public.jobs as select * from near.jobs',
    'drop view public.jobs; alter table public.jobs_before rename to jobs',
  ],
];

suite('approving one thing and executing another', { timeout: 300_000 }, () => {
  let p: Proxied;
  let direct: Client;
  before(async () => {
    p = await proxied('', { setup: SETUP });
    direct = await p.db.direct();
  });
  after(async () => {
    await direct?.end();
    await p.stop();
  });

  const states = async (): Promise<unknown> =>
    (await direct.query('select (select state from public.jobs) as public, (select state from near.jobs) as near')).rows[0];

  async function done(raw: RawClient, ...parts: readonly Buffer[]): Promise<{ readonly answer: string; readonly text: string }> {
    raw.send(...parts);
    const messages = await raw.until('Z');
    return { answer: describe(messages), text: messages.map(({ body }) => body.toString()).join('') };
  }

  for (const [name, change, back] of CHANGES) {
    it(`is impossible where, while a person is asked, ${name}`, async () => {
      const raw = await p.raw();
      await done(raw, front.query('set search_path = late, public'));
      const asked = p.t.onAsk(() => undefined);
      raw.send(front.query("update jobs set state = 'done' where id = 1"));
      const { digest, id } = await asked;
      await direct.query(change);
      p.t.approvals.answer({ answer: 'approve', id, digest, scope: { what: 'exact', howLong: 'once' } }, ADA);
      assert.equal(describe(await raw.until('Z')), 'E:40001 Z:I');
      await direct.query(back);
      assert.deepEqual(await states(), { public: 'new', near: 'new' });
      raw.stream.destroy();
    });
  }

  it('goes through where nothing that it means has changed', async () => {
    p.served.retry?.();
    const raw = await p.raw();
    const asked = p.t.onAsk(() => undefined);
    raw.send(front.query("update jobs set state = 'new' where id = 1"));
    const { digest, id } = await asked;
    await direct.query('create table late.beside (id int)');
    p.t.approvals.answer({ answer: 'approve', id, digest, scope: { what: 'exact', howLong: 'once' } }, ADA);
    assert.equal(describe(await raw.until('Z')), 'C:UPDATE 1 Z:I');
    raw.stream.destroy();
  });

  it('asks about what a prepared statement means when it is bound, not when it was parsed', async () => {
    const raw = await p.raw();
    await done(raw, front.parse('s', "update jobs set state = 'bound' where id = 1"), front.sync());
    await done(raw, front.query('set search_path = near, public'));
    const asked = p.t.onAsk('approve');
    raw.send(front.bind('', 's'), front.execute(), front.sync());
    assert.deepEqual((await asked).facts.targets, [{ kind: 'table', name: 'near.jobs' }]);
    assert.match(describe(await raw.until('Z')), /C:UPDATE 1 Z:I$/);
    assert.deepEqual(await states(), { public: 'new', near: 'bound' });
    raw.stream.destroy();
  });

  it('masks what a prepared statement reads when it is bound, not what it read when it was parsed', async () => {
    const raw = await p.raw();
    await done(raw, front.parse('s', 'select x from harmless'), front.describe('S', 's'), front.sync());
    assert.match((await done(raw, front.bind('', 's'), front.execute(), front.sync())).text, /fine/);
    await done(raw, front.query('set search_path = near, public'));
    const bound = await done(raw, front.bind('', 's'), front.execute(), front.sync());
    assert.match(bound.answer, /D .*Z:I$/);
    assert.doesNotMatch(bound.text, SECRET);
    // The path changes in the same breath, by a function too.
    for (const set of ['set search_path = near, public', "select set_config('search_path', 'near, public', false)"]) {
      await done(raw, front.query('reset search_path'));
      const breath = await done(raw, front.parse('', set), front.bind('', ''), front.execute(), front.bind('', 's'), front.execute(), front.sync());
      assert.doesNotMatch(breath.text, SECRET, set);
    }
    raw.stream.destroy();
  });

  it('keeps to what a portal was bound to while the path changes under it', async () => {
    const raw = await p.raw();
    await done(raw, front.query('begin'));
    await done(raw, front.query('set local search_path = near, public'));
    await done(raw, front.parse('s', 'select x from harmless'), front.bind('portal', 's'), front.describe('P', 'portal'), front.sync());
    await done(raw, front.query('set local search_path = public'));
    const { answer, text } = await done(raw, front.execute('portal'), front.sync());
    assert.match(answer, /D .*Z:T$/);
    assert.doesNotMatch(text, SECRET);
    raw.stream.destroy();
  });
});
