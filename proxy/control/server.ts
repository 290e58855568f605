/** The control channel: who proves the start-up secret may see what waits, and answer it. */
import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { METHODS } from '../../contract/control.ts';
import { Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';
import type { Log } from '../pipeline/engine.ts';
import { admit } from './handshake.ts';
import { ControlWindow, type WindowHost } from './window.ts';

/** Sockets that have not proved themselves yet; more are turned away until some have. */
const MAX_STRANGERS = 32;
const MAX_WINDOWS = 64;
/** Changes that come together go out together: how long the first of them waits, in milliseconds. */
const SNAPSHOT_DELAY_MS = 30;
const LIVE_PROBE_MS = 1_000;

export interface ControlServerOptions {
  /** Path of the socket, or name of the pipe. */
  readonly socket: string;
  readonly secret: Secret;
  readonly log: Log;
  readonly host: WindowHost;
}

export class ControlServer {
  readonly #options: ControlServerOptions;
  readonly #server: Server;
  readonly #windows = new Set<ControlWindow>();
  readonly #strangers = new Set<Socket>();
  #snapshotTimer: NodeJS.Timeout | undefined;
  #closing = false;
  #stopped = false;

  constructor(options: ControlServerOptions) {
    this.#options = options;
    this.#server = createServer({ pauseOnConnect: false }, (socket) => void this.#accept(socket));
  }

  /**
   * Listens. The caller holds the user's lock, so a socket file that nobody answers on was left by a proxy that died.
   * @throws `Problem` `control-socket` where somebody else listens there or the socket cannot be made.
   */
  async start(): Promise<void> {
    const { socket } = this.#options;
    if (process.platform !== 'win32') {
      if (await isLive(socket)) {
        throw new Problem(
          'control-socket',
          `Another program listens on ${socket}, where Countersign's editors look for the proxy. Stop it, then start Countersign again.`,
        );
      }
      rmSync(socket, { force: true });
    }
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(
          new Problem('control-socket', `Countersign cannot listen on ${socket} (${(cause as NodeJS.ErrnoException).code ?? 'unknown error'}).`, { cause }),
        ),
      );
      this.#server.listen(socket, resolve);
    });
    this.#server.on('error', (cause) => this.#options.log.error('control.failed', { cause }));
    if (process.platform !== 'win32') chmodSync(socket, 0o600);
  }

  /** How many windows have opened the channel and said hello. */
  get windows(): number {
    return [...this.#windows].filter((window) => window.hello).length;
  }

  /** Sends a new snapshot to every window, soon. */
  changed(): void {
    if (this.#stopped) return;
    this.#snapshotTimer ??= setTimeout(() => {
      this.#snapshotTimer = undefined;
      if (this.#windows.size === 0) return;
      const snapshot = this.#options.host.snapshot();
      for (const window of this.#windows) window.notify(METHODS.snapshot, snapshot);
    }, SNAPSHOT_DELAY_MS);
  }

  /** Tells every window, now. */
  tell(method: string, params: unknown): void {
    for (const window of this.#windows) window.tell(method, params);
  }

  /** Lets in no further window; those that are there stay. */
  admitNobody(): void {
    this.#closing = true;
    for (const socket of this.#strangers) socket.destroy();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#closing = true;
    clearTimeout(this.#snapshotTimer);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#strangers) socket.destroy();
    await Promise.all([...this.#windows].map((window) => window.end()));
    await closed;
  }

  async #accept(socket: Socket): Promise<void> {
    socket.on('error', () => socket.destroy());
    if (this.#closing || this.#strangers.size >= MAX_STRANGERS || this.#windows.size >= MAX_WINDOWS) return void socket.destroy();
    this.#strangers.add(socket);
    const admitted = await admit(socket, this.#options.secret).catch(() => false);
    this.#strangers.delete(socket);
    if (!admitted || this.#closing || this.#windows.size >= MAX_WINDOWS || socket.destroyed) {
      if (!admitted) this.#options.log.warn('control.refused');
      return void socket.destroy();
    }
    const window = new ControlWindow(socket, this.#options.host, this.#options.log, () => {
      this.#options.log.info('control.window-opened', { windows: this.windows });
    });
    this.#windows.add(window);
    socket.once('close', () => {
      this.#windows.delete(window);
      this.#options.log.info('control.window-closed', { windows: this.windows });
    });
    return window.listen();
  }
}

/** Whether something accepts connections at a socket's path. */
export function isLive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const done = (live: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(live);
    };
    // A listener whose queue is full neither accepts nor refuses: somebody is there.
    const timer = setTimeout(() => done(true), LIVE_PROBE_MS);
    socket.once('connect', () => done(true));
    socket.once('error', (cause) => done(!['ENOENT', 'ECONNREFUSED', 'ENOTSOCK'].includes((cause as NodeJS.ErrnoException).code ?? '')));
  });
}
