/** A client that does as little as can be, so that what is measured is the way and not its end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { Agent, request } from 'node:http';

export type Tool = 'rows' | 'enter';

export interface McpClient {
  /** Calls the tool, the one that reads if none is named; resolves to its text. */
  call(page: number, tool?: Tool): Promise<string>;
  close(): void;
}

interface Answer {
  readonly id?: number;
  readonly result?: { readonly content?: readonly { readonly text: string }[] };
  readonly error?: { readonly message: string };
}

const INITIALIZE = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1' } };
const params = (page: number, name: Tool = 'rows') => ({ name, arguments: { page } });

function textOf(answer: Answer): string {
  if (answer.error) throw new Error(answer.error.message);
  return answer.result?.content?.[0]?.text ?? '';
}

export async function httpClient(url: string, headers: Readonly<Record<string, string>>): Promise<McpClient> {
  const agent = new Agent({ keepAlive: true });
  let session: Record<string, string> = {};
  let ids = 0;
  const post = (message: object): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const body = JSON.stringify({ jsonrpc: '2.0', ...message });
      const sent = request(url, {
        method: 'POST',
        agent,
        headers: {
          ...headers,
          ...session,
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(body),
          Accept: 'application/json, text/event-stream',
        },
      });
      sent.once('error', reject);
      sent.once('response', (response) => {
        const id = response.headers['mcp-session-id'];
        if (typeof id === 'string') session = { 'Mcp-Session-Id': id, 'MCP-Protocol-Version': '2025-11-25' };
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => void chunks.push(chunk));
        response.once('end', () => {
          const text = Buffer.concat(chunks).toString();
          const data = (response.headers['content-type'] ?? '').startsWith('text/event-stream')
            ? (text.split('\n').findLast((line) => line.startsWith('data: {')) ?? '').slice(6)
            : text;
          resolve(data === '' ? {} : (JSON.parse(data) as Answer));
        });
      });
      sent.end(body);
    });
  const opened = await post({ id: ++ids, method: 'initialize', params: INITIALIZE });
  if (opened.error) throw new Error(opened.error.message);
  await post({ method: 'notifications/initialized' });
  return {
    call: async (page, tool) => textOf(await post({ id: ++ids, method: 'tools/call', params: params(page, tool) })),
    close: () => agent.destroy(),
  };
}

export async function stdioClient(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<McpClient> {
  const [file = '', ...args] = command;
  const child: ChildProcess = spawn(file, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = new Map<number, (answer: Answer) => void>();
  let held = '';
  let ids = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    const lines = (held + chunk.toString()).split('\n');
    held = lines.pop() ?? '';
    for (const line of lines) {
      const answer = JSON.parse(line) as Answer;
      if (answer.id === undefined) continue;
      waiting.get(answer.id)?.(answer);
      waiting.delete(answer.id);
    }
  });
  const ask = (method: string, about: object): Promise<Answer> =>
    new Promise((resolve) => {
      const id = ++ids;
      waiting.set(id, resolve);
      child.stdin?.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params: about })}\n`);
    });
  const opened = await ask('initialize', INITIALIZE);
  if (opened.error) throw new Error(opened.error.message);
  child.stdin?.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
  return {
    call: async (page, tool) => textOf(await ask('tools/call', params(page, tool))),
    close: () => void child.kill(),
  };
}
