/** Function calls by OID, and other things that drivers lean on beside statements: process numbers, COPY in odd places. */
import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import { readFunctionCall } from '../../../../proxy/protocols/postgres/fastPath.ts';
import { FRONT, FrameWriter } from '../../../../proxy/protocols/postgres/frames.ts';
import { ALLOW_ALL, describe, errorOf, front, type Message, type Proxied, proxied, type RawClient, row } from './proxied.ts';

const OIDS = { lo_open: 952, lo_close: 953, loread: 954, lowrite: 955, lo_lseek: 956, lo_creat: 957, lo_tell: 958, lo_unlink: 964 } as const;
const MORE = { lo_create: 715, lo_truncate: 1004, lo_lseek64: 3170, lo_tell64: 3171, lo_truncate64: 3172 } as const;
const READ_WRITE = 0x60000;

const int4 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};

function call(oid: number, args: readonly Buffer[]): Buffer {
  const writer = new FrameWriter().begin(FRONT.functionCall).int32(oid).int16(1).int16(1).int16(args.length);
  for (const arg of args) writer.int32(arg.length).bytes(arg);
  return writer.int16(1).end().take();
}

/** What a function call gave: its value's bytes, null, or the error's code. */
function result(messages: readonly Message[]): Buffer | string | null {
  const error = messages.find((m) => m.type === 'E');
  if (error) return errorOf(error).get('C') ?? '';
  const answer = messages.find((m) => m.type === 'V');
  assert.ok(answer, describe(messages));
  const length = answer.body.readInt32BE(0);
  return length < 0 ? null : answer.body.subarray(4, 4 + length);
}

async function ask(raw: RawClient, sql: string): Promise<string> {
  raw.send(front.query(sql));
  return describe(await raw.until('Z'));
}

suite('a function call by its OID', { timeout: 300_000 }, () => {
  let open: Proxied;
  let masked: Proxied;
  before(async () => {
    open = await proxied(ALLOW_ALL, { sensitive: {} });
    masked = await proxied(ALLOW_ALL);
  });
  after(() => Promise.all([open.stop(), masked.stop()]));

  const called = async (raw: RawClient, name: keyof typeof OIDS, ...args: Buffer[]): Promise<Buffer | string | null> => {
    raw.send(call(OIDS[name], args));
    return result(await raw.until('Z'));
  };
  const write = async (raw: RawClient, text: string): Promise<Buffer> => {
    const oid = (await called(raw, 'lo_creat', int4(READ_WRITE))) as Buffer;
    const fd = (await called(raw, 'lo_open', oid, int4(READ_WRITE))) as Buffer;
    assert.deepEqual(await called(raw, 'lowrite', fd, Buffer.from(text)), int4(Buffer.byteLength(text)));
    assert.deepEqual(await called(raw, 'lo_lseek', fd, int4(0), int4(0)), int4(0));
    return fd;
  };

  it('reaches large objects as libpq does, and is in the record as the SELECT that does the same', async () => {
    const raw = await open.raw();
    assert.equal(await ask(raw, 'BEGIN'), 'C:BEGIN Z:T');
    const fd = await write(raw, 'twelve bytes');
    assert.deepEqual(await called(raw, 'loread', fd, int4(6)), Buffer.from('twelve'));
    assert.deepEqual(await called(raw, 'lo_tell', fd), int4(6));
    assert.deepEqual(await called(raw, 'lo_close', fd), int4(0));
    assert.equal(await ask(raw, 'ROLLBACK'), 'C:ROLLBACK Z:I');
    const payloads = (await open.t.entries()).flatMap((e) => (e.type === 'operation.intent' ? [e.payload] : []));
    for (const sql of ['SELECT pg_catalog.lo_creat($1)', 'SELECT pg_catalog.lowrite($1, $2)', 'SELECT pg_catalog.loread($1, $2)'])
      assert.ok(payloads.includes(sql), sql);
  });

  it('knows the functions by the numbers that the server knows them by', async () => {
    const direct = await open.db.direct();
    const all = { ...OIDS, ...MORE };
    const { rows } = await direct.query<{ oid: number; name: string; types: string }>(
      "SELECT oid::int, proname AS name, array_to_string(proargtypes::int[], ',') AS types FROM pg_proc WHERE oid = ANY ($1::oid[])",
      [Object.values(all)],
    );
    await direct.end();
    assert.equal(rows.length, Object.keys(all).length);
    for (const { name, oid, types } of rows) {
      const frame = call(
        oid,
        types.split(',').map(() => Buffer.alloc(4)),
      );
      const found = readFunctionCall(frame, 0, frame.length);
      assert.match(found?.sql ?? '', new RegExp(`pg_catalog\\.${name}\\(`));
      assert.equal(found?.types.join(), types);
    }
  });

  it('is refused for any other function, for a wrong number of arguments, and the session goes on', async () => {
    const raw = await open.raw();
    for (const frame of [front.functionCall(), call(OIDS.lo_open, [int4(1)])]) {
      raw.send(frame);
      assert.equal(describe(await raw.until('Z')), 'E:0A000 Z:I');
    }
    assert.equal(await ask(raw, 'SELECT 1'), 'T D C:SELECT 1 Z:I');
  });

  it('is denied as its SELECT would be: alone without a trace, in a transaction by aborting it', async () => {
    masked.t.setPolicy(masked.policyText('defaults: { execute: deny, unknown: deny }'));
    const raw = await masked.raw();
    assert.equal(await called(raw, 'lo_creat', int4(READ_WRITE)), '42501');
    assert.equal(await ask(raw, 'BEGIN'), 'C:BEGIN Z:T');
    assert.equal(await called(raw, 'lo_creat', int4(READ_WRITE)), '42501');
    assert.equal(await ask(raw, 'SELECT 1'), 'E:25P02 Z:E');
    assert.equal(await ask(raw, 'ROLLBACK'), 'C:ROLLBACK Z:I');
    const direct = await masked.db.direct();
    assert.deepEqual((await direct.query('SELECT count(*)::int AS n FROM pg_largeobject_metadata')).rows, [{ n: 0 }]);
    await direct.end();
    masked.t.setPolicy(masked.policyText(ALLOW_ALL));
  });

  it('gives nothing of a large object to read where sensitive data may be in it', async () => {
    const raw = await masked.raw();
    await ask(raw, 'BEGIN');
    const fd = await write(raw, 'canary7@secret.example');
    assert.equal(await called(raw, 'loread', fd, int4(100)), null);
    await ask(raw, 'ROLLBACK');
  });
});

