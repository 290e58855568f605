/** A server of 2026-07-28 alone over stdio, made with the official SDK. */
import { McpServer } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

let calls = 0;
void serveStdio(
  () => {
    const server = new McpServer({ name: 'stateless', version: '1' });
    server.registerTool('pid', { inputSchema: z.object({}) }, () => ({ content: [{ type: 'text', text: `${process.pid} ${++calls}` }] }));
    return server;
  },
  { legacy: 'reject' },
);
