import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { buffer as readAll } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { DATA_HEADER_BYTES, FIRST_CREDIT_BYTES, FRAME, FRAME_HEADER_BYTES, MAX_CREDIT_BYTES } from '../../../contract/tunnel.ts';
import { creditPayload, TunnelViolation, writeFrameHeader } from '../../../proxy/uplink/frames.ts';
import { Mux } from '../../../proxy/uplink/mux.ts';
import { type MuxStream, StreamEnded } from '../../../proxy/uplink/muxStream.ts';
import { linkedPair, muxPair } from './pairs.ts';

const sum = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 100_000) throw new Error('it never came');
    await turn();
  }
}

/** A message of raw frames, as a peer may send it. */
function message(...frames: readonly { type: number; stream: number; payload?: Buffer; length?: number }[]): Buffer {
  const parts: Buffer[] = [Buffer.alloc(DATA_HEADER_BYTES)];
  for (const { type, stream, payload = Buffer.alloc(0), length = payload.length } of frames) {
    const head = Buffer.alloc(FRAME_HEADER_BYTES);
    writeFrameHeader(head, 0, type, stream, length);
    parts.push(head, payload);
  }
  return Buffer.concat(parts);
}

const OPENING = Buffer.from('{}');

/** A server with nobody but the test at the other end. */
function lone(options: { maxStreams?: number; now?: () => number } = {}): { mux: Mux; streams: MuxStream[]; sent: Buffer[]; take: (m: Buffer) => void } {
  const streams: MuxStream[] = [];
  const sent: Buffer[] = [];
  const mux = new Mux({
    role: 'server',
    channel: { ready: true, send: (m) => void sent.push(m) },
    onStream: (_opening, stream) => void streams.push(stream),
    now: options.now ?? (() => 0),
    ...(options.maxStreams !== undefined && { maxStreams: options.maxStreams }),
  });
  return { mux, streams, sent, take: (m) => mux.receive(m, DATA_HEADER_BYTES) };
}