suite('what drivers lean on beside statements', { timeout: 300_000 }, () => {
  let p: Proxied;
  before(async () => {
    p = await proxied(ALLOW_ALL);
  });
  after(() => p.stop());

  it('has the process number of the server in the key to cancel by, as pg_backend_pid() and notifications tell it', async () => {
    const raw = await p.raw();
    const key = raw.received.find((m) => m.type === 'K');
    raw.send(front.query('SELECT pg_backend_pid()'));
    const [data] = (await raw.until('Z')).filter((m) => m.type === 'D').map(row);
    assert.equal(data?.[0], String(key?.body.readInt32BE(0)));
  });

  it('copies into a table that the same transaction has made', async () => {
    const raw = await p.raw();
    await ask(raw, 'BEGIN');
    await ask(raw, 'CREATE TABLE made_here (id int)');
    await ask(raw, "SELECT set_config('search_path', 'public', true)");
    raw.send(front.query('COPY made_here FROM STDIN'), front.copyData('1\n2\n'), front.copyDone(), front.query('SELECT count(*) FROM made_here'));
    assert.equal(describe(await raw.until('Z')), 'G C:COPY 2 Z:T');
    assert.deepEqual((await raw.until('Z')).filter((m) => m.type === 'D').map(row), [['2']]);
    await ask(raw, 'ROLLBACK');
  });

  it('goes on after COPY data that the server refuses, in either protocol', async () => {
    const raw = await p.raw();
    await ask(raw, 'BEGIN; CREATE TABLE made_here (id int); SAVEPOINT s');
    raw.send(front.query("SELECT set_config('search_path', 'public', true); COPY made_here FROM STDIN"));
    await raw.until('G');
    raw.send(front.copyData('not a number\n'), front.copyDone());
    assert.equal(describe(await raw.until('Z')), 'E:22P02 Z:E');
    assert.equal(await ask(raw, 'ROLLBACK TO s'), 'C:ROLLBACK Z:T');
    raw.send(front.parse('', 'COPY made_here FROM STDIN'), front.bind('', ''), front.execute(), front.flush());
    await raw.until('G');
    raw.send(front.copyData('not a number\n'), front.copyDone(), front.sync());
    assert.equal(describe(await raw.until('Z')), 'E:22P02 Z:E');
    assert.equal(await ask(raw, 'ROLLBACK'), 'C:ROLLBACK Z:I');
  });

  it('ignores a Sync in the middle of COPY data, as the server does', async () => {
    const raw = await p.raw();
    raw.send(front.parse('', 'COPY orders (customer) FROM STDIN'), front.bind('', ''), front.execute(), front.flush());
    await raw.until('G');
    raw.send(front.sync(), front.copyData('1\n'), front.sync(), front.copyDone(), front.sync());
    assert.equal(describe(await raw.until('Z')), 'C:COPY 1 Z:I');
    assert.equal(await ask(raw, 'SELECT 1'), 'T D C:SELECT 1 Z:I');
  });
});
