import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { parseStrict } from '../../../../proxy/http/strictJson.ts';
import { createSessionMasking, UNREAD_TEXT } from '../../../../proxy/masking/masking.ts';
import { maskJson, maskJsonInTurns, readableText } from '../../../../proxy/protocols/mcp/maskJson.ts';
import type { JsonObject } from '../../../../proxy/protocols/mcp/message.ts';

const masking = createSessionMasking({ plan: { columns: new Map(), detectors: new Map(), otherwise: 'redact' }, hashKey: new Uint8Array(32) });
const mask = (value: JsonObject) => maskJson(value, masking);

describe('masking of JSON', () => {
  it('reaches every string: content, structure, metadata, errors, names', () => {
    const { value, masked } = mask({
      content: [{ type: 'text', text: 'to ann@ex.org', annotations: { note: 'ann@ex.org' } }],
      structuredContent: { rows: [['123-45-6789', null, true]], 'ann@ex.org': 1 },
      _meta: { trace: { by: 'ann@ex.org' } },
      data: ['ann@ex.org'],
    });
    assert.equal(masked, 6);
    assert.ok(!/ann@|6789/.test(JSON.stringify(value)));
    assert.deepEqual(value.content, [{ type: 'text', text: 'to ‹redacted›', annotations: { note: '‹redacted›' } }]);
  });

  it('takes the name a value stands under into account', () => {
    const { value } = mask({ password: 'hunter2 with "quotes"', ssn: '536904399', phone: '020 7946 0958', number: '536904399', title: 'hunter2' });
    assert.deepEqual(value, { password: '‹redacted›', ssn: '‹redacted›', phone: '‹redacted›', number: '536904399', title: 'hunter2' });
  });

  it('keeps numbers numbers', () => {
    const { value } = mask({ card: 4111111111111111, count: 4111111111111112, small: 5, ssn: 536904399 });
    assert.deepEqual(value, { card: 0, count: 4111111111111112, small: 5, ssn: 0 });
  });

  it('keeps integers that were kept as written, unless they are sensitive', () => {
    const value = parseStrict('{"id":12345678901234567890,"card":4111111111111111000}') as JsonObject;
    assert.equal(JSON.stringify(mask(value).value), '{"id":12345678901234567890,"card":4111111111111111000}');
  });

  it('reads text that is hidden in base64, and leaves pictures alone', () => {
    const secret = Buffer.from('key: ann@ex.org').toString('base64');
    const picture = Buffer.from([137, 80, 78, 71, 1, 2, 3]).toString('base64');
    const { value } = mask({
      contents: [
        { uri: 'x://1', mimeType: 'text/plain', blob: secret },
        { uri: 'x://2', mimeType: 'image/png', blob: picture },
        { type: 'image', mimeType: 'image/png', data: 'no base64: ann@ex.org' },
      ],
    });
    const [text, image, fake] = value.contents as unknown as { blob: string; data: string }[];
    assert.equal(Buffer.from(text!.blob, 'base64').toString(), 'key: ‹redacted›');
    assert.equal(image!.blob, picture);
    assert.equal(fake!.data, 'no base64: ‹redacted›');
  });

  it('reads text in base64 whatever its type is said to be, or where none is, and in which field it stands', () => {
    const secret = 'first line\nkey: ann@ex.org\n';
    const encoded = Buffer.from(secret).toString('base64');
    const wide = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(secret, 'utf16le')]).toString('base64');
    const latin = Buffer.from('Zoë: ann@ex.org, in Latin-1', 'latin1').toString('base64');
    const wrapped = encoded.replace(/(.{20})/g, '$1\n');
    const { value } = mask({
      contents: [
        { uri: 'x://1', blob: encoded },
        { uri: 'x://2', mimeType: 'application/octet-stream', blob: encoded },
        { uri: 'x://3', mimeType: 'image/png', blob: encoded },
        { uri: 'x://4', mimeType: 'application/pdf', blob: wide },
        { uri: 'x://5', mimeType: 'application/octet-stream', blob: latin },
      ],
      content: [
        { type: 'blob', mimeType: 'application/octet-stream', data: encoded },
        { type: 'text', text: encoded },
      ],
      structuredContent: { encoding: 'base64', content: wrapped, list: [encoded.replace(/=+$/, '')] },
    });
    const all = JSON.stringify(value);
    assert.equal(all.match(/[A-Za-z0-9+/=]{20,}/g)?.length, 9, all);
    for (const [piece] of all.matchAll(/[A-Za-z0-9+/=]{20,}/g)) {
      const bytes = Buffer.from(piece, 'base64');
      const text = bytes[0] === 0xff ? bytes.toString('utf16le') : bytes.toString();
      assert.match(text, /‹redacted›/);
      assert.doesNotMatch(text, /ann@/);
    }
  });

  it('takes nothing for base64 that is a name, a hash, a number or bytes', () => {
    const picture = Buffer.from(Array.from({ length: 400 }, (_, i) => (i * 37) % 256)).toString('base64');
    const plain = {
      id: 'AbCdEfGhIjKlMnOpQrStUvWxYz',
      hash: 'da39a3ee5e6b4b0d3255bfef95601890afd80709',
      digits: '123456789012345678901234',
      picture,
      words: Buffer.from('nothing of interest, only words').toString('base64'),
    };
    assert.deepEqual(mask(plain).value, plain);
  });

  it('sees numbers that no double can hold, and passwords that are small ones', () => {
    // Nineteen digits: a double would make another number of it, which is no card's.
    const value = parseStrict('{"card":6212345678901234569,"negative":-4111111111111111,"password":471147,"pages":471147}') as JsonObject;
    assert.equal(JSON.stringify(mask(value).value), '{"card":0,"negative":0,"password":0,"pages":471147}');
  });

  it('changes nothing where nothing is sensitive', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.jsonValue()), (object) => {
        const value = JSON.parse(JSON.stringify(object)) as JsonObject;
        const result = mask(value);
        if (result.masked === 0) assert.deepEqual(result.value, value);
      }),
    );
  });

  it('keeps two names apart that look the same once masked', () => {
    assert.equal(Object.keys(mask({ 'a@ex.org': 1, 'b@ex.org': 2 }).value).length, 2);
  });

  it('keeps ten thousand of them apart, without counting from one for each', () => {
    const names = Array.from({ length: 10_000 }, (_, n) => [`user${n}@ex.org`, n]);
    const { value, masked } = mask(Object.fromEntries([['‹redacted› 3', 'mine'], ...names]) as JsonObject);
    assert.equal(masked, 10_000);
    assert.equal(Object.keys(value).length, 10_001);
    assert.equal(value['‹redacted› 2'], 1);
    assert.equal(value['‹redacted› 3'], 'mine');
    assert.equal(value['‹redacted› 10001'], 9_999);
  });

  it('lets others have their turn while it looks through what is long, and finds the same', async () => {
    const row = 'order 10442 for ann@ex.org, shipped to Utrecht\n';
    const long = { content: [{ type: 'text', text: row.repeat(10_000) }], rows: Array.from({ length: 20_000 }, (_, id) => ({ id, note: `${id} ann@ex.org` })) };
    let turns = 0;
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      turns++;
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const masked = maskJsonInTurns(long as JsonObject, masking);
    assert.ok(masked instanceof Promise);
    const { value, ...rest } = await masked;
    clearInterval(timer);
    assert.ok(turns > 5, `${turns} turns, the longest wait ${longest} ms`);
    assert.deepEqual(rest, { masked: 30_000, places: rest.places, unread: false });
    assert.equal((value.content as { text: string }[])[0]?.text, row.replace('ann@ex.org', '‹redacted›').repeat(10_000));
    assert.equal(JSON.stringify(value).includes('ann@'), false);
    assert.ok(!(maskJsonInTurns({ content: [{ type: 'text', text: row }] }, masking) instanceof Promise), 'what is short is there at once');
  });

  it('finds in a long text what lies in its Base64, and across the pieces that it is looked through in', async () => {
    const text = `${'x'.repeat(65_530)} card 4111 1111 1111 1111 ${'y '.repeat(40_000)}`;
    for (const long of [text, Buffer.from(text).toString('base64')]) {
      const { value, masked } = await maskJsonInTurns({ content: [{ text: long }], blob: long }, masking);
      assert.equal(masked, 2);
      const shown = [(value.content as { text: string }[])[0]?.text ?? '', value.blob as string];
      for (const one of shown) assert.ok(!`${one} ${Buffer.from(one, 'base64').toString()}`.includes('1111 1111'));
    }
  });

  it('lets nothing through of what it did not look at, and says so', async () => {
    const dear = 'ann@ex.org '.repeat(5_000);
    const many = {
      content: Array.from({ length: 40 }, (_, n) => ({ type: 'text', text: `${n} ${dear}` })),
      last: 'bob@ex.org',
      count: 4111111111111111,
      deep: { er: ['bob@ex.org'] },
    };
    const all = mask(many);
    assert.equal(all.unread, true);
    assert.equal(all.places.length, 1_000);
    assert.ok(!/@ex|41111/.test(JSON.stringify(all.value)));
    // In one text as in many.
    const one = await maskJsonInTurns({ text: dear.repeat(40) }, masking);
    assert.deepEqual([one.unread, one.value.text], [true, UNREAD_TEXT]);
  });

  it('lets nothing through after as much as is looked at, where an order must be kept', () => {
    const told = { level: 'info', data: ['y '.repeat(600), 'x '.repeat(600), 'bob@ex.org', { card: 4111111111111111 }] };
    const { value, unread } = maskJson(told, masking, 1_000);
    assert.deepEqual([unread, /@ex|41111/.test(JSON.stringify(value))], [true, false]);
    assert.deepEqual(maskJson(told, masking, 10_000).unread, false);
  });

  it('shows a person the text of a result, else all of it', () => {
    assert.equal(
      readableText({
        content: [
          { type: 'text', text: 'a' },
          { type: 'image', mimeType: 'image/png', data: 'x' },
          { type: 'resource', resource: { uri: 'u', text: 'b' } },
        ],
      }),
      'a\n[image/png]\nb',
    );
    assert.equal(readableText({ contents: [{ uri: 'u', text: 'c' }] }), 'c');
    assert.equal(readableText({ messages: [{ role: 'user', content: { type: 'text', text: 'd' } }] }), 'd');
    assert.equal(readableText({ completion: { values: [] } }), '{\n  "completion": {\n    "values": []\n  }\n}');
  });
});
