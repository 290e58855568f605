/** The demo's `countersign gateway`: a process of its own on the embedded store, which alone has the login to the shared database. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { IdentityProvider } from './identityProvider.ts';

const CLI = resolve(import.meta.dirname, '..', 'dist', 'countersign.cjs');
/** How long it may take to come up, and to end what it does, in milliseconds. */
const START_MS = 60_000;
const STOP_MS = 10_000;
/** Last part of what it says that is kept for an error message, in characters. */
const MAX_SAID_CHARS = 4000;
/** Its id of the identity provider: part of the address that people are sent back to. */
const PROVIDER = 'demo';

export interface DemoGatewayOptions {
  readonly folder: string;
  readonly port: number;
  readonly policy: string;
  /** The one secret that it keeps, and the provider's. */
  readonly secret: { readonly name: string; readonly value: string };
  readonly identitySecret: string;
}

export function redirectAt(port: number): string {
  return `${gatewayUrl(port)}/login/${PROVIDER}/callback`;
}

export function gatewayUrl(port: number): string {
  return `http://127.0.0.1:${port}`;
}

export class DemoGateway {
  readonly options: DemoGatewayOptions;
  readonly url: string;
  #child: ChildProcess | undefined;
  #said = '';

  constructor(options: DemoGatewayOptions) {
    this.options = options;
    this.url = gatewayUrl(options.port);
  }

  async start(provider: IdentityProvider): Promise<void> {
    const { folder, policy } = this.options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(join(folder, 'policy.yaml'), policy);
    writeFileSync(join(folder, 'gateway.yaml'), this.#config(provider));
    await this.#keepSecret();
    const log = createWriteStream(join(folder, 'gateway.log'), { flags: 'w', mode: 0o600 });
    const child = this.#run(['gateway', '--config', join(folder, 'gateway.yaml')]);
    this.#child = child;
    child.stdout?.pipe(log);
    const deadline = Date.now() + START_MS;
    while (
      !(await fetch(`${this.url}/readyz`).then(
        (r) => r.ok,
        () => false,
      ))
    ) {
      if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
        await this.stop();
        throw new Error(`The demo’s gateway did not start. ${join(folder, 'gateway.log')} says more.\n${this.#said}`);
      }
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await gone;
    clearTimeout(timer);
  }

  /** As whoever runs a gateway does, beside it; the embedded store is for one process, so before it starts. */
  async #keepSecret(): Promise<void> {
    const { folder, secret } = this.options;
    const stamp = join(folder, 'secret.sha256');
    const hash = createHash('sha256').update(`${secret.name}\0${secret.value}`).digest('hex');
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
    const child = this.#run(['gateway', 'secret', 'set', secret.name, '--config', join(folder, 'gateway.yaml')]);
    child.stdin?.end(secret.value);
    const code = await new Promise((done) => child.once('exit', done));
    if (code !== 0) throw new Error(`The demo’s gateway did not take its secret.\n${this.#said}`);
    writeFileSync(stamp, hash);
  }

  #run(args: readonly string[]): ChildProcess {
    const env = { ...process.env, COUNTERSIGN_DEMO_IDENTITY_SECRET: this.options.identitySecret };
    // A terminal's Ctrl-C goes to the whole group: this one is told when it is its turn.
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', CLI, ...args], { env, detached: true, stdio: 'pipe' });
    child.once('error', (error) => {
      this.#said += error.message;
    });
    child.stderr.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-MAX_SAID_CHARS);
    });
    // A demo that is killed takes it along.
    const end = (): void => void child.kill('SIGKILL');
    process.once('exit', end);
    child.once('exit', () => process.removeListener('exit', end));
    return child;
  }

  #config({ issuer, clientId }: IdentityProvider): string {
    const { folder, port } = this.options;
    return `# The demo's gateway. docs/gateway.md has the rest.
version: 1
publicUrl: ${this.url}
listen: 127.0.0.1:${port}
data: ${JSON.stringify(join(folder, 'data'))}
drainSeconds: 2
policy: { file: ${JSON.stringify(join(folder, 'policy.yaml'))} }
identity:
  providers:
    - id: ${PROVIDER}
      kind: oidc
      title: The demo’s identity provider
      issuer: ${issuer}
      clientId: ${clientId}
      clientSecret: env:COUNTERSIGN_DEMO_IDENTITY_SECRET
      scopes: [openid, profile, groups]
  roles:
    developer: ['group:developers']
    approver: ['group:dba']
    auditor: ['group:auditors']
`;
  }
}
