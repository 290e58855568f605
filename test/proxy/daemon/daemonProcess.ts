/** A real proxy in a process of its own, with everything it keeps in a temporary folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CONTROL_VERSION } from '../../../contract/control.ts';
import { ProxyFile } from '../../../contract/daemon.ts';
import { Secret } from '../../../contract/secret.ts';
import { portRange } from '../../../demo/freePort.ts';
import { ControlClient } from '../../../proxy/control/client.ts';
import { within } from '../../support/soon.ts';

export const MAIN = resolve(import.meta.dirname, '../../../proxy/main.ts');

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  /** The first line of output; undefined where it ended without one. */
  readonly file: Promise<ProxyFile | undefined>;
  readonly exit: Promise<Exit>;
}

export class Home {
  readonly path = mkdtempSync(join(tmpdir(), 'cs-daemon-'));
  readonly secret = randomBytes(32).toString('hex');
  readonly #running = new Set<Running>();
  readonly #clients = new Set<ControlClient>();
  readonly #env: Record<string, string>;
  readonly #main: string;

  /** @param main what to run instead of the sources: a bundle. */
  constructor(env: Record<string, string> = {}, main = MAIN) {
    this.#main = main;
    this.#env = { COUNTERSIGN_PORTS: portRange(), COUNTERSIGN_RETRY_MS: '200', ...env };
  }

  get proxyFile(): string {
    return join(this.path, 'proxy.json');
  }

  get log(): string {
    return readFileSync(join(this.path, 'log', 'proxy.log'), 'utf8');
  }

  /** Starts a proxy as the extension does. `line` replaces what it is told on standard input. */
  spawn(
    options: { readonly env?: Record<string, string>; readonly secret?: string; readonly line?: string; readonly nodeFlags?: readonly string[] } = {},
  ): Running {
    const env = { ...process.env, COUNTERSIGN_HOME: this.path, ...this.#env, ...options.env };
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...(options.nodeFlags ?? []), this.#main, 'daemon'], {
      env,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.line ?? `${JSON.stringify({ secret: options.secret ?? this.secret, extensionVersion: '1.2.3' })}\n`);
    let stdout = '';
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const exit = new Promise<Exit>((done) => child.once('close', (code, signal) => done({ code, signal, stdout, stderr })));
    const file = new Promise<ProxyFile | undefined>((done) => {
      child.stdout?.on('data', (chunk: Buffer) => {
        stdout += chunk.toString();
        if (stdout.includes('\n')) done(ProxyFile.parse(JSON.parse(stdout.split('\n')[0] ?? '')));
      });
      child.once('close', () => done(undefined));
    });
    const running = { child, file, exit };
    this.#running.add(running);
    return running;
  }

  /** Starts a proxy and waits until it says where it listens. */
  async start(options: Parameters<Home['spawn']>[0] = {}): Promise<Running & { readonly at: ProxyFile }> {
    const running = this.spawn(options);
    const at = await running.file;
    if (!at) throw new Error(`the proxy did not start: ${JSON.stringify(await running.exit)}`);
    return { ...running, at };
  }

  async attach(at: ProxyFile, window = 'window', secret = this.secret): Promise<ControlClient> {
    const hello = { controlVersion: CONTROL_VERSION, extensionVersion: '1.2.3', window, editor: 'Test Editor' };
    const client = await ControlClient.connect({ socket: at.socket, secret: new Secret(secret), hello });
    const bare = client.until.bind(client);
    client.until = (test) => within(`a state in which ${String(test)}`, bare(test));
    this.#clients.add(client);
    return client;
  }

  /** Ends whatever is left and removes the folder. */
  async remove(): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const { child, exit } of this.#running) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await exit;
    }
    rmSync(this.path, { recursive: true, force: true });
  }
}
