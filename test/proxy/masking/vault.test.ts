import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { createSessionMasking, type SessionMasking, TokenVault } from '../../../proxy/masking/masking.ts';
import type { TokenRules } from '../../../proxy/policy/tokens.ts';

function session(vault: TokenVault, connection = 'orders', tokens?: TokenRules): SessionMasking {
  return createSessionMasking({
    plan: { columns: new Map(), detectors: new Map(), otherwise: 'token', tokens },
    hashKey: new Uint8Array(32),
    vault,
    connection,
  });
}

const EMAIL = { use: 'compare', name: 'customers.email', mask: 'token' } as const;

function found(masking: SessionMasking, text: string) {
  const [one, ...more] = masking.tokens.find(text);
  assert.ok(one && more.length === 0, text);
  return one;
}

describe('a vault of tokens', () => {
  it('gives back exactly what was masked, whatever it was', () => {
    const masking = session(new TokenVault());
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.string({ minLength: 1000, maxLength: 3000 })), (value) => {
        const one = found(masking, `x ${masking.mask(value, 'token', 'customers.email')} y`);
        assert.equal(one.state, 'ours');
        assert.deepEqual(one.state === 'ours' && masking.tokens.reveal(one.token, EMAIL), { ok: true, value });
      }),
      { numRuns: 500 },
    );
  });

  it('writes the same token from bytes as from text, and finds it', () => {
    const masking = session(new TokenVault());
    const write = masking.byteMask('token', 'customers.email');
    const target = Buffer.alloc(200);
    for (const value of ['ann@ex.org', 'bob@ex.org', 'ann@ex.org']) {
      const source = Buffer.from(value);
      const text = target.toString('utf8', 0, write(source, 0, source.length, target, 0));
      assert.equal(text, masking.mask(value, 'token', 'customers.email'));
      const one = found(masking, text);
      assert.ok(one.state === 'ours' && one.token.canonical === text);
    }
  });

  it('knows a token in ASCII, and takes other things that look alike for what they are', () => {
    const masking = session(new TokenVault());
    const token: string = masking.mask('ann@ex.org', 'token', 'customers.email');
    const ascii = token.replace('‹', '<').replace('›', '>').replaceAll('·', '.');
    const one = found(masking, ascii);
    assert.deepEqual(one.state === 'ours' && masking.tokens.reveal(one.token, EMAIL), { ok: true, value: 'ann@ex.org' });
    assert.equal(one.state === 'ours' && one.token.canonical, token);
    assert.deepEqual(masking.tokens.find('<other.9.bcdfg> a < b.1.c > d <b>'), []);
    assert.equal(found(masking, '<email.1.bcdfg>').state, 'unknown');
  });

  it('tells an altered, invented or foreign token from its own', () => {
    const vault = new TokenVault();
    const masking = session(vault);
    const [one = '', two = ''] = ['ann@ex.org', 'bob@ex.org'].map((value): string => masking.mask(value, 'token', 'customers.email'));
    const foreign: string = session(new TokenVault()).mask('eve@ex.org', 'token', 'customers.email');
    const check = (token: string): string => token.split('·')[2] ?? '';
    for (const text of [
      one.replace('·1·', '·2·'),
      one.replace('·1·', '·01·').replace('·01·', '·3·'),
      one.replace('email', 'card'),
      `‹email·1·${check(two)}`,
      one.replace(/.›$/, '›'),
      '‹email·1›',
      '‹email·99999·bcdfg›',
      foreign,
    ])
      assert.equal(found(masking, text).state, 'unknown', text);
    for (const text of ['‹redacted›', '‹email·a1b2c3›', 'a•••@ex.org']) assert.deepEqual(masking.tokens.find(text), [], text);
  });

  it('is right about a made-up check no more often than by chance', () => {
    const masking = session(new TokenVault());
    masking.mask('ann@ex.org', 'token', 'customers.email');
    let right = 0;
    const letters = 'bcdfghjkmnpqrstvwxyz';
    for (const a of letters)
      for (const b of letters) for (const c of letters) if (masking.tokens.find(`‹email·1·${a}${b}${c}bb›`)[0]?.state === 'ours') right++;
    assert.ok(right <= 1);
  });

  it('shares its tokens among the sessions of a conversation, and keeps them from others', () => {
    const vault = new TokenVault();
    const [orders, crm] = [session(vault), session(vault, 'crm', new Map([['public.contacts.mail', ['orders/public.customers.email']]]))];
    const token: string = orders.mask('ann@ex.org', 'token', 'customers.email');
    assert.equal(crm.mask('ann@ex.org', 'token', 'people.email').replace(/·[a-z]+›/, ''), token.replace(/·[a-z]+›/, ''));
    const one = found(crm, token);
    assert.ok(one.state === 'ours');
    assert.deepEqual([...one.token.origins].sort(), ['crm/people.email', 'orders/customers.email']);
    assert.deepEqual(crm.tokens.reveal(one.token, { use: 'compare', name: 'contacts.mail', mask: 'redact' }), { ok: true, value: 'ann@ex.org' });
    assert.equal(crm.tokens.reveal(one.token, { use: 'compare', name: 'contacts.mail', mask: 'partial' }).ok, false);
    assert.equal(found(session(new TokenVault()), token).state, 'unknown');
  });

  it('puts a value back only where it came from, or into what is masked as well, or where policy says', () => {
    const vault = new TokenVault();
    const masking = session(
      vault,
      'orders',
      new Map<string, 'off' | readonly string[]>([
        ['public.customers.ssn', 'off'],
        ['send_mail.to', ['orders/public.customers.email']],
      ]),
    );
    const one = found(masking, masking.mask('ann@ex.org', 'token', 'customers.email'));
    assert.ok(one.state === 'ours');
    const may = (place: Parameters<SessionMasking['tokens']['reveal']>[1]): boolean => masking.tokens.reveal(one.token, place).ok;
    assert.ok(may(EMAIL));
    assert.ok(may({ use: 'write', name: 'newsletter.email', mask: 'token' }));
    assert.ok(may({ use: 'write', name: 'newsletter.email', mask: 'redact' }));
    assert.ok(!may({ use: 'write', name: 'newsletter.email', mask: 'partial' }));
    assert.ok(!may({ use: 'write', name: 'newsletter.email', mask: undefined }));
    assert.ok(!may({ use: 'compare', name: 'newsletter.email', mask: 'token' }));
    assert.ok(!may({ use: 'write', name: 'customers.ssn', mask: 'redact' }));
    assert.ok(may({ use: 'send', name: 'send_mail.to' }));
    assert.ok(!may({ use: 'send', name: 'send_mail.body' }));
    const off = session(vault, 'orders', 'off');
    assert.equal(off.tokens.reveal(one.token, EMAIL).ok, false);
  });

  it('gives back an empty value that came before all others', () => {
    const vault = new TokenVault();
    const [like] = vault.find(session(vault).mask('', 'token', 'customers.note'));
    assert.equal(like?.state, 'ours');
    assert.equal(vault.value(like.token), '');
  });

  it('redacts what it has no room for, and knows nothing once it has ended', () => {
    const vault = new TokenVault();
    const masking = session(vault);
    const long = 'x'.repeat(64 * 1024);
    assert.match(masking.mask(long, 'token', 'notes.text'), /^‹text·1·/);
    assert.equal(masking.mask(`${long}y`, 'token', 'notes.text'), '‹redacted›');
    const write = masking.byteMask('token', 'customers.email');
    const target = Buffer.alloc(200);
    const make = (i: number): string => {
      const source = Buffer.from(`person${i}@example.org`);
      return target.toString('utf8', 0, write(source, 0, source.length, target, 0));
    };
    let last = '';
    for (let i = 0; i < 120_000; i++) last = make(i);
    assert.equal(last, '‹redacted›');
    assert.equal(vault.size.values, 100_000);
    const kept = make(90_000);
    assert.equal(found(masking, kept).state, 'ours');
    vault.end();
    assert.equal(vault.size.bytes, 0);
    assert.equal(found(masking, kept).state, 'unknown');
  });
});
