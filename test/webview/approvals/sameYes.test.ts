import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { offerOf } from '../../../webview/approvals/sameYes.ts';
import { decided } from '../../support/fixtures.ts';

const ids = ['1', '2', '3', '4', '5', '6', '7'];
const offer = (...said: Parameters<typeof decided>[0][]) =>
  offerOf(
    said.map((over, i) => decided({ id: ids[i] ?? '', operation: `op-${ids[i]}`, decidedAt: i, ...over })),
    ids,
    new Set(),
  );

describe('the same yes', () => {
  it('is worth an offer when a person has said it three times, and never no', () => {
    assert.equal(offer({}, {}), undefined);
    assert.equal(offer({}, {}, {})?.operation, 'op-3');
    assert.equal(offer({}, {}, {}, {})?.approved, 4);
    assert.equal(offer({}, {}, {}, { answer: 'denied' }), undefined);
  });

  it('is the same to the same agent about the same thing in the same place, and a person’s', () => {
    assert.equal(offer({}, {}, { headline: 'UPDATE customers' }), undefined);
    assert.equal(offer({}, {}, { connection: 'production' }), undefined);
    assert.equal(offer({}, {}, { agent: 'Cursor' }), undefined);
    assert.equal(offer({}, {}, { why: 'grant' }), undefined);
    // A clock's no is nobody's answer.
    assert.equal(offer({}, {}, {}, { answer: 'denied', why: 'deadline' })?.approved, 3);
  });

  it('is not offered again where it was declined, and another kind is', () => {
    const said = [1, 2, 3].map((n) => decided({ id: `a${n}`, decidedAt: n }));
    const others = [1, 2, 3].map((n) => decided({ id: `b${n}`, headline: 'INSERT notes', decidedAt: -n }));
    const all = [...said, ...others];
    const mine = all.map(({ id }) => id);
    const first = offerOf(all, mine, new Set());
    assert.equal(first?.headline, 'UPDATE orders');
    assert.equal(offerOf(all, mine, new Set([first?.key ?? '']))?.headline, 'INSERT notes');
    assert.equal(offerOf(all, ['a1', 'a2'], new Set()), undefined);
  });
});
