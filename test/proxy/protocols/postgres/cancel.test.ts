import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import { ALLOW_ALL, describe, front, type Proxied, proxied, RawClient } from './proxied.ts';

/** Long enough that nobody mistakes their end for a cancellation: one that runs code, and one that only reads. */
const SLEEP = 'SELECT pg_sleep(30)';
const READ = 'SELECT count(*) FROM pg_catalog.pg_attribute a, pg_catalog.pg_attribute b, pg_catalog.pg_attribute c';
const ROUNDS = 40;

suite('a CancelRequest', { timeout: 300_000 }, () => {
  let p: Proxied;
  before(async () => {
    p = await proxied(ALLOW_ALL);
  });
  after(() => p.stop());

  /** Resolves when the other side has closed, as drivers wait for it. */
  async function cancel(raw: RawClient): Promise<void> {
    const key = raw.received.find((m) => m.type === 'K')?.body ?? assert.fail('no key');
    const other = await RawClient.tcp(p.port);
    other.send(Buffer.concat([Buffer.from([0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e]), key]));
    await other.ended();
  }
  const ends = (messages: Awaited<ReturnType<RawClient['until']>>): string => describe(messages.filter(({ type }) => 'CEZ'.includes(type)));

  it('stops a statement that has come and waits for the catalog to be read', async () => {
    const [raw, other] = [await p.raw(), await p.client()];
    for (const [extended, sql] of [[false, SLEEP] as const, [true, SLEEP] as const, [false, READ] as const, [true, READ] as const]) {
      await other.query('CREATE TABLE IF NOT EXISTS made (id int)');
      await other.query('DROP TABLE made');
      raw.send(...(extended ? [front.parse('', sql), front.bind('', ''), front.execute(), front.sync()] : [front.query(sql)]));
      const [messages] = await Promise.all([raw.until('Z'), cancel(raw)]);
      assert.equal(ends(messages), 'E:57014 Z:I');
      raw.send(front.query('SELECT 1'));
      assert.equal(ends(await raw.until('Z')), 'C:SELECT 1 Z:I');
    }
  });

  it('stops a statement that waits while what was changed is read again, and the session goes on', async () => {
    const raw = await p.raw();
    for (let i = 0; i < 5; i++) {
      raw.send(front.query("SELECT set_config('search_path', 'public', false)"), front.query(SLEEP));
      await raw.until('Z');
      // As soon as that is answered the proxy asks what the search path is now.
      const [messages] = await Promise.all([raw.until('Z'), cancel(raw)]);
      assert.equal(ends(messages), 'E:57014 Z:I');
    }
    raw.send(front.query('SELECT 1'));
    assert.equal(ends(await raw.until('Z')), 'C:SELECT 1 Z:I');
  });

  it('hits nothing that is sent after its connection has ended', async () => {
    const raw = await p.raw();
    for (let i = 0; i < ROUNDS; i++) {
      raw.send(front.query(`SELECT pg_sleep(${(i % 10) / 1000})`));
      await Promise.all([raw.until('Z'), cancel(raw)]);
      raw.send(front.query('SELECT 1'));
      assert.equal(ends(await raw.until('Z')), 'C:SELECT 1 Z:I', `round ${i}`);
    }
  });
});
