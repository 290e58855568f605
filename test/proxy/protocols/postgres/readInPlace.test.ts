import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, connect as netConnect, type Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import { readInPlace } from '../../../../proxy/protocols/postgres/readInPlace.ts';
import { until } from '../../../support/soon.ts';

async function sockets(t: TestContext): Promise<{ readonly here: Socket; readonly there: Socket }> {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const there = netConnect(typeof address === 'object' && address ? address.port : 0, '127.0.0.1');
  const [here] = (await once(server, 'connection')) as [Socket];
  t.after(() => {
    there.destroy();
    here.destroy();
    server.close();
  });
  return { here, there };
}

describe('a socket that is read in place', () => {
  it('reads every byte in order into the same memory, where each chunk was used up', async (t) => {
    const { here, there } = await sockets(t);
    const memory = new Set<ArrayBufferLike>();
    let text = '';
    const { stream } = readInPlace(here, (chunk) => {
      memory.add(chunk.buffer);
      text += chunk.toString();
      return true;
    });
    stream.resume();
    let sent = '';
    for (let i = 0; i < 50; i++) {
      const line = `${'x'.repeat(i * 100)}${i}\n`;
      sent += line;
      there.write(line);
      await until('the bytes', () => text.length === sent.length);
    }
    assert.equal(text, sent);
    assert.equal(memory.size, 1);
  });

  it('never writes over a chunk that is still referred to', async (t) => {
    const { here, there } = await sockets(t);
    const kept: Buffer[] = [];
    const { stream } = readInPlace(here, (chunk) => {
      kept.push(chunk);
      return kept.length % 3 === 0;
    });
    stream.resume();
    const sent = ['one', 'two', 'three', 'four', 'five', 'six', 'seven'];
    for (const [i, word] of sent.entries()) {
      there.write(word);
      await until('the bytes', () => kept.length === i + 1);
    }
    // What was given back may be written over, and nothing else.
    for (const [i, word] of sent.entries()) if (i % 3 !== 2) assert.equal(kept[i]?.toString(), word);
  });

  it('gives what the stream had read ahead, once, and goes on behind it', async (t) => {
    const { here, there } = await sockets(t);
    here.on('data', () => {});
    here.pause();
    here.removeAllListeners('data');
    here.read(0);
    there.write('ahead');
    await until('the bytes', () => here.readableLength === 5);
    let text = '';
    const { ahead, stream } = readInPlace(here, (chunk) => {
      text += chunk.toString();
      return true;
    });
    assert.equal(Buffer.concat(ahead).toString(), 'ahead');
    stream.resume();
    there.write(' and behind');
    await until('the bytes', () => text === ' and behind');
  });

  it('still writes, pauses, ends and closes', async (t) => {
    const { here, there } = await sockets(t);
    let text = '';
    const { stream } = readInPlace(here, (chunk) => {
      text += chunk.toString();
      return true;
    });
    stream.resume();
    const heard = once(there, 'data');
    stream.write('hello');
    assert.equal(String((await heard)[0]), 'hello');
    stream.pause();
    there.write('later');
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(text, '');
    stream.resume();
    await until('the bytes', () => text === 'later');
    const ended = once(stream, 'end');
    const closed = once(stream, 'close');
    there.end();
    await ended;
    await closed;
    assert.equal(stream.destroyed, true);
  });

  it('is a stream as before where it is no plain socket', async () => {
    const [a, b]: Duplex[] = duplexPair();
    assert.ok(a && b);
    let text = '';
    const { ahead, stream } = readInPlace(a, (chunk) => {
      text += chunk.toString();
      return true;
    });
    assert.equal(stream, a);
    assert.deepEqual(ahead, []);
    b.write('through the pair');
    await until('the bytes', () => text === 'through the pair');
  });
});
