import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describe, it } from 'node:test';
import { Outbox } from '../../../../proxy/protocols/postgres/outbox.ts';

/** Takes everything at once, and may well keep it. */
const eager = (): Duplex => new Duplex({ read() {}, write: (_chunk, _encoding, callback) => callback() });

describe('what is on its way to one side', () => {
  it('is taken for gone only where the stream is a socket that has written it', () => {
    const socket = new Socket();
    Object.defineProperty(socket, 'write', { value: () => true });
    for (const [stream, gone] of [
      [socket, true],
      [eager(), false],
    ] as const) {
      const out = new Outbox();
      assert.equal(out.free, true);
      out.range(Buffer.from('abc'), 0, 2);
      assert.equal(out.free, false);
      assert.equal(out.letGo(stream), false);
      out.flush(stream);
      assert.equal(out.free, false);
      assert.equal(out.letGo(stream), gone);
      assert.equal(out.free, gone);
    }
  });

  it('is one write where ranges of one buffer touch', () => {
    const written: string[] = [];
    const out = new Outbox();
    const buffer = Buffer.from('abcdef');
    out.range(buffer, 1, 3);
    out.range(buffer, 3, 5);
    out.flush(
      new Duplex({
        read() {},
        write: (chunk: Buffer, _encoding, callback) => {
          written.push(chunk.toString());
          callback();
        },
      }),
    );
    assert.deepEqual(written, ['bcde']);
  });
});
