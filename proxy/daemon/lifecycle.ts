/** The life of the one proxy: how it starts, when it leaves, and what it leaves behind. */
import { rmSync } from 'node:fs';
import { CONTROL_VERSION, type KeepSecret, METHODS } from '../../contract/control.ts';
import { ProxyFile } from '../../contract/daemon.ts';
import { Problem } from '../../contract/problem.ts';
import { MAX_PROXY_FILE_BYTES } from '../../contract/proxyFile.ts';
import { Secret } from '../../contract/secret.ts';
import { ControlServer, isLive } from '../control/server.ts';
import { AgentDoor } from '../http/agentDoor.ts';
import { osPerson } from '../identity/person.ts';
import { fileLog } from '../log.ts';
import type { Clock, Log } from '../pipeline/engine.ts';
import { mountOwnServer } from '../protocols/mcp/ownServer.ts';
import { assemble } from './assemble.ts';
import { type Lock, takeLock } from './exclusive.ts';
import { Host } from './host.ts';
import { digestWith, installationKey } from './installation.ts';
import { type Paths, preparePaths } from './paths.ts';
import { Ports, portRange } from './ports.ts';
import { readSmallFile, writePrivateFile } from './privateFile.ts';
import { readStartLine } from './startLine.ts';
import { compileSooner } from './tiering.ts';

/** How the process ends. */
const EXIT = { done: 0, failed: 1, alreadyRunning: 3 } as const;
/** How long the proxy stays when the last window has gone and no session is open, in milliseconds. */
const GRACE_MS = 60_000;
/** How long a proxy that is starting or leaving may take until another one gives up on it, in milliseconds. */
const TAKEOVER_MS = 10_000;
const TAKEOVER_STEP_MS = 100;
/** How long closing may take before the process ends all the same, in milliseconds. */
const STOP_MS = 5_000;

const systemClock: Clock = { now: () => Date.now() };

/**
 * Runs the proxy until it leaves, and ends the process. Standard output gets one line of JSON: a `ProxyFile`, of this
 * proxy or (exit code 3) of the one that runs already. Standard error gets a sentence where it could not start.
 */
export async function runDaemon(env: Readonly<Record<string, string | undefined>> = process.env): Promise<void> {
  // The editor that started us may go, and with it the other end of our output.
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
  process.on('SIGHUP', () => undefined);
  let log: Log | undefined;
  try {
    const { secret, extensionVersion } = await readStartLine(process.stdin);
    process.stdin.destroy();
    const paths = preparePaths();
    const lock = await takeOver(paths);
    if ('running' in lock) {
      process.stdout.write(`${JSON.stringify(lock.running)}\n`, () => process.exit(EXIT.alreadyRunning));
      return;
    }
    log = fileLog(paths.log);
    await new Daemon({ paths, lock, log, env, secret: new Secret(secret), version: extensionVersion }).run();
  } catch (cause) {
    log?.error('daemon.not-started', { cause });
    const sentence =
      cause instanceof Problem ? cause.message : `Countersign's proxy could not start (${(cause as NodeJS.ErrnoException).code ?? 'a fault in it'}).`;
    process.stderr.write(`${sentence}\n`, () => process.exit(EXIT.failed));
  }
}

/** Becomes the user's one proxy, or finds the one that is: a live one is waited for while it starts or leaves. */
async function takeOver(paths: Paths): Promise<Lock | { readonly running: ProxyFile }> {
  for (let waited = 0; waited <= TAKEOVER_MS; waited += TAKEOVER_STEP_MS) {
    const lock = takeLock(paths.lockFile);
    if (lock) return lock;
    const running = readProxyFile(paths.proxyFile);
    if (running && (await isLive(running.socket))) return { running };
    await new Promise((resolve) => setTimeout(resolve, TAKEOVER_STEP_MS));
  }
  throw new Problem('already-running', `Another proxy holds ${paths.lockFile} and does not answer. End that process, then start Countersign again.`);
}

function readProxyFile(path: string): ProxyFile | undefined {
  try {
    return ProxyFile.parse(JSON.parse(readSmallFile(path, MAX_PROXY_FILE_BYTES) ?? ''));
  } catch {
    return undefined;
  }
}

