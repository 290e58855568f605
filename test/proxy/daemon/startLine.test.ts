import assert from 'node:assert/strict';
import { PassThrough, Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { readStartLine } from '../../../proxy/daemon/startLine.ts';

const LINE = { secret: 's'.repeat(64), extensionVersion: '1.2.3' };

describe('the start line', () => {
  it('is read however it is cut, with its line end or without', async () => {
    const text = JSON.stringify(LINE);
    assert.deepEqual(await readStartLine(Readable.from(`${text}\nmore`.split(''))), LINE);
    assert.deepEqual(await readStartLine(Readable.from([Buffer.from(text)])), LINE);
  });

  it('is refused in every other shape, and its text is not repeated', async () => {
    const wrong = [
      '',
      '\n',
      '{}\n',
      '[1]\n',
      '\0\0\0\n',
      'canary\n',
      '{"secret":"canary","extensionVersion":"1"}\n',
      `{"secret":"${'s'.repeat(300)}","extensionVersion":"1"}\n`,
    ];
    for (const text of wrong) {
      await assert.rejects(
        readStartLine(Readable.from([text])),
        (error: Error & { code: string }) => error.code === 'start-line' && !error.message.includes('canary'),
        text,
      );
    }
  });

  it('is given up when it grows too long or does not come', async () => {
    const endless = new PassThrough();
    const reading = assert.rejects(readStartLine(endless), { code: 'start-line' });
    for (let i = 0; i < 10; i++) endless.write('x'.repeat(1_000));
    await reading;
    await assert.rejects(readStartLine(new PassThrough(), 20), { code: 'start-line' });
  });
});