describe('streams of the tunnel', () => {
  it('carry any bytes in any interleaving, at any reader’s speed, over a network that is cut at any time', async () => {
    const streamPlan = fc.record({
      up: fc.integer({ min: 0, max: 300_000 }),
      down: fc.integer({ min: 0, max: 300_000 }),
      chunk: fc.integer({ min: 1, max: 100_000 }),
      slow: fc.integer({ min: 0, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(streamPlan, { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 5 }),
        async (plans, pauses, cuts) => {
          let at = 0;
          const served: Promise<void>[] = [];
          const expected = new Map<number, { up: string; down: Buffer }>();
          const pair = linkedPair(
            (opening, stream) => {
              const { n, slow, chunk } = JSON.parse(opening.toString()) as { n: number; slow: number; chunk: number };
              served.push(
                Promise.all([readSlowly(stream, slow), write(stream, expected.get(n)?.down ?? Buffer.alloc(0), chunk)]).then(([got]) => {
                  assert.equal(sum(got), expected.get(n)?.up);
                }),
              );
            },
            () => pauses[at++ % pauses.length] ?? 0,
          );
          const asked = plans.map(async ({ up, down, chunk, slow }, n) => {
            const bytes = randomBytes(up);
            const back = randomBytes(down);
            expected.set(n, { up: sum(bytes), down: back });
            const stream = pair.client.open({ n, slow, chunk });
            const [got] = await Promise.all([readSlowly(stream, slow), write(stream, bytes, chunk)]);
            assert.equal(sum(got), sum(back));
          });
          const breaking = (async () => {
            for (const turns of cuts) {
              for (let i = 0; i < turns; i++) await turn();
              pair.cut();
              for (let i = 0; i < turns % 7; i++) await turn();
              pair.resume();
            }
          })();
          await Promise.all([...asked, breaking]);
          await Promise.all(served);
          assert.deepEqual(pair.broken, []);
          await until(() => pair.client.size === 0 && pair.server.size === 0);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('hold back the writer of one stream without holding up another', async () => {
    const streams: MuxStream[] = [];
    const { client } = muxPair((_opening, stream) => void streams.push(stream));
    const slow = client.open({});
    const quick = client.open({});
    const all = slow.write(Buffer.alloc(10 * MAX_CREDIT_BYTES, 1));
    assert.equal(all, false);
    await until(() => streams.length === 2);
    quick.end('quick');
    assert.equal((await readAll(streams[1] as MuxStream)).toString(), 'quick');
    for (let i = 0; i < 50; i++) await turn();
    // Nobody reads: what was granted at first has come, and not a byte more.
    assert.equal(streams[0]?.readableLength, FIRST_CREDIT_BYTES);
    slow.end();
    assert.equal((await readAll(streams[0] as MuxStream)).length, 10 * MAX_CREDIT_BYTES);
  });

  it('send what is written in one turn as one message', async () => {
    const got: Promise<Buffer>[] = [];
    const { client, messages } = muxPair((_opening, stream) => {
      got.push(readAll(stream));
      stream.end();
    });
    for (let i = 0; i < 50; i++) client.open({}).resume().end('hello');
    await until(() => got.length === 50);
    assert.ok((await Promise.all(got)).every((bytes) => bytes.toString() === 'hello'));
    await until(() => client.size === 0);
    assert.equal(messages(), 2);
  });

  it('half-close: one side ends and still reads', async () => {
    const { client } = muxPair((_opening, stream) => {
      void readSlowly(stream, 0).then((all) => stream.end(Buffer.concat([all, all])));
    });
    const stream = client.open({});
    stream.end('ab');
    assert.equal((await readAll(stream)).toString(), 'abab');
  });

  it('are reset with a code and a sentence', async () => {
    const { client } = muxPair((_opening, stream) => stream.reset('refused', 'You may not use orders. Ask for access.'));
    const stream = client.open({});
    const cause = await new Promise<unknown>((resolve) => stream.once('error', resolve));
    assert.ok(cause instanceof StreamEnded);
    assert.deepEqual([cause.code, cause.message], ['refused', 'You may not use orders. Ask for access.']);
    assert.equal(client.size, 0);
  });

  it('free both sides when one is destroyed in mid-flow', async () => {
    const streams: MuxStream[] = [];
    const { client, server } = muxPair((_opening, stream) => {
      streams.push(stream);
      stream.write(Buffer.alloc(500_000));
    });
    const stream = client.open({});
    stream.once('data', () => stream.destroy());
    await until(() => streams.length === 1 && streams[0]?.destroyed === true);
    await until(() => client.size === 0 && server.size === 0);
  });

  it('all end with the sentence when the channel is gone, and no more can be opened', async () => {
    const { client } = muxPair(() => {});
    const before = client.open({});
    const ended = new Promise<Error>((resolve) => before.once('error', resolve));
    client.close('gateway-unreachable', 'The gateway cannot be reached.');
    assert.equal((await ended).message, 'The gateway cannot be reached.');
    const after = client.open({});
    assert.ok(after.destroyed);
  });

  it('are refused beyond the cap, and the others go on', async () => {
    const streams: MuxStream[] = [];
    const { client } = muxPair((_opening, stream) => void streams.push(stream), { maxStreams: 3 });
    const open = [1, 2, 3, 4].map(() => client.open({}));
    assert.deepEqual(
      open.map((stream) => stream.destroyed),
      [false, false, false, true],
    );
    open[0]?.write('still');
    await until(() => streams.length === 3);
    assert.equal(String((await new Promise((resolve) => streams[0]?.once('data', resolve))) as Buffer), 'still');
  });
});

describe('a peer that breaks the rules', () => {
  const open = (stream: number): Buffer => message({ type: FRAME.open, stream, payload: OPENING });

  it('is thrown out for bytes that are no frames', () => {
    const cases: readonly (readonly [string, Buffer])[] = [
      ['half a header', Buffer.concat([Buffer.alloc(DATA_HEADER_BYTES), Buffer.from([1, 0, 0])])],
      ['an unknown type', message({ type: 99, stream: 1 })],
      ['a length beyond the message', message({ type: FRAME.data, stream: 1, length: 100 })],
      ['a length beyond any', message({ type: FRAME.data, stream: 1, length: 0xffff_ffff })],
      ['an empty data frame', Buffer.concat([open(1), message({ type: FRAME.data, stream: 1 }).subarray(DATA_HEADER_BYTES)])],
      ['an end with a payload', message({ type: FRAME.end, stream: 1, payload: OPENING })],
      ['an opening of an even id', open(2)],
      ['an opening of id 0', open(0)],
      ['data for what was never opened', message({ type: FRAME.data, stream: 1, payload: OPENING })],
      ['data for a stream of ours that was never opened', message({ type: FRAME.data, stream: 2, payload: OPENING })],
      ['a grant of nothing', Buffer.concat([open(1), message({ type: FRAME.credit, stream: 1, payload: creditPayload(0) }).subarray(DATA_HEADER_BYTES)])],
      [
        'a grant beyond all',
        Buffer.concat([open(1), message({ type: FRAME.credit, stream: 1, payload: creditPayload(0xffff_ffff) }).subarray(DATA_HEADER_BYTES)]),
      ],
      ['a reset that is no JSON', Buffer.concat([open(1), message({ type: FRAME.reset, stream: 1, payload: Buffer.from('{') }).subarray(DATA_HEADER_BYTES)])],
    ];
    for (const [what, bytes] of cases) assert.throws(() => lone().take(bytes), TunnelViolation, what);
  });

  it('is thrown out for an id used twice, or out of order', () => {
    const { take } = lone();
    take(open(5));
    assert.throws(() => take(open(5)), TunnelViolation);
    assert.throws(() => take(open(3)), TunnelViolation);
  });

  it('is thrown out for sending more than was granted', () => {
    const { take } = lone();
    take(open(1));
    take(message({ type: FRAME.data, stream: 1, payload: Buffer.alloc(FIRST_CREDIT_BYTES) }));
    assert.throws(() => take(message({ type: FRAME.data, stream: 1, payload: Buffer.alloc(FIRST_CREDIT_BYTES) })), TunnelViolation);
  });

  it('is thrown out for going on after the end', () => {
    const { take } = lone();
    take(open(1));
    take(message({ type: FRAME.end, stream: 1 }));
    assert.throws(() => take(message({ type: FRAME.data, stream: 1, payload: OPENING })), TunnelViolation);
  });

  it('is thrown out for granting without end', () => {
    const { take } = lone();
    take(open(1));
    assert.throws(() => {
      for (let i = 0; i < 3; i++) take(message({ type: FRAME.credit, stream: 1, payload: creditPayload(MAX_CREDIT_BYTES) }));
    }, TunnelViolation);
  });

  it('is thrown out for opening and resetting streams without end', () => {
    const { take } = lone();
    assert.throws(() => {
      for (let i = 1; i < 20_000; i += 2)
        take(message({ type: FRAME.open, stream: i, payload: OPENING }, { type: FRAME.reset, stream: i, payload: Buffer.from('{"code":"","sentence":""}') }));
    }, TunnelViolation);
  });

  it('may not open streams where only this side does', () => {
    const mux = new Mux({ role: 'client', channel: { ready: true, send: () => {} }, now: () => 0 });
    assert.throws(() => mux.receive(open(2), DATA_HEADER_BYTES), TunnelViolation);
  });

  it('is ignored on a stream that has ended here and not yet there', async () => {
    const { take, streams } = lone();
    take(open(1));
    streams[0]?.destroy();
    await turn();
    take(message({ type: FRAME.data, stream: 1, payload: OPENING }, { type: FRAME.end, stream: 1 }));
  });

  it('cannot crash it, whatever it sends', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            type: fc.integer({ min: 0, max: 7 }),
            stream: fc.integer({ min: 0, max: 12 }),
            payload: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
          }),
          { maxLength: 30 },
        ),
        (frames) => {
          const { take } = lone();
          try {
            for (const frame of frames) take(message(frame));
          } catch (cause) {
            assert.ok(cause instanceof TunnelViolation);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

async function readSlowly(stream: MuxStream, slow: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  // As it is, the end of the loop would destroy the other direction too.
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk as Buffer);
    for (let i = 0; i < slow; i++) await turn();
  }
  return Buffer.concat(chunks);
}

async function write(stream: MuxStream, bytes: Buffer, chunk: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += chunk) {
    if (!stream.write(bytes.subarray(at, at + chunk))) await new Promise((resolve) => stream.once('drain', resolve));
  }
  stream.end();
}
