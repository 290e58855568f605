import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { latelyLine } from '../../../webview/approvals/lately.ts';
import { decided, pending } from '../../support/fixtures.ts';

const alike = (over: Parameters<typeof decided>[0]) => decided({ headline: 'UPDATE orders', connection: 'orders', agent: 'Claude Code', ...over });

describe('what was answered of the same kind lately', () => {
  it('counts what people said to the same agent about the same thing', () => {
    const said = [alike({ id: '1' }), alike({ id: '2' }), alike({ id: '3', answer: 'denied' })];
    assert.equal(latelyLine(pending(), said), 'The same kind lately: 2 approved, 1 denied.');
    assert.equal(latelyLine(pending(), said.slice(0, 1)), 'The same kind lately: 1 approved.');
  });

  it('says nothing where nobody has answered: another thing, another place, another agent, no answer in time', () => {
    const others = [
      alike({ headline: 'UPDATE customers' }),
      alike({ connection: 'production' }),
      alike({ agent: 'Cursor' }),
      alike({ answer: 'denied', why: 'expired' }),
      alike({ id: 'app-1' }),
    ];
    assert.equal(latelyLine(pending(), others), undefined);
  });
});
