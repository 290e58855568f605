/** The server that is measured: the official SDK's, with two tools whose answer is 10 KB and holds a few sensitive values; one says that it only reads. */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { NodeStreamableHTTPServerTransport } from '@modelcontextprotocol/node';
import { McpServer } from '@modelcontextprotocol/server';
import { StdioServerTransport } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

const ROW = 'order 48151 · 2 kettles, 1 toaster · shipped to Utrecht on 3 May · carrier note: leave with the neighbour at number 12\n';
const ROWS = 10 * 1024;
const SENSITIVE = [
  'ann@mail.example',
  'card 4111 1111 1111 1111',
  'bert@mail.example',
  'IBAN NL91 ABNA 0417 1643 00',
  'call +31 20 794 0800',
  'cleo@mail.example',
];

function rows(): string {
  let text = '';
  for (let i = 0; text.length < ROWS; i++) text += i % 14 === 7 ? `${SENSITIVE[Math.floor(i / 14) % SENSITIVE.length]}\n` : ROW;
  return text.slice(0, ROWS);
}

const TEXT = rows();

function server(): McpServer {
  const mcp = new McpServer({ name: 'orders', version: '1.0.0' });
  const inputSchema = z.object({ page: z.number() });
  // No page is like another: what was found in one is not known of the next.
  const answer = ({ page }: { page: number }): { content: { type: 'text'; text: string }[] } => ({
    content: [{ type: 'text', text: `page ${page} of many\n${TEXT}` }],
  });
  mcp.registerTool('rows', { description: 'Orders', inputSchema, annotations: { readOnlyHint: true } }, answer);
  mcp.registerTool('enter', { description: 'Enters what has come in, and says what is there then', inputSchema }, answer);
  return mcp;
}

if (process.argv[2] === 'stdio') await server().connect(new StdioServerTransport());
else {
  const sessions = new Map<string, NodeStreamableHTTPServerTransport>();
  createServer((request, response) => {
    void (async () => {
      const id = request.headers['mcp-session-id'];
      const known = typeof id === 'string' ? sessions.get(id) : undefined;
      if (known) return known.handleRequest(request, response);
      const transport: NodeStreamableHTTPServerTransport = new NodeStreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (session) => void sessions.set(session, transport),
      });
      await server().connect(transport);
      return transport.handleRequest(request, response);
    })();
  }).listen(Number(process.env.PORT), '127.0.0.1');
}
