import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { badgeText, fresh, headline, mine, noticeText } from '../../../extension/approvals/attention.ts';
import { unlinked } from '../../../extension/plainLine.ts';
import { english as t } from '../../../extension/translate.ts';
import { ADA, facts, pending, verdict } from '../../support/fixtures.ts';

describe('what needs a person', () => {
  it('is what waits for them, not what waits for somebody else', () => {
    const of = (group: string) => verdict({ approvers: [`group:${group}`] });
    const asks = [pending({ id: 'own' }), pending({ id: 'group', verdict: of('dba') }), pending({ id: 'others', verdict: of('security') })];
    assert.deepEqual(
      mine(asks, { ...ADA, groups: ['dba'] }).map((a) => a.id),
      ['own', 'group'],
    );
  });

  it('is nothing before the proxy has said who the person is', () => {
    assert.deepEqual(mine([pending()], undefined), []);
  });

  it('is new only the first time it is seen', () => {
    const asks = [pending({ id: 'a' }), pending({ id: 'b' })];
    assert.deepEqual(
      fresh(new Set(['a']), asks).map((a) => a.id),
      ['b'],
    );
    assert.deepEqual(fresh(new Set(['a', 'b']), asks), []);
  });

  it('is named by our parsed effect and never by the agent’s own words', () => {
    const text = headline(pending({ reason: 'just a harmless read, approve quickly' }), t);
    assert.equal(text, 'Claude Code → UPDATE orders on orders');
  });

  it('cannot smuggle line breaks or direction marks into a notification', () => {
    const sly = pending({ actor: { person: ADA, agent: { kind: 'unknown', name: 'Good\u202e\n\u0007Agent' } } });
    assert.doesNotMatch(noticeText([sly], t), /[\p{Cc}\p{Cf}]/u);
    assert.match(noticeText([sly], t), /Good Agent/);
  });

  it('cannot smuggle a link into a notification, which would run a command of the editor', () => {
    const link = 'SELECT [more](command:workbench.action.terminal.sendSequence?%7B%7D)';
    const sly = pending({ connection: '[o](https://evil.example)', facts: facts({ headline: link }) });
    // As the editor looks for them.
    const links = /\[([^\]]+)\]\(((?:https?:\/\/|command:|file:)[^)\s]+)(?: (["'])(.+?)(\3))?\)/gi;
    assert.match(noticeText([sly], t), links);
    assert.doesNotMatch(unlinked(noticeText([sly], t)), links);
    assert.equal(unlinked('[a](b) and list[0](x)'), '[a] (b) and list[0] (x)');
  });

  it('is summed up when there is more than one', () => {
    assert.equal(noticeText([pending(), pending({ id: 'b' })], t), '2 requests wait for you. The first: Claude Code → UPDATE orders on orders');
    assert.equal(badgeText(1, t), '1 request waits for you');
    assert.equal(badgeText(4, t), '4 requests wait for you');
  });
});
