import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { addressOf } from '../../../gateway/identity/rateLimit.ts';

describe('whom an address is counted as', () => {
  const SAME = '2001:db8:0:12::/64';
  for (const [address, counted] of [
    ['203.0.113.7', '203.0.113.7'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['2001:db8:0:12::1', SAME],
    ['2001:DB8::12:9999:0:0:1', SAME],
    ['2001:db8:0:12:ffff:ffff:ffff:ffff', SAME],
    ['2001:db8:0:12::203.0.113.7', SAME],
    ['2001:db8:0:13::1', '2001:db8:0:13::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    [undefined, 'unknown'],
  ] as const)
    it(`is ${counted} for ${address}: changing the rest of it gains nothing`, () => assert.equal(addressOf({ ip: address }), counted));
});
