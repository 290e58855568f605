/**
 * Where an agent's bridge asks for a login: a socket in the user's private folder that gives whoever can reach it a
 * short-lived bearer for the MCP endpoints. It opens the policed path and nothing else, it is made anew each time, and it is
 * written nowhere, so that no configuration file need hold one. Nothing can be approved here.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { z } from 'zod';
import type { Secret } from '../../contract/secret.ts';
import type { Log } from '../pipeline/engine.ts';

/** Longest question, in characters, and how long one may take, in milliseconds. */
const MAX_LINE = 256;
const LINE_TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 64;

/** `run`: the process that started the bridge. Its servers belong to one conversation. Unverified. */
const Question = z.object({ run: z.string().regex(/^[0-9]{1,10}$/) });

export interface AgentDoorOptions {
  /** Path of the socket, or name of the pipe. */
  readonly socket: string;
  readonly log: Log;
  /** Undefined while the loopback server does not listen. */
  readonly access: (run: string) => { readonly url: string; readonly token: Secret } | undefined;
}

export class AgentDoor {
  readonly #options: AgentDoorOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(options: AgentDoorOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Rejects with the system's error where the socket cannot be made. The caller holds the user's lock. */
  async start(): Promise<void> {
    const { socket, log } = this.#options;
    if (process.platform !== 'win32') rmSync(socket, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(socket, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#server.on('error', (cause) => log.error('agents.failed', { cause }));
    if (process.platform !== 'win32') chmodSync(socket, 0o600);
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setTimeout(LINE_TIMEOUT_MS, () => socket.destroy());
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0 && text.length <= MAX_LINE) return;
      socket.removeAllListeners('data');
      socket.end(`${JSON.stringify(this.#answer(text.slice(0, Math.max(0, end))))}\n`);
    });
  }

  #answer(line: string): object {
    const question = Question.safeParse(parse(line));
    if (!question.success) return { error: 'That is not the question that is answered here.' };
    const access = this.#options.access(question.data.run);
    return access ? { url: access.url, token: access.token.reveal() } : { error: 'The MCP endpoint does not listen yet.' };
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
