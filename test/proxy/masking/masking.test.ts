import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { MASK_KINDS, type MaskKind } from '../../../contract/verdict.ts';
import { DETECTORS } from '../../../proxy/masking/detectors/index.ts';
import { createSessionMasking, shapeOf, TokenVault } from '../../../proxy/masking/masking.ts';
import { parseSample, SAMPLES } from './samples.ts';

const KEY = new Uint8Array(32).fill(7);
const session = (otherwise: MaskKind, detectors: [string, MaskKind | 'off'][] = []) =>
  createSessionMasking({ plan: { columns: new Map(), detectors: new Map(detectors), otherwise }, hashKey: KEY, vault: new TokenVault(KEY) });

/** Text in which sensitive values, their pieces, and what confuses a scanner stand side by side. */
const pieces = fc.oneof(
  fc.constantFrom(...SAMPLES.map((s) => parseSample(s.text).plain)),
  fc.constantFrom(...SAMPLES.flatMap((s) => parseSample(s.text).spans)),
  fc.constantFrom(
    '"',
    '\\',
    '\\n',
    ' ',
    '\n',
    ':',
    '=',
    '@',
    '.',
    '-',
    '--',
    '+',
    '(',
    '0',
    '1234',
    'a',
    'é',
    '\ud83d\ude00',
    '\ud83d',
    '\u00a0',
    '••••',
    '‹redacted›',
    '4',
    'password',
    'ssn: ',
    'phone ',
    'eyJ',
    '://u:',
  ),
  fc.string({ maxLength: 12 }),
  fc.string({ maxLength: 6, unit: 'binary' }),
);
const texts = fc.array(pieces, { maxLength: 14 }).map((p) => p.join(''));
/** Cut points as fractions of the text. */
const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });

/** The same texts every time: a failure is a change, never luck. Longer hunts change it. */
const SEED = 20_261_120;