interface DaemonOptions {
  readonly paths: Paths;
  readonly lock: Lock;
  readonly log: Log;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly secret: Secret;
  readonly version: string;
}

class Daemon {
  readonly #options: DaemonOptions;
  readonly #graceMs: number;
  #host: Host | undefined;
  #control: ControlServer | undefined;
  #door: AgentDoor | undefined;
  #graceTimer: NodeJS.Timeout | undefined;
  #leaving = false;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#graceMs = milliseconds(options.env.COUNTERSIGN_GRACE_MS) ?? GRACE_MS;
  }

  async run(): Promise<void> {
    const { env, log, paths, secret, version } = this.#options;
    process.on('uncaughtException', (cause) => this.#crash('daemon.crashed', cause));
    process.on('unhandledRejection', (cause) => this.#crash('daemon.crashed', cause));
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void this.#leave(`the proxy was told to stop (${signal})`));
    log.info('daemon.starting', { version, node: process.versions.node, platform: process.platform });

    const key = installationKey(paths.keyFile);
    const host = await Host.start({
      version,
      secret,
      person: osPerson(env),
      state: paths.state,
      ports: new Ports(paths.portsFile, portRange(env.COUNTERSIGN_PORTS)),
      digest: digestWith(key),
      clock: systemClock,
      log,
      env,
      parts: (events) => assemble({ paths, env, key, secret, clock: systemClock, log }, events),
      own: mountOwnServer,
      keep: (name, value) => this.#control?.tell(METHODS.keepSecret, { name, value } satisfies KeepSecret),
      changed: () => this.#control?.changed(),
      activity: () => this.#considerLeaving(),
      leave: (reason) => void this.#leave(reason),
      ...(milliseconds(env.COUNTERSIGN_RETRY_MS) !== undefined && { retryMs: milliseconds(env.COUNTERSIGN_RETRY_MS) ?? 0 }),
    });
    this.#host = host;
    const control = new ControlServer({ socket: paths.socket, secret, log, host });
    await control.start();
    this.#control = control;
    const door = new AgentDoor({ socket: paths.agents, log, access: (run) => host.agentAccess(run) });
    await door.start();
    this.#door = door;
    if (this.#leaving) return;

    const file: ProxyFile = {
      pid: process.pid,
      version,
      controlVersion: CONTROL_VERSION,
      socket: paths.socket,
      agents: paths.agents,
      startedAt: systemClock.now(),
    };
    const text = JSON.stringify(file);
    writePrivateFile(paths.proxyFile, `${text}\n`);
    process.stdout.write(`${text}\n`);
    compileSooner();
    log.info('daemon.started', { connections: host.snapshot().connections.length });
    this.#considerLeaving();
  }

  /** Leaves when no window and no session has been there for the grace. */
  #considerLeaving(): void {
    const idle = this.#host?.sessions === 0 && this.#host.windows === 0;
    if (!idle) {
      clearTimeout(this.#graceTimer);
      this.#graceTimer = undefined;
      return;
    }
    this.#graceTimer ??= setTimeout(() => void this.#leave('no editor window is open any more'), this.#graceMs);
  }

  async #leave(why: string): Promise<void> {
    if (this.#leaving) return;
    this.#leaving = true;
    clearTimeout(this.#graceTimer);
    const { lock, log, paths } = this.#options;
    log.info('daemon.leaving', { why });
    const late = setTimeout(() => this.#crash('daemon.left-late', new Error('closing took too long')), STOP_MS);
    try {
      // Whoever looks for a proxy from now on starts the next one, which waits for the lock.
      rmSync(paths.proxyFile, { force: true });
      this.#control?.admitNobody();
      await this.#host?.stop('it is shutting down; connect again when it is back');
      await this.#door?.stop();
      await this.#control?.stop();
      lock.release();
      clearTimeout(late);
      log.info('daemon.left');
      process.exit(EXIT.done);
    } catch (cause) {
      this.#crash('daemon.crashed', cause);
    }
  }

  /** Ends at once. All sockets close with the process, so nothing more is forwarded; the next start closes the record. */
  #crash(event: string, cause: unknown): void {
    this.#options.log.error(event, { cause });
    process.exit(EXIT.failed);
  }
}

function milliseconds(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}
