import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { HandedSecrets, knowing } from '../../../proxy/masking/handedSecrets.ts';
import { createSessionMasking } from '../../../proxy/masking/masking.ts';

const plain = createSessionMasking({ plan: { columns: new Map(), detectors: new Map(), otherwise: 'redact' }, hashKey: new Uint8Array(32) });

function masking(...given: string[]): ReturnType<typeof knowing> {
  const secrets = new HandedSecrets();
  for (const one of given) secrets.add(one);
  return knowing(plain, secrets);
}

describe('masking that knows what we hand to a server', () => {
  it('takes out a secret of any form, as it is and as it stands in an address', () => {
    const known = masking('correct horse battery');
    assert.equal(known.scrub('it is correct horse battery.').text, 'it is ‹redacted›.');
    assert.equal(known.scrub('?token=correct%20horse%20battery&x').text.includes('horse'), false);
  });

  it('takes out the credential of a header without its scheme', () => {
    assert.equal(masking('Bearer abc-def-ghi').scrub('you said abc-def-ghi').text, 'you said ‹redacted›');
  });

  it('goes on finding everything else, at the right places', () => {
    const { text, findings } = masking('hunter-two').scrub('hunter-two of ada@example.org, hunter-two');
    assert.ok(!/hunter|ada@example/.test(text), text);
    assert.deepEqual(
      findings.map(({ at: [from, to], by }) => [by, text.slice(from, to)]),
      [
        ['secret', '‹redacted›'],
        ['email', '‹redacted›'],
        ['secret', '‹redacted›'],
      ],
    );
  });

  it('leaves alone what is too short to be told from anything else', () => {
    assert.equal(masking('prod').scrub('in prod').text, 'in prod');
  });

  it('forgets the one that was handed out longest ago, whatever its length', () => {
    const secrets = new HandedSecrets();
    const long = `long-${'x'.repeat(100)}`;
    secrets.add(long);
    for (let n = 0; n < 200; n++) {
      secrets.add(`short-${n}`);
      // It goes with every request.
      secrets.add(long);
    }
    assert.ok(secrets.in(`say ${long}`));
    assert.ok(secrets.in('say short-199') && !secrets.in('say short-1!'));
    assert.deepEqual(secrets.cut(`a${long}b`), ['a', undefined, 'b']);
  });

  it('lets none through, whatever stands around it, one in another, whole or in chunks', () => {
    const secret = fc.stringMatching(/^[A-Za-z0-9/+_.-]{6,24}$/);
    fc.assert(
      fc.property(fc.array(secret, { minLength: 1, maxLength: 4 }), fc.array(fc.string(), { maxLength: 5 }), fc.nat(), (secrets, around, cut) => {
        const known = masking(...secrets);
        const text = [...around, secrets[0], ...secrets].join('');
        const stream = known.stream();
        const at = cut % text.length;
        const pieces = [stream.push(text.slice(0, at)), stream.push(text.slice(at)), stream.end()].map((one) => one.text).join('');
        for (const shown of [known.scrub(text).text, pieces]) {
          for (const one of secrets) assert.ok(!shown.includes(one), shown);
        }
        for (const one of secrets) {
          assert.ok(known.suspicious(Buffer.from(text)));
          assert.ok(!known.mask(`x${one}`, 'partial', 'a').includes(one));
        }
      }),
    );
  });
});