describe('masking', () => {
  it('writes each kind of mask in its own form', () => {
    const of = (kind: MaskKind, value: string, label = 'email') => session(kind).mask(value, kind, label);
    assert.equal(of('redact', 'ann@ex.org'), '‹redacted›');
    assert.equal(of('partial', 'ann@ex.org'), 'a•••@ex.org');
    assert.equal(of('partial', 'a@ex.org'), '•••@ex.org');
    assert.equal(of('partial', '4111 1111 1111 1111'), '••••1111');
    assert.equal(of('partial', '+1 415 555 2671'), '••••71');
    assert.equal(of('partial', 'Ann'), '••••');
    assert.equal(of('partial', 'GB82WEST12345698765432'), '••••432');
    assert.match(of('hash', 'ann@ex.org'), /^‹email·[0-9a-f]{6}›$/);
    assert.match(of('token', 'ann@ex.org', 'customers.email'), /^‹email·1·[bcdfghjkmnpqrstvwxyz]{5}›$/);
  });

  it('shows at most a third of a value in a partial mask, the domain of an address aside', () => {
    const masking = session('partial');
    fc.assert(
      fc.property(fc.string({ maxLength: 60, unit: 'grapheme' }), (value) => {
        const shown = masking.mask(value, 'partial', 'x').replaceAll('•', '');
        if (!value.includes('@')) assert.ok(shown.length * 3 <= value.length, `${shown} of ${value}`);
      }),
    );
  });

  it('gives equal values the same token within a session, and the same hash in every session', () => {
    const one = session('token');
    const two = session('token');
    const [first, second, again] = one.scrub('b@ex.org a@ex.org b@ex.org').text.split(' ');
    assert.match(`${first} ${second}`, /^‹email·1·[a-z]{5}› ‹email·2·[a-z]{5}›$/);
    assert.equal(again, first);
    assert.match(two.scrub('a@ex.org').text, /^‹email·1·[a-z]{5}›$/);
    assert.match(one.mask('4111111111111111', 'token', 'card'), /^‹card·1·[a-z]{5}›$/);
    assert.equal(one.mask('a@ex.org', 'hash', 'email'), two.mask('a@ex.org', 'hash', 'email'));
    const other = createSessionMasking({ plan: { columns: new Map(), detectors: new Map(), otherwise: 'hash' }, hashKey: new Uint8Array(32) });
    assert.notEqual(one.mask('a@ex.org', 'hash', 'email'), other.mask('a@ex.org', 'hash', 'email'));
  });

  it('follows the plan for each detector, and leaves alone what is switched off', () => {
    const masking = session('redact', [
      ['email', 'off'],
      ['card', 'partial'],
    ]);
    assert.equal(masking.scrub('ann@ex.org 4111111111111111 123-45-6789').text, 'ann@ex.org ••••1111 ‹redacted›');
  });

  it('says of each finding what it was, where it stands in the masked text, and never the value', () => {
    const { text, findings } = session('partial').scrub('to ann@ex.org, 123-45-6789');
    assert.deepEqual(
      findings.map((f) => [f.by, text.slice(...f.at), f.shape]),
      [
        ['email', 'a•••@ex.org', '•••@••.•••'],
        ['us-ssn', '••••89', '•••-••-••••'],
      ],
    );
  });

  it('masks what is left of a value whose beginning belongs to another', () => {
    const { text } = session('partial').scrub('postgres://u:s3cr!et@db.example.org/x');
    assert.equal(text, 'postgres://u:••••@db.example.org/x');
    assert.ok(!session('partial').scrub('4111111111111111@ex.org').text.includes('411111'));
  });

  it('outlines a value by shape alone', () => {
    assert.equal(shapeOf('Ann.Lee@ex.org'), '•••.•••@••.•••');
    assert.equal(shapeOf('x'.repeat(500)).length, 64);
    assert.ok(!/[A-Za-z0-9]/.test(shapeOf('p$&w0rd!é')));
  });

  it('gives the same text in pieces as in one, wherever it is cut', () => {
    fc.assert(
      fc.property(texts, cuts, fc.constantFrom(...MASK_KINDS), (text, at, kind) => {
        const whole = session(kind).scrub(text);
        const stream = session(kind).stream();
        const points = [0, ...at.map((f) => Math.floor(f * text.length)).sort((a, b) => a - b), text.length];
        let out = '';
        let found = 0;
        const take = (s: ReturnType<typeof stream.push>) => {
          for (const f of s.findings) assert.ok(f.at[1] <= s.text.length);
          out += s.text;
          found += s.findings.length;
        };
        for (let i = 1; i < points.length; i++) take(stream.push(text.slice(points[i - 1], points[i])));
        take(stream.end());
        assert.equal(out, whole.text);
        assert.equal(found, whole.findings.length);
      }),
      { numRuns: 2000, seed: SEED },
    );
  });

  it('gives the same text in single characters as in one', () => {
    const text = SAMPLES.map((s) => parseSample(s.text).plain).join('\n');
    const stream = session('token').stream();
    let out = '';
    for (let i = 0; i < text.length; i++) out += stream.push(text.charAt(i)).text;
    assert.equal(out + stream.end().text, session('token').scrub(text).text);
  });

  it('finds nothing in what it has masked', () => {
    fc.assert(
      fc.property(texts, fc.constantFrom(...MASK_KINDS), (text, kind) => {
        const masking = session(kind);
        const once = masking.scrub(text).text;
        assert.equal(masking.scrub(once).text, once);
      }),
      { numRuns: 2000, seed: SEED },
    );
  });

  it('finds nothing either where two values stand without a break between them', () => {
    for (const text of [
      'ghp_a1B2c3D4e5F6g7H8a1B2c3D4e5F6g7H8a1B2xoxb-a1B2c3D4e5F6g7H8a1B2c3D4e5F6g7H8a1B2c3D4',
      'A@eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U',
      'nl91abna0417164300.(415) 555-2671',
      'xoxb-a1B2c3D4e5F6g7H8a1B2c3D4e5F6g7H8a1B2c3D4GB82 WEST 1234 5698 7654 32',
      '4242424242424242 4242 4242 4242',
      'ann.lee@example.org0.4111111111111111',
      'KEY1-123-45-6789.eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U',
      '://u:<ann.lee@example.org',
      '://u:\u0000kim%40example.com',
      'https://hooks.slack.com/services/a1B2c3D4e5F6g7H8a1B2c3D4e5F6g7H8a1B2c3D4:%@',
      'API_KEY=0123456789abcdef+(415) 555-2671',
    ]) {
      for (const kind of MASK_KINDS) {
        const once = session(kind).scrub(text).text;
        assert.equal(session(kind).scrub(once).text, once, kind);
      }
    }
  });

  it('never calls clean what it would mask', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const bytes = Buffer.from(text);
        const masking = session('redact');
        if (masking.scrub(bytes.toString()).findings.length > 0) assert.ok(masking.suspicious(bytes));
      }),
      { numRuns: 2000, seed: SEED },
    );
  });

  it('never splits a surrogate pair between two pieces', () => {
    const stream = session('redact').stream();
    const text = '\ud83d\ude00'.repeat(400);
    let bytes = Buffer.alloc(0);
    for (let i = 0; i < text.length; i += 7) bytes = Buffer.concat([bytes, Buffer.from(stream.push(text.slice(i, i + 7)).text)]);
    bytes = Buffer.concat([bytes, Buffer.from(stream.end().text)]);
    assert.equal(bytes.toString(), text);
  });

  it('holds back little, whatever goes on without an end', () => {
    const longest = Math.max(...DETECTORS.map((d) => d.longest));
    for (const run of [
      'a',
      '4',
      '4 ',
      '=',
      'eyJ',
      'eyJa.',
      '@',
      '-----BEGIN PRIVATE KEY-----',
      'ghp_',
      'password=',
      'password: "',
      '://u:',
      'a@b.',
      '\\',
      '\\n',
      'GB82',
      '+1',
      'é',
    ]) {
      const stream = session('redact').stream();
      const chunk = run.repeat(Math.ceil(16_384 / run.length));
      let pushed = 0;
      let out = 0;
      let masked = 0;
      for (let i = 0; i < 5; i++) {
        const { text, findings } = stream.push(chunk);
        pushed += chunk.length;
        out += text.length;
        masked += findings.length;
        if (masked === 0) assert.ok(pushed - out <= longest + 512, `${run}: holds back ${pushed - out}`);
      }
      stream.end();
    }
  });

  it('streams ten megabytes without a boundary in bounded memory and time', () => {
    const stream = session('redact').stream();
    const chunk = 'x7'.repeat(32_768);
    let longest = 0;
    let total = 0;
    for (let i = 0; i < 160; i++) {
      const { text } = stream.push(chunk);
      total += text.length;
      longest = Math.max(longest, text.length);
    }
    total += stream.end().text.length;
    assert.equal(total, 160 * chunk.length);
    assert.ok(longest <= 2 * chunk.length);
  });

  it('takes no longer than plain over hostile text', () => {
    const masking = session('redact');
    const size = 40_000;
    for (const run of [
      'a@',
      '@',
      '1-',
      '1 ',
      '4111 ',
      'password=',
      'password="\\',
      '://a:',
      '-----BEGIN PRIVATE KEY-----',
      'eyJaaaaaaaa.',
      'xoxb-',
      '(',
      'phone ',
      'tel:1',
      'call is at is at ',
      'a.a.a@a.',
      'GB82 ',
      '\\u0040',
      'bearer ',
      "password '",
    ]) {
      const text = run.repeat(size / run.length);
      const before = process.cpuUsage();
      masking.scrub(text);
      const { user } = process.cpuUsage(before);
      assert.ok(user < 1_500_000, `${run}: ${user / 1000} ms for ${size} characters`);
    }
  });

  it('reaches a usable speed on JSON rows', (t) => {
    const masking = session('redact');
    const rows = (email: boolean) =>
      Array.from({ length: 8000 }, (_, i) =>
        JSON.stringify({
          id: i,
          name: `Some Body ${i}`,
          ...(email && { email: `p${i}@example.org` }),
          status: 'paid',
          total: (i * 1.37).toFixed(2),
          created: '2026-11-20T12:49:37.123Z',
          note: 'lorem ipsum dolor sit amet consectetur',
        }),
      ).join('\n');
    for (const [name, text] of [
      ['clean', rows(false)],
      ['one address a row', rows(true)],
    ] as const) {
      const bytes = Buffer.from(text);
      const rate = (work: () => unknown) => {
        work();
        const started = performance.now();
        for (let i = 0; i < 5; i++) work();
        return Math.round((5 * text.length) / 1000 / (performance.now() - started));
      };
      t.diagnostic(`${name}: scrub ${rate(() => masking.scrub(text))} MB/s, suspicious ${rate(() => masking.suspicious(bytes))} MB/s`);
      assert.equal(masking.scrub(text).findings.length, name === 'clean' ? 0 : 8000);
    }
  });
});
