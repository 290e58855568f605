import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import { createSessionMasking } from '../../../../../proxy/masking/masking.ts';
import { ErrorOutput, linesOf } from '../../../../../proxy/protocols/mcp/upstream/errorOutput.ts';

const masking = createSessionMasking({ plan: { columns: new Map(), detectors: new Map(), otherwise: 'redact' }, hashKey: new Uint8Array(32) });
const output = (): ErrorOutput =>
  new ErrorOutput(
    () => 5,
    (text) => masking.scrub(text).text,
  );
const texts = (of: ErrorOutput, count?: number): string[] => of.lines(count).map(({ text }) => text);

describe('what a server writes to its standard error', () => {
  it('is kept by lines, the last of them, whatever the chunks', () => {
    const kept = output();
    const lines = linesOf((line) => kept.add(7, line));
    for (const byte of Buffer.from('ein\n\nzwölf\r\nlast')) lines.write(Buffer.from([byte]));
    assert.deepEqual(texts(kept), ['ein', 'zwölf']);
    lines.end();
    assert.deepEqual(kept.lines(1), [{ at: 5, process: 7, by: 'server', text: 'last' }]);
    for (let i = 0; i < 1_000; i++) kept.add(7, `${i}`);
    assert.equal(texts(kept).length, 100);
    assert.deepEqual(texts(kept, 2), ['998', '999']);
  });

  it('is masked, a key of many lines too', () => {
    const kept = output();
    kept.add(7, 'paid with 4111 1111 1111 1111');
    assert.deepEqual(texts(kept), ['paid with ‹redacted›']);
    const { privateKey } = generateKeyPairSync('ed25519');
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString().trim();
    for (const line of key.split('\n')) kept.add(7, line);
    kept.add(7, 'after it');
    const shown = texts(kept).join('\n');
    for (const line of key.split('\n').slice(1, -1)) assert.ok(!shown.includes(line), shown);
    assert.match(shown, /after it$/);
  });

  it('is made readable, and no line has no end', () => {
    const kept = output();
    kept.add(7, '\u001b[31mred\u001b[0m \u001b]0;title\u0007and \u202ehidden\u0000\u001b[2J');
    assert.deepEqual(texts(kept), ['red and hidden']);
    kept.add(7, 'x'.repeat(100_000));
    assert.equal(texts(kept, 1)[0]?.length, 500);
    const lines = linesOf((line) => kept.add(7, line));
    for (let i = 0; i < 1_000; i++) lines.write(Buffer.alloc(1_000, 'y'));
    lines.end();
    assert.ok((texts(kept, 1)[0]?.length ?? 0) <= 500);
  });
});
