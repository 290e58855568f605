import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { MASK_KINDS } from '../../../contract/verdict.ts';
import { createSessionMasking, MASK_ROOM, TokenVault } from '../../../proxy/masking/masking.ts';

const masking = () =>
  createSessionMasking({
    plan: { columns: new Map(), detectors: new Map(), otherwise: 'redact' },
    hashKey: Buffer.alloc(32, 7),
    vault: new TokenVault(Buffer.alloc(32, 8)),
  });

/** Values near every form that a partial mask knows, and anything else. */
const value = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()),
  fc.emailAddress(),
  fc.string({ unit: fc.constantFrom('a', 'Z', '4', '@', '.', '-', ' ', '(', '+', '/', '•', 'é', '\n', '_') }),
  fc.string({ unit: fc.constantFrom('4', '0', '9', ' ', '-', '.') }),
  fc.tuple(fc.constantFrom('', 'a', 'ab'), fc.integer({ min: 250, max: 260 })).map(([local, domain]) => `${local}@${'d'.repeat(domain)}`),
);

describe('a mask from bytes to bytes', () => {
  for (const kind of MASK_KINDS) {
    it(`is what the mask of the text is, within the room it asks for: ${kind}`, () => {
      const inBytes = masking().byteMask(kind, 'customers.email');
      const text = masking();
      fc.assert(
        fc.property(value, fc.nat(5), (original, before) => {
          const source = Buffer.concat([Buffer.alloc(before, 64), Buffer.from(original), Buffer.from('@1')]);
          const end = source.length - 2;
          const target = Buffer.alloc(end + MASK_ROOM + 3, 1);
          const done = inBytes(source, before, end, target, 3);
          assert.ok(done - 3 <= end - before + MASK_ROOM);
          assert.equal(target.toString('utf8', 3, done), text.mask(original, kind, 'customers.email').toWellFormed());
        }),
        { numRuns: 2000 },
      );
    });
  }
});

describe('a glance at a value', () => {
  it('never passes over what is found in it', () => {
    const session = masking();
    const near = fc.oneof(
      value,
      fc.constantFrom(
        'DE89 3704 0044 0532 0130 00',
        'sk-ant-api03-abcdefghijklmnopqrstuvwx',
        'ghp_0123456789abcdefghijABCDEFGHIJ012345',
        '4111 1111 1111 1111',
        '078-05-1120',
      ),
      fc.constantFrom(
        'password: hunter2hunter2',
        'Bearer abcdefghijklmnop1234',
        'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl',
        'a%40b.example',
        '+49 30 901820',
      ),
    );
    fc.assert(
      fc.property(fc.array(near, { minLength: 1, maxLength: 3 }), fc.constantFrom('', ' ', '\\n', 'é', '%0A'), (parts, between) => {
        const text = parts.join(between);
        const bytes = Buffer.from(`@${text}@`);
        if (session.scrub(text).findings.length > 0) assert.ok(session.mayHold(bytes, 1, bytes.length - 1), text);
      }),
      { numRuns: 5000 },
    );
    assert.equal(session.mayHold(Buffer.from('Utrecht, Tromsø'), 0, 16), false);
  });
});
