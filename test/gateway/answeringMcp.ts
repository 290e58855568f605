/** An MCP server over HTTP in a few lines, for tests of what lies between it and its clients. */
import { createServer, type IncomingMessage, type Server } from 'node:http';

export interface AnsweringMcp {
  readonly name: string;
  /** Looked at with each request; an HTTP status refuses it. */
  readonly refuses?: (request: IncomingMessage) => Promise<number | undefined>;
  readonly tools: () => readonly object[];
  /** What a tool says, as text. @param request as it came: whose it is may stand in its headers */
  readonly call: (tool: string, request: IncomingMessage) => string | Promise<string>;
}

export function answeringMcp({ call, name, refuses, tools }: AnsweringMcp): Server {
  const answer = async (request: IncomingMessage): Promise<{ status: number; body?: object }> => {
    const refused = await refuses?.(request);
    if (refused !== undefined) return { status: refused };
    if (request.method !== 'POST') return { status: 405 };
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const { id, method, params } = JSON.parse(text) as { id?: number; method: string; params?: { protocolVersion?: string; name?: string } };
    if (id === undefined) return { status: 202 };
    const result = {
      initialize: () => ({ protocolVersion: params?.protocolVersion ?? '2025-06-18', capabilities: { tools: {} }, serverInfo: { name, version: '1' } }),
      'tools/list': () => ({ tools: tools().map((tool) => ({ inputSchema: { type: 'object' }, ...tool })) }),
      'tools/call': async () => ({ content: [{ type: 'text', text: await call(params?.name ?? '', request) }] }),
    }[method];
    return { status: 200, body: { jsonrpc: '2.0', id, ...(result ? { result: await result() } : { error: { code: -32_601, message: 'unknown' } }) } };
  };
  return createServer((request, response) => {
    answer(request).then(
      ({ body, status }) => response.writeHead(status, { 'content-type': 'application/json' }).end(body && JSON.stringify(body)),
      () => response.writeHead(400).end(),
    );
  });
}
