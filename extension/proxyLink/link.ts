/** This window's link to the one proxy: keeps it up, says how it stands, and carries requests. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import * as vscode from 'vscode';
import type { z } from 'zod';
import type { Hello, KeepSecret, Snapshot } from '../../contract/control.ts';
import { Problem } from '../../contract/problem.ts';
import { SECRET_KEYS } from '../ids.ts';
import type { Attached } from './attach.ts';
import { STABLE_AFTER_MS, waitBefore } from './backoff.ts';
import type { ControlClient } from './client.ts';
import type { LinkState } from './linkState.ts';
import { startProxy } from './spawn.ts';
import { startSecret } from './startSecret.ts';

/** Attempts that fail in a row before a person is told; they go on all the same. */
const QUIET_ATTEMPTS = 2;
/** Problems that another attempt does not mend: a person has to act. */
const LASTING = new Set(['taken', 'newer-proxy', 'foreign-proxy', 'state-folder']);

export interface LinkDeps {
  readonly log: vscode.LogOutputChannel;
  readonly secrets: vscode.SecretStorage;
  /** Absolute path of `proxy.cjs`. */
  readonly script: string;
  readonly startLog: string;
  readonly version: string;
  readonly hello: Omit<Hello, 'controlVersion'>;
}

export class ProxyLink implements vscode.Disposable {
  readonly #deps: LinkDeps;
  readonly #changed = new vscode.EventEmitter<LinkState>();
  readonly #snapshots = new vscode.EventEmitter<Snapshot>();
  readonly #kept = new vscode.EventEmitter<KeepSecret>();
  readonly #attached = new vscode.EventEmitter<void>();
  readonly #power: vscode.Disposable;
  #state: LinkState = { kind: 'starting' };
  #client: ControlClient | undefined;
  #run: AbortController | undefined;
  #attempt = 0;
  /** Once this window was attached it does not end another profile's proxy by itself: two windows would go on for ever. */
  #mayEvict = true;

  readonly onDidChange = this.#changed.event;
  readonly onSnapshot = this.#snapshots.event;
  /** The proxy has a secret to keep, or to forget: a token that it was given or has renewed. */
  readonly onKeepSecret = this.#kept.event;
  /** A new connection, to the same proxy or another: push what it cannot know. */
  readonly onDidAttach = this.#attached.event;

