import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Message } from '../../../../../proxy/protocols/mcp/message.ts';
import { ErrorOutput } from '../../../../../proxy/protocols/mcp/upstream/errorOutput.ts';
import { StdioServer } from '../../../../../proxy/protocols/mcp/upstream/stdio.ts';
import { within } from '../../../../support/soon.ts';

const MB = 1024 * 1024;

function start(code: string): { readonly server: StdioServer; readonly seen: Message[]; readonly heard: (count: number) => Promise<void> } {
  const seen: Message[] = [];
  let look = (): void => {};
  const log = { info: () => {}, warn: () => {}, error: () => {} };
  const server = new StdioServer({
    connection: 'odd',
    command: [process.execPath, '-e', code],
    env: {},
    cwd: undefined,
    log,
    output: new ErrorOutput(Date.now, (text) => text),
    scrub: (text) => text,
    onMessage: (message) => {
      seen.push(message);
      look();
    },
    onExit: () => {},
  });
  const heard = async (count: number): Promise<void> => {
    while (seen.length < count) await within(`${count} messages`, new Promise<void>((resolve) => (look = resolve)));
  };
  return { server, seen, heard };
}

describe('a server as a process', () => {
  it('that does not read is sent no more than it takes to fill a cap; what is asked beyond it is answered with a sentence', async () => {
    const { seen, server } = start('setInterval(() => {}, 1000)');
    const params = { x: 'x'.repeat(4 * MB) };
    for (let id = 1; id <= 40; id++) server.send({ id, method: 'tools/call', params });
    server.send({ method: 'notifications/x', params });
    assert.ok(seen.length >= 40 - 33 && seen.length <= 40 - 31, String(seen.length));
    for (const message of seen) assert.match(JSON.stringify(message), /"kind":"response".*The MCP server odd does not read what it is sent/);
    await server.stop();
  });

  it('that says too much is refused that message alone: an answer to its asker, a question to itself', async () => {
    const long = `'x'.repeat(65 * 1024 * 1024)`;
    const { heard, seen, server } = start(`
      const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\\n');
      send({ id: 1, result: { x: ${long} } });
      send({ id: 'q', method: 'sampling/createMessage', params: { x: ${long} } });
      require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => send({ id: 2, result: { heard: JSON.parse(line) } }));
    `);
    await heard(2);
    assert.match(JSON.stringify(seen[0]), /"id":1,.*"error".*more than 67108864 characters, which was refused/);
    assert.match(JSON.stringify(seen[1]), /"id":2,.*"heard":\{"jsonrpc":"2.0","id":"q","error":\{.*more than 67108864/);
    assert.equal(seen.length, 2);
    await server.stop();
  });
});
