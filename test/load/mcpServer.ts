/** A server that says as much as it is asked for: over stdio, or over Streamable HTTP on `PORT`. Runs as a process of its own. */
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

interface Request {
  readonly id?: number | string;
  readonly method: string;
  readonly params?: {
    readonly name?: string;
    readonly arguments?: { readonly bytes?: number; readonly count?: number; readonly json?: boolean };
    readonly protocolVersion?: string;
  };
}

/** Notifications that came in. */
let heard = 0;

/** Rows that look like something, with a card number at the very end. */
function rows(bytes: number): string {
  let text = '';
  for (let i = 0; text.length < bytes - 100; i++) text += `${i}: an order of ${i % 97} pieces, sent to shelf ${(i * 7) % 1000} without a remark\n`;
  return `${text}paid with 4111 1111 1111 1111`;
}

function answerTo({ method, params }: Request): object {
  const text = (value: string): object => ({ content: [{ type: 'text', text: value }] });
  if (method === 'initialize')
    return { protocolVersion: params?.protocolVersion, capabilities: { tools: {}, logging: {} }, serverInfo: { name: 'load', version: '1' } };
  if (method === 'tools/list') return { tools: ['rows', 'many', 'heard', 'echo'].map((name) => ({ name, inputSchema: { type: 'object' } })) };
  if (params?.name === 'rows') return text(rows(params.arguments?.bytes ?? 0));
  if (params?.name === 'heard') return text(String(heard));
  return text('echo');
}

const written = (request: Request): string => JSON.stringify({ jsonrpc: '2.0', id: request.id, result: answerTo(request) });

function overStdio(): void {
  const write = (line: string): boolean => process.stdout.write(`${line}\n`);
  createInterface({ input: process.stdin }).on('line', (line) => {
    const request = JSON.parse(line) as Request;
    if (request.id === undefined) heard++;
    else if (request.params?.name === 'many') void many(request.params.arguments?.count ?? 0).then(() => write(written(request)));
    else write(written(request));
  });
  /** As fast as they are taken. */
  const many = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const taken = write(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"n${i}"}}`);
      if (!taken) await new Promise((resolve) => process.stdout.once('drain', resolve));
    }
  };
}

function overHttp(port: number): void {
  // It hangs up on nobody who is silent for a while: on a busy machine that meets their next request.
  createServer({ keepAliveTimeout: 0 }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.method !== 'POST') return response.writeHead(405).end();
      const message = JSON.parse(Buffer.concat(chunks).toString()) as Request;
      if (message.id === undefined) return response.writeHead(202).end();
      if (message.params?.name !== 'rows' || message.params.arguments?.json === true)
        return response.writeHead(200, { 'Content-Type': 'application/json' }).end(written(message));
      return response.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(`data: ${written(message)}\n\n`);
    });
  }).listen(port, '127.0.0.1');
}

if (process.env.PORT === undefined) overStdio();
else overHttp(Number(process.env.PORT));
