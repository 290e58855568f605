/** A client that opens its session more than once, or leaves while it is being opened: nothing is started that nobody ends. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { NARROWEST } from '../../../../contract/approval.ts';
import { type OpenedLines, openedLines } from '../../../support/openedLines.ts';
import { until } from '../../../support/soon.ts';
import { OfferingServer, stageFor, tool } from './offeringServer.ts';
import type { Stage } from './stage.ts';

const server = new OfferingServer({ tools: [tool('look')] });
let stage: Stage;
let stop: () => Promise<void>;

before(async () => {
  ({ stage, stop } = await stageFor(server));
});
after(() => stop());

const INITIALIZE = { method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'hasty', version: '1' } } };
const line = (id: number, message: object): string => `${JSON.stringify({ jsonrpc: '2.0', id, ...message })}\n`;

const lines = (): Promise<OpenedLines> => openedLines({ endpoint: stage.url('mcp/a').href, token: stage.headers().Authorization?.slice(7) ?? '' });

/** Resolves when as many answers have come. */
function heard(answers: OpenedLines['answers'], count: number): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    answers.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.trimEnd().split('\n').length >= count) resolve(text);
    });
  });
}

const closings = (): number => stage.entries.filter(({ type }) => type === 'session.close').length;

describe('a session', () => {
  it('is opened once, however often it is asked for at a time', async () => {
    const { answers, socket } = await lines();
    const before = stage.sessions.length;
    const told = heard(answers, 5);
    socket.write([1, 2, 3, 4, 5].map((id) => line(id, INITIALIZE)).join(''));
    assert.doesNotMatch(await told, /"error"/);
    assert.equal(stage.sessions.length - before, 1);
    socket.end();
    await until('the end of each session', () => closings() >= stage.sessions.length);
  });

  it('is ended as soon as it is open where its client has left', async () => {
    stage.decide = (facts) => (facts.verb === 'CONNECT' ? 'ask' : 'allow');
    const { socket } = await lines();
    const before = stage.sessions.length;
    socket.write(line(1, INITIALIZE));
    const question = await stage.question();
    const gone = new Promise((resolve) => socket.once('close', resolve));
    socket.destroy();
    await gone;
    assert.equal(stage.sessions.length - before, 1);
    stage.approvals.answer({ answer: 'approve', id: question.id, digest: question.digest, scope: NARROWEST }, question.actor.person);
    await until('the end of each session', () => closings() >= stage.sessions.length);
  });
});
