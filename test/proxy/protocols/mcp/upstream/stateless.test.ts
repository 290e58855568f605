import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Message } from '../../../../../proxy/protocols/mcp/message.ts';
import { StatelessServer } from '../../../../../proxy/protocols/mcp/upstream/stateless.ts';

describe('a server of the stateless era', () => {
  for (const [count, passed] of [
    [200, 1],
    [201, 0],
  ] as const) {
    it(`that asks ${count} things at once is ${passed ? 'heard' : 'not, and its call is answered'}`, () => {
      const heard: Message[] = [];
      let asked = 0;
      const events = {
        onMessage: (message: Message) => void heard.push(message),
        onExit: () => {},
        onInput: () => {
          asked++;
          return new Promise<never>(() => {});
        },
      };
      const channel = { running: true, send: () => {}, pause: () => {}, resume: () => {}, stop: async () => {} };
      const server = new StatelessServer({ events, channel, capabilities: {}, envelope: {}, translate: false });
      server.send({ id: 1, method: 'tools/call', params: { name: 'x' } });
      const inputRequests = Object.fromEntries(Array.from({ length: count }, (_, n) => [`q${n}`, { method: 'roots/list' }]));
      server.received({ kind: 'response', id: 1, reply: { result: { resultType: 'input_required', inputRequests } } }, 1);
      assert.equal(asked, passed);
      if (passed === 0) assert.match(JSON.stringify(heard), /has asked more than 200 things at once/);
      server.stop();
    });
  }
});
