/** The team's half of the demo: an identity provider, a gateway with a shared connection, and a second person's editor. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EditorWindow } from './editorWindow.ts';
import { DemoGateway, gatewayUrl, redirectAt } from './gateway.ts';
import { IdentityProvider } from './identityProvider.ts';
import type { Kept } from './kept.ts';
import { admit, DATABASE } from './shop.ts';
import { CONNECTION, SHARED } from './story.ts';

/** The role that the gateway logs in with: of its own, so that its password can be looked for where it must not be. */
const LOGIN = 'shop_gateway';
const SECRET = 'production';

export interface TeamOptions {
  readonly folder: string;
  readonly kept: Kept;
  readonly vsix: string;
  readonly say: (line: string) => void;
  readonly desktop?: string;
  /** Where the first window has the extension installed. */
  readonly extensions: string;
}

/** What an editor needs to know of the gateway. */
export function gatewaySettings({ gatewayPort }: Kept): Readonly<Record<string, string>> {
  return { 'countersign.gateway.url': gatewayUrl(gatewayPort) };
}

/**
 * A loopback address that the extension opens goes to the person's browser as it is. Left alone, the demo's editor in the
 * browser would send it through itself, below its own address.
 */
export const OPEN_ADDRESSES_AS_THEY_ARE = { VSCODE_PROXY_URI: '' } as const;

export class Team {
  readonly options: TeamOptions;
  readonly identity: IdentityProvider;
  readonly gateway: DemoGateway;
  /** Sam's. */
  readonly window: EditorWindow;

  constructor(options: TeamOptions) {
    const { folder, kept, vsix, desktop, extensions } = options;
    this.options = options;
    this.identity = new IdentityProvider({ port: kept.identityPort, secret: kept.identitySecret, redirect: redirectAt(kept.gatewayPort) });
    this.gateway = new DemoGateway({
      folder: join(folder, 'gateway'),
      port: kept.gatewayPort,
      policy: policyText(kept.databasePort),
      secret: { name: SECRET, value: kept.gatewayPassword },
      identitySecret: kept.identitySecret,
    });
    this.window = new EditorWindow({
      folder: join(folder, 'sam'),
      home: join(folder, 'sam', 'state'),
      workspace: join(folder, 'sam', 'workspace'),
      port: kept.secondEditorPort,
      vsix,
      machine: gatewaySettings(kept),
      extensions,
      ...(desktop !== undefined && { desktop }),
    });
  }

  async start(): Promise<void> {
    const { kept, say } = this.options;
    const { home, workspace } = this.window.options;
    say('Starting the team’s gateway and the second editor…');
    mkdirSync(workspace, { recursive: true });
    mkdirSync(home, { recursive: true, mode: 0o700 });
    writeFileSync(join(workspace, 'README.md'), README);
    await admit(kept.databasePort, kept.adminPassword, { user: LOGIN, password: kept.gatewayPassword });
    await this.identity.start();
    await this.gateway.start(this.identity);
    await this.window.start({ COUNTERSIGN_HOME: home, COUNTERSIGN_POLICY: '', ...OPEN_ADDRESSES_AS_THEY_ARE });
  }

  async stop(): Promise<void> {
    await this.window.stop();
    await this.gateway.stop();
    await this.identity.stop();
  }
}

function policyText(databasePort: number): string {
  return `# The team's policy. The gateway takes it up when you save, and everyone has it a second later.
version: 1

connections:
  ${SHARED}:
    protocol: postgres
    via: gateway
    upstream: postgres://${LOGIN}@127.0.0.1:${databasePort}/${DATABASE}
    tls: disable
    password: secret:${SECRET}
    sensitive:
      customers.email: partial
      customers.ssn: redact
      customers.card: token

rules:
  - id: production-writes
    match: { connection: ${SHARED}, effect: [write, delete] }
    verdict: ask
    approvers: ['group:dba']
    preview: dry-run
    expires: 10m

  # For what a laptop reaches by itself: the gateway hands this to everyone who signs in, and their own files can only tighten it.
  - id: laptop-writes
    match: { connection: ${CONNECTION}, effect: [write, delete] }
    verdict: ask
    approvers: [requester]
    preview: dry-run
    expires: 2m

  - id: production-schema
    match: { connection: ${SHARED}, effect: schema }
    verdict: ask
    approvers: ['group:dba']
    fresh-login: true
    expires: 10m
`;
}

const README = `# Sam's window

You are Sam, the database administrator. Sign in: the Accounts menu (the person at the bottom left), "Sign in with
Countersign", then choose Sam in the browser.

What Dana's agent asks of \`${SHARED}\` waits here, in the Approvals view: she cannot approve it herself. A change of the
schema wants you to sign in once more, for that one request.
`;
