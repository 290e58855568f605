/** Two plain ways to talk to a server: lines to a process of our own, and HTTP to the relay. Neither reads what it carries. */
import { spawn } from 'node:child_process';

export interface Answered {
  /** The answer's `result` or `error` as it was written. */
  readonly text: string;
  /** Methods of the notifications that came before it. */
  readonly heard: readonly string[];
}

export interface Wire {
  ask(method: string, params: unknown): Promise<Answered>;
  tell(method: string): Promise<void>;
  close(): Promise<void>;
}

interface Received {
  readonly id?: number;
  readonly method?: string;
  readonly result?: unknown;
  readonly error?: unknown;
}

/** How long one answer may take, in milliseconds. */
const ANSWER_MS = 90_000;

export function direct(command: readonly string[], env: Readonly<Record<string, string>>, cwd: string): Wire {
  const [file = '', ...args] = command;
  const child = spawn(file, args, { cwd, env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'ignore'] });
  const waiting = new Map<number, (message: Received) => void>();
  let heard: string[] = [];
  let held = '';
  let ids = 0;
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk: string) => {
    const lines = (held + chunk).split('\n');
    held = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.startsWith('{')) continue;
      const message = JSON.parse(line) as Received;
      if (message.method !== undefined) heard.push(message.method);
      else if (message.id !== undefined) waiting.get(message.id)?.(message);
    }
  });
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    ask: (method, params) =>
      new Promise((resolve, reject) => {
        const id = ++ids;
        const late = setTimeout(() => reject(new Error(`no answer to ${method}`)), ANSWER_MS);
        waiting.set(id, (message) => {
          clearTimeout(late);
          waiting.delete(id);
          const before = heard;
          heard = [];
          resolve({ text: JSON.stringify(message.result ?? message.error), heard: before });
        });
        child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
      }),
    tell: async (method) => void child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', method })}\n`),
    close: async () => {
      child.stdin.end();
      const late = setTimeout(() => child.kill('SIGKILL'), 3_000);
      await gone;
      clearTimeout(late);
    },
  };
}

export function relayed(url: URL, bearer: Readonly<Record<string, string>>): Wire {
  let session: Record<string, string> = {};
  let ids = 0;
  const post = async (message: object): Promise<Received[]> => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { ...bearer, ...session, 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' },
      body: JSON.stringify({ jsonrpc: '2.0', ...message }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const id = response.headers.get('mcp-session-id');
    if (id !== null) session = { 'Mcp-Session-Id': id };
    const text = await response.text();
    if (!(response.headers.get('content-type') ?? '').startsWith('text/event-stream')) return text === '' ? [] : [JSON.parse(text) as Received];
    return text.split('\n').flatMap((line) => (line.startsWith('data: {') ? [JSON.parse(line.slice(6)) as Received] : []));
  };
  return {
    ask: async (method, params) => {
      const id = ++ids;
      const received = await post({ id, method, params });
      const answer = received.find((message) => message.id === id);
      return {
        text: JSON.stringify(answer?.result ?? answer?.error),
        heard: received.flatMap((message) => (message.method === undefined ? [] : [message.method])),
      };
    },
    tell: async (method) => void (await post({ method })),
    close: async () => void (await fetch(url, { method: 'DELETE', headers: { ...bearer, ...session } })),
  };
}