  constructor(deps: LinkDeps) {
    this.#deps = deps;
    // Off is kept where an agent cannot write, and holds for every window of this profile.
    this.#power = deps.secrets.onDidChange((event) => {
      if (event.key === SECRET_KEYS.power) void this.#followPower();
    });
  }

  get state(): LinkState {
    return this.#state;
  }

  get speaksPolicy(): boolean {
    return this.#client?.speaksPolicy ?? false;
  }

  async open(): Promise<void> {
    if ((await this.#deps.secrets.get(SECRET_KEYS.power)) === 'off') this.#set({ kind: 'off' });
    else this.#begin();
  }

  /** Turns protection on, in every window of this profile. */
  async turnOn(): Promise<void> {
    await this.#deps.secrets.delete(SECRET_KEYS.power);
    this.#attempt = 0;
    if (this.#run === undefined) this.#begin();
  }

  /** Ends the proxy: what waits is denied, connections close. */
  async turnOff(reason: string): Promise<void> {
    await this.#deps.secrets.store(SECRET_KEYS.power, 'off');
    await this.#shutDown(reason);
    await this.#end({ kind: 'off' });
  }

  async restart(reason: string): Promise<void> {
    await this.#shutDown(reason);
    await this.#end({ kind: 'starting' });
    await this.turnOn();
  }

  /** A person asked for it: end the other profile's proxy and start ours. */
  async takeOver(): Promise<void> {
    this.#mayEvict = true;
    await this.#end({ kind: 'starting' });
    await this.turnOn();
  }

  /** @throws Problem `not-connected`; whatever the proxy answers */
  async request<T extends z.ZodType>(method: string, params: unknown, schema: T, token?: vscode.CancellationToken): Promise<z.infer<T>> {
    const client = this.#client;
    if (client === undefined) throw new Problem('not-connected', 'Countersign is not connected to its proxy right now. See the status bar.');
    return await client.request(method, params, schema, token);
  }

  async close(): Promise<void> {
    await this.#end(undefined);
  }

  dispose(): void {
    this.#power.dispose();
    void this.close();
    this.#changed.dispose();
    this.#snapshots.dispose();
    this.#kept.dispose();
    this.#attached.dispose();
  }

  async #shutDown(reason: string): Promise<void> {
    const client = this.#client;
    if (client === undefined) return;
    const [{ METHODS }, { z }] = await Promise.all([import('../../contract/control.ts'), import('zod')]);
    // It may be gone before its answer is here; then it did what was asked.
    await client.request(METHODS.shutdown, { reason }, z.unknown()).catch((error: unknown) => this.#deps.log.warn(`stopping the proxy: ${String(error)}`));
  }

  async #followPower(): Promise<void> {
    const off = (await this.#deps.secrets.get(SECRET_KEYS.power)) === 'off';
    if (off && this.#state.kind !== 'off') await this.#end({ kind: 'off' });
    else if (!off && this.#state.kind === 'off') this.#begin();
  }

  #begin(): void {
    this.#run?.abort();
    const run = new AbortController();
    this.#run = run;
    this.#keepUp(run.signal).catch((error: unknown) => {
      if (!run.signal.aborted) this.#fail(error);
    });
  }

  async #end(state: LinkState | undefined): Promise<void> {
    this.#run?.abort();
    this.#run = undefined;
    const client = this.#client;
    this.#client = undefined;
    if (state) this.#set(state);
    await client?.stop();
  }

  async #keepUp(signal: AbortSignal): Promise<void> {
    for (; !signal.aborted; this.#attempt++) {
      if (this.#attempt < QUIET_ATTEMPTS || this.#state.kind === 'on') this.#set({ kind: 'starting' });
      try {
        const since = await this.#hold(signal);
        if (Date.now() - since > STABLE_AFTER_MS) this.#attempt = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Problem && LASTING.has(error.code)) {
          this.#run = undefined;
          this.#fail(error);
          return;
        }
        this.#deps.log.error(error instanceof Error ? error : String(error));
        if (this.#attempt + 1 >= QUIET_ATTEMPTS) this.#fail(error);
      }
      await sleep(waitBefore(this.#attempt), undefined, { signal }).catch(() => undefined);
    }
  }

  /** Attaches and stays until the connection ends. Returns when it came up. */
  async #hold(signal: AbortSignal): Promise<number> {
    // Loaded here, not at the top: activation does not wait for it.
    const [{ ControlClient, askToLeave }, { CONTROL_VERSION }] = await Promise.all([import('./client.ts'), import('../../contract/control.ts')]);
    const { log, hello } = this.#deps;
    const { socket, file } = await this.#attach(signal, (open, reason) => askToLeave(open, reason, hello));
    let client: ControlClient | undefined;
    try {
      signal.throwIfAborted();
      const closed = Promise.withResolvers<void>();
      client = new ControlClient(socket, { ...hello, controlVersion: CONTROL_VERSION }, log, {
        onSnapshot: (snapshot) => this.#client === client && this.#snapshots.fire(snapshot),
        onKeepSecret: (secret) => this.#client === client && this.#kept.fire(secret),
        onGarbled: (why) =>
          closed.reject(
            new Problem(
              'garbled',
              `The proxy sent something this version of Countersign does not understand (${why}). Restart Countersign; if that does not help, reload the window.`,
            ),
          ),
        onClosed: () => closed.resolve(),
      });
      closed.promise.catch(() => undefined);
      const opened = client;
      // Set before it starts: the first snapshot may come with the answer to initialize.
      this.#client = opened;
      await Promise.race([
        opened.start(),
        closed.promise.then(() => Promise.reject(new Problem('closed', 'The proxy closed the connection while it was being set up.'))),
      ]);
      signal.throwIfAborted();
      const since = Date.now();
      this.#mayEvict = false;
      log.info(`attached to proxy ${file.version}, process ${file.pid}`);
      this.#set({ kind: 'on', pid: file.pid, version: file.version });
      this.#attached.fire();
      await closed.promise;
      if (!signal.aborted) log.warn('the connection to the proxy was lost');
      return since;
    } finally {
      if (this.#client === client) this.#client = undefined;
      await client?.stop();
      socket.destroy();
    }
  }

  async #attach(signal: AbortSignal, ask: (socket: Socket, reason: string) => Promise<void>): Promise<Attached> {
    const [{ attach }, { ourStateFolder }] = await Promise.all([import('./attach.ts'), import('./locate.ts')]);
    const { log, secrets, script, startLog, version } = this.#deps;
    return await attach({
      folder: ourStateFolder(),
      version,
      secret: () => startSecret(secrets),
      start: (secret) => startProxy(script, { secret, extensionVersion: version }, startLog),
      askToLeave: ask,
      log: (level, message) => log[level](message),
      mayEvict: this.#mayEvict,
      signal,
    });
  }

  #fail(error: unknown): void {
    const problem =
      error instanceof Problem
        ? error
        : new Problem('unexpected', `Countersign could not reach its proxy: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    this.#deps.log.error(`${problem.code}: ${problem.message}`);
    this.#set({ kind: 'failed', code: problem.code, sentence: problem.message, takeOver: problem.code === 'taken' });
  }

  #set(state: LinkState): void {
    this.#state = state;
    this.#changed.fire(state);
  }
}
