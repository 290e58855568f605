/** The client's end of the control channel, for the command line and for tests. The extension has its own. */
import { connect, type Socket } from 'node:net';
import { createMessageConnection, type MessageConnection, StreamMessageReader, StreamMessageWriter } from 'vscode-jsonrpc/node';
import { type Hello, METHODS, Snapshot } from '../../contract/control.ts';
import { withoutPartialTimer } from '../../contract/messageReader.ts';
import { Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';
import { enter } from './handshake.ts';

const CONNECT_TIMEOUT_MS = 5_000;

export interface ControlClientOptions {
  readonly socket: string;
  readonly secret: Secret;
  readonly hello: Hello;
}

export class ControlClient {
  readonly #socket: Socket;
  readonly #rpc: MessageConnection;
  readonly #waiting = new Set<{ test(snapshot: Snapshot): boolean; resolve(snapshot: Snapshot): void; reject(error: Error): void }>();
  #snapshot: Snapshot | undefined;

  private constructor(socket: Socket, rpc: MessageConnection) {
    this.#socket = socket;
    this.#rpc = rpc;
    rpc.onNotification(METHODS.snapshot, (params: unknown) => {
      const snapshot = Snapshot.parse(params);
      this.#snapshot = snapshot;
      for (const waiter of this.#waiting) {
        if (!waiter.test(snapshot)) continue;
        this.#waiting.delete(waiter);
        waiter.resolve(snapshot);
      }
    });
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      for (const waiter of this.#waiting) waiter.reject(gone());
      this.#waiting.clear();
      rpc.dispose();
    });
  }

  /** @throws `Problem` `no-proxy` where nothing listens, `not-our-proxy` where what listens does not know the secret, or we do not. */
  static async connect({ socket: path, secret, hello }: ControlClientOptions): Promise<ControlClient> {
    const socket = await open(path);
    if (!(await enter(socket, secret).catch(() => false))) {
      socket.destroy();
      throw new Problem(
        'not-our-proxy',
        'What listens on the control socket was not started by this editor, so nothing was said to it. Stop it, then try again.',
      );
    }
    const rpc = createMessageConnection(withoutPartialTimer(new StreamMessageReader(socket)), new StreamMessageWriter(socket));
    const client = new ControlClient(socket, rpc);
    rpc.listen();
    await rpc.sendRequest('initialize', { processId: process.pid, rootUri: null, capabilities: {}, initializationOptions: hello });
    await rpc.sendNotification('initialized', {});
    return client;
  }

  /** The newest state, once there is one. */
  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  request(method: string, params: unknown = {}): Promise<unknown> {
    return this.#rpc.sendRequest(method, params);
  }

  /** The underlying connection, for the language protocol. */
  get rpc(): MessageConnection {
    return this.#rpc;
  }

  /** Resolves with the first state, from the present one on, that the test likes. */
  until(test: (snapshot: Snapshot) => boolean): Promise<Snapshot> {
    if (this.#snapshot && test(this.#snapshot)) return Promise.resolve(this.#snapshot);
    if (this.#socket.destroyed) return Promise.reject(gone());
    return new Promise((resolve, reject) => this.#waiting.add({ test, resolve, reject }));
  }

  /** Resolves when the proxy has hung up. */
  get closed(): Promise<void> {
    return this.#socket.destroyed ? Promise.resolve() : new Promise((resolve) => this.#socket.once('close', () => resolve()));
  }

  close(): void {
    this.#socket.destroy();
  }
}

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const failed = (cause: unknown): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new Problem('no-proxy', 'No proxy answers on the control socket. Open an editor window with Countersign, which starts it.', { cause }));
    };
    const timer = setTimeout(() => failed(undefined), CONNECT_TIMEOUT_MS);
    socket.once('error', failed);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', failed);
      socket.on('error', () => socket.destroy());
      resolve(socket);
    });
  });
}

function gone(): Problem {
  return new Problem('no-proxy', 'The proxy has gone.');
}
