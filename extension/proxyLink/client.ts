/** The language client on a proven socket. Loaded after activation: it is the heaviest thing the extension has. */
import type { Socket } from 'node:net';
import * as vscode from 'vscode';
import { createMessageConnection, StreamMessageReader, StreamMessageWriter } from 'vscode-jsonrpc/node';
import { CloseAction, ErrorAction, LanguageClient, RevealOutputChannelOn, State } from 'vscode-languageclient/node';
import type { z } from 'zod';
import { CONTROL_VERSION, type Hello, KeepSecret, METHODS, type Snapshot, Snapshot as SnapshotSchema } from '../../contract/control.ts';
import { withoutPartialTimer } from '../../contract/messageReader.ts';
import { Problem } from '../../contract/problem.ts';

/** Longest wait for a proxy to take the request to leave, in milliseconds. */
const ASK_TO_LEAVE_MS = 3_000;
/** Longest wait for the library to say goodbye, in milliseconds; then the socket is closed over its head. */
const STOP_MS = 1_000;

export interface ClientEvents {
  readonly onSnapshot: (snapshot: Snapshot) => void;
  readonly onKeepSecret: (secret: KeepSecret) => void;
  /** What came was no snapshot: the two sides do not speak the same language. */
  readonly onGarbled: (why: string) => void;
  readonly onClosed: () => void;
}

export class ControlClient implements vscode.Disposable {
  readonly #client: LanguageClient;
  readonly #socket: Socket;
  /** Rejects when the socket closes. The library leaves a request without an answer waiting when the close comes while it stops. */
  readonly #lost = Promise.withResolvers<never>();

  constructor(socket: Socket, hello: Hello, log: vscode.LogOutputChannel, events: ClientEvents) {
    this.#socket = socket;
    this.#client = new LanguageClient('countersign', 'Countersign', () => Promise.resolve({ ...framed(socket), detached: true }), {
      documentSelector: [{ scheme: 'file', pattern: '**/countersign.yaml' }],
      initializationOptions: hello,
      initializationFailedHandler: () => false,
      outputChannel: log,
      traceOutputChannel: withoutPayloads(log),
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      // The link starts again by itself, with a new socket and a new handshake.
      errorHandler: {
        error: () => ({ action: ErrorAction.Shutdown, handled: true }),
        closed: () => ({ action: CloseAction.DoNotRestart, handled: true }),
      },
    });
    this.#client.onNotification(METHODS.snapshot, (raw: unknown) => {
      const decoded = SnapshotSchema.safeParse(raw);
      if (decoded.success) events.onSnapshot(decoded.data);
      else
        events.onGarbled(
          decoded.error.issues
            .map((issue) => `${issue.path.join('.')}: ${issue.message}`)
            .slice(0, 3)
            .join('; '),
        );
    });
    this.#client.onNotification(METHODS.keepSecret, (raw: unknown) => {
      const decoded = KeepSecret.safeParse(raw);
      if (decoded.success) events.onKeepSecret(decoded.data);
    });
    this.#lost.promise.catch(() => undefined);
    socket.once('close', () => {
      this.#lost.reject(new Problem('not-connected', 'The proxy closed the connection before it answered.'));
      events.onClosed();
    });
  }

  async start(): Promise<void> {
    await this.#client.start();
  }

  /** Whether the proxy publishes diagnostics for an open policy file by itself. */
  get speaksPolicy(): boolean {
    return this.#client.initializeResult?.capabilities.textDocumentSync !== undefined;
  }

  async request<T extends z.ZodType>(method: string, params: unknown, schema: T, token?: vscode.CancellationToken): Promise<z.infer<T>> {
    const raw: unknown = await Promise.race([this.#client.sendRequest(method, params, token), this.#lost.promise]);
    return schema.parse(raw);
  }

  async stop(): Promise<void> {
    // A closed socket takes no goodbye.
    if (this.#client.state === State.Running && !this.#socket.destroyed) {
      await Promise.race([this.#client.dispose(STOP_MS), this.#lost.promise]).catch(() => undefined);
    }
    this.#socket.destroy();
  }

  dispose(): void {
    void this.stop();
  }
}

/** Asks an older proxy to leave. It may speak an older language, so this says as little as it can. */
export async function askToLeave(socket: Socket, reason: string, hello: Omit<Hello, 'controlVersion'>): Promise<void> {
  const { reader, writer } = framed(socket);
  const connection = createMessageConnection(reader, writer);
  connection.onError(() => undefined);
  connection.listen();
  try {
    const asked = (async () => {
      const initializationOptions: Hello = { ...hello, controlVersion: CONTROL_VERSION };
      await connection.sendRequest('initialize', { processId: process.pid, rootUri: null, capabilities: {}, initializationOptions });
      await connection.sendNotification('initialized', {});
      await connection.sendRequest(METHODS.shutdown, { reason });
    })();
    asked.catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('no answer in time')), ASK_TO_LEAVE_MS);
    });
    await Promise.race([asked, late]).finally(() => clearTimeout(timer));
  } finally {
    connection.dispose();
  }
}

/**
 * Traces what was said, never with what: parameters and results hold statements, rows and secrets. The first line of a
 * trace is the method and the time; the rest is the payload.
 */
function withoutPayloads(log: vscode.LogOutputChannel): vscode.LogOutputChannel {
  return new Proxy(log, {
    get(target, key): unknown {
      if (key === 'trace') return (message: string) => target.trace(message.startsWith('{') ? '(message)' : (message.split('\n', 1)[0] ?? ''));
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function framed(socket: Socket): { reader: StreamMessageReader; writer: StreamMessageWriter } {
  return { reader: withoutPartialTimer(new StreamMessageReader(socket)), writer: new StreamMessageWriter(socket) };
}
