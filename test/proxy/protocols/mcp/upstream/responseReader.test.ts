import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { Problem } from '../../../../../contract/problem.ts';
import { ResponseReader } from '../../../../../proxy/protocols/mcp/upstream/responseReader.ts';

interface Read {
  readonly status: number | undefined;
  readonly headers: Record<string, unknown>;
  readonly reusable: boolean;
  readonly body: string;
  readonly ended: boolean;
  readonly after: number;
}

/** What is read of some bytes, and of the connection's end where `ends`; a sentence where they are refused. */
function read(chunks: readonly Buffer[], ends = false): Read | string {
  let head: { status: number; headers: Record<string, unknown>; reusable: boolean } | undefined;
  let body = '';
  let ended = false;
  let after = 0;
  const reader = new ResponseReader({
    onHead: (got) => (head = { status: got.status, headers: { ...got.headers }, reusable: got.reusable }),
    onData: (chunk) => (body += chunk.toString('latin1')),
    onEnd: () => (ended = true),
  });
  try {
    for (const chunk of chunks) after += reader.write(chunk);
    if (ends) reader.end();
  } catch (cause) {
    assert.ok(cause instanceof Problem || (cause as { code?: string }).code === 'ECONNRESET', String(cause));
    return `${body}! ${(cause as Error).message}`;
  }
  return { status: head?.status, headers: head?.headers ?? {}, reusable: head?.reusable ?? false, body, ended, after };
}

function refused(text: string): void {
  const got = read([Buffer.from(text, 'latin1')], true);
  assert.equal(typeof got, 'string', `was read: ${text}`);
}

const CHUNKED =
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nx-a:  2 \r\n\r\n5;name="x"\r\nhello\r\n1\r\n \r\n05\r\nworld\r\n0\r\nTrailer: x\r\n\r\n';

describe('an answer over HTTP', () => {
  it('is read whole: by its length, in chunks, or until the server hangs up', () => {
    const plain = read([Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd')]) as Read;
    assert.deepEqual([plain.status, plain.body, plain.ended, plain.after, plain.reusable], [200, 'abc', true, 1, true]);
    const chunked = read([Buffer.from(CHUNKED)]) as Read;
    assert.deepEqual([chunked.body, chunked.ended, chunked.headers['x-a'], chunked.reusable], ['hello world', true, '1, 2', true]);
    const open = read([Buffer.from('HTTP/1.0 200 OK\r\n\r\nab'), Buffer.from('c')], true) as Read;
    assert.deepEqual([open.body, open.ended, open.reusable], ['abc', true, false]);
    const none = read([Buffer.from('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: keep-alive, Close\r\n\r\n')]) as Read;
    assert.deepEqual([none.ended, none.reusable], [true, false]);
    for (const bodiless of ['204 No Content', '304 Not Modified']) assert.equal((read([Buffer.from(`HTTP/1.1 ${bodiless}\r\n\r\n`)]) as Read).ended, true);
  });

  it('is the same however it is cut', () => {
    const bytes = Buffer.from(CHUNKED);
    const whole = read([bytes]);
    for (let cut = 1; cut < bytes.length; cut++) assert.deepEqual(read([bytes.subarray(0, cut), bytes.subarray(cut)]), whole, `cut at ${cut}`);
    assert.deepEqual(read(Array.from(bytes, (byte) => Buffer.of(byte))), whole);
    const piece = fc.constantFrom(
      'HTTP/1.1 200 OK\r\n',
      'Content-Length: 2\r\n',
      'Transfer-Encoding: chunked\r\n',
      '\r\n',
      'a',
      '2\r\n',
      '0\r\n',
      ' ',
      ':',
      'é',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), fc.nat(), fc.nat(), (pieces, one, other) => {
        const all = Buffer.from(pieces.join(''), 'latin1');
        const [a, b] = [one % (all.length + 1), other % (all.length + 1)].sort((x, y) => x - y) as [number, number];
        const [cut, uncut] = [read([all.subarray(0, a), all.subarray(a, b), all.subarray(b)], true), read([all], true)];
        assert.deepEqual(cut, uncut);
      }),
    );
  });

  it('that could be read in two ways is refused', () => {
    for (const head of [
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2',
      'HTTP/1.1 200 OK\r\nContent-Length: 1, 2',
      'HTTP/1.1 200 OK\r\nContent-Length: +1',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked',
      'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked',
      'HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Type: b',
      'HTTP/1.1 200 OK\r\nX: a\r\n folded',
      'HTTP/1.1 200 OK\r\nX : a',
      'HTTP/1.1 200 OK\r\nX: a\nY: b',
      'HTTP/1.1 200 OK\r\nX: a\0b',
      'HTTP/1.1 200 OK\r\nnothing',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x',
      'HTTP/2 200 OK',
      'HTTP/1.1 2000 OK',
      'ICY 200 OK',
    ])
      refused(`${head}\r\n\r\n0\r\n\r\n`);
    for (const chunks of ['x\r\n', '-1\r\n', '0x1\r\na\r\n', '1\r\nab\r\n0\r\n\r\n', '1\ra\r\n', `${'0'.repeat(2000)}\r\n`, 'fffffffffffff\r\n'])
      refused(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`);
    refused('HTTP/1.1 100 Continue\r\n\r\n'.repeat(30));
  });

  it('that breaks off is not taken for a whole one', () => {
    for (const text of [
      '',
      'HTTP/1.1 200 OK\r\nContent-Le',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
    ])
      refused(text);
  });

  it('has headers of a bounded length, however they arrive', () => {
    const line = Buffer.from(`X: ${'a'.repeat(1000)}\r\n`);
    assert.equal(typeof read([Buffer.from('HTTP/1.1 200 OK\r\n'), ...Array.from({ length: 100 }, () => line)]), 'string');
  });
});
