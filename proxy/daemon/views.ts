/** What a window is shown of connections, and how its clients reach them. */
import type { ConnectionView, SurfaceAccess } from '../../contract/control.ts';
import type { Secret } from '../../contract/secret.ts';
import type { Secrets } from '../credential/secrets.ts';
import type { ClientLogins } from '../identity/clients.ts';
import type { Pins } from '../pinning/pins.ts';
import type { ConnectionConfig } from '../policy/policy.ts';
import { type Serving, secretRefs } from './serving.ts';
import { tellingLine } from './tellingLine.ts';

/** Version of the MCP definitions handed to an editor: raised when what a server offers changes by an update. */
const MCP_VERSION = '1';
/** Path of our own MCP server; a relayed connection is found below it. */
const OWN_MCP_PATH = 'mcp';

export function connectionViews(serving: Serving, secrets: Secrets, pins: Pins): ConnectionView[] {
  return serving.all.map((one) => viewOf(one, secrets, pins, withWords(one, problemOf(one, secrets))));
}

/** The same for who shows what was written beside it: nothing is said twice. */
export function connectionViewsWithoutWords(serving: Serving, secrets: Secrets, pins: Pins): ConnectionView[] {
  return serving.all.map((one) => viewOf(one, secrets, pins, problemOf(one, secrets)));
}

function viewOf(one: Serving['all'][number], secrets: Secrets, pins: Pins, problem: string | undefined): ConnectionView {
  const { config, served, state } = one;
  return {
    name: config.name,
    protocol: config.protocol,
    via: config.via,
    state: state.state,
    ...(state.state === 'needs-secret' && { secret: state.secret }),
    ...(problem !== undefined && { problem }),
    ...(served && { address: served.address }),
    ...(served?.output?.empty === false && { output: true }),
    ...(served?.oauth?.state === 'signed-in' && { signedIn: true }),
    credential: served?.oauth?.state === 'signed-in' ? 'a sign-in, kept by the editor' : credentialInWords(config),
    sensitive: Object.fromEntries(config.sensitive),
    ...(config.protocol === 'mcp' && { pins: pins.view(config.name) }),
  };
}

function problemOf({ config, state }: Serving['all'][number], secrets: Secrets): string | undefined {
  if (!('problem' in state)) return undefined;
  // The side of the secret knows best what is wrong with it, say with a file; it must not hide another problem.
  return ((state.state === 'needs-secret' ? missingSecret(config, secrets) : undefined) ?? state.problem).slice(0, 1000);
}

/** With the line that tells most of what the process wrote before it ended. */
function withWords({ served, state }: Serving['all'][number], problem: string | undefined): string | undefined {
  if (problem === undefined || state.state !== 'failed') return problem;
  const said = tellingLine(served?.output?.lines() ?? []);
  return (said === undefined ? problem : `${problem} It wrote: ${said}`).slice(0, 1000);
}

/** Why a connection has no login, told from the side of the secret. */
function missingSecret(config: ConnectionConfig, secrets: Secrets): string | undefined {
  for (const ref of secretRefs(config)) {
    const found = secrets.resolve(ref);
    if ('missing' in found) return found.missing;
  }
  return undefined;
}

function credentialInWords(config: ConnectionConfig): string {
  if (config.via === 'gateway') return 'kept by the gateway';
  if (config.protocol === 'postgres' && config.credential) return 'a role of its own for each session';
  const [ref] = secretRefs(config);
  switch (ref?.from) {
    case undefined:
      return 'none needed';
    case 'secret':
      return 'static login, kept by the editor';
    case 'env':
      return `static login, from the variable ${ref.name}`.slice(0, 200);
    case 'file':
      return 'static login, from a private file';
  }
}

export interface AccessOptions {
  readonly serving: Serving;
  readonly clients: ClientLogins;
  /** Port of the loopback server; undefined while it does not listen: a token must not go to whoever else does. */
  readonly httpPort: number | undefined;
}

/** For an agent outside the editor: the same bearer as a window's, in the name of the process that started the bridge. */
export function agentAccess(
  run: string,
  { clients, port }: { readonly clients: ClientLogins; readonly port: number },
): { readonly url: string; readonly token: Secret } {
  return { url: `http://127.0.0.1:${port}/${OWN_MCP_PATH}`, token: clients.issueBearer(`agent process ${run}`) };
}

/** Everything a window's terminals and MCP clients need. Only what listens is named. */
export function surfaceAccess(window: string, { serving, clients, httpPort }: AccessOptions): SurfaceAccess {
  const environment: Record<string, string> = {};
  const { user, password } = clients.issueLogin(window);
  // What a client reaches without a word is this machine's own, before what is shared: signing in changes nothing about it.
  const local = serving.all.filter(({ config }) => config.via === 'local');
  const shared = serving.all.filter(({ config }) => config.via !== 'local');
  for (const { config, served } of [...local, ...shared]) {
    const at = served?.environment;
    if (!at) continue;
    const url = new URL(`postgres://${at.host}:${at.port}`);
    url.username = user;
    url.password = password.reveal();
    url.pathname = `/${encodeURIComponent(at.database)}`;
    // Of two names that read alike as a variable, the first in the policy has it.
    environment[`COUNTERSIGN_DSN_${config.name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`] ??= url.href;
    if (environment.PGHOST !== undefined) continue;
    environment.PGHOST = at.host;
    environment.PGPORT = String(at.port);
    environment.PGDATABASE = at.database;
    environment.PGUSER = user;
    environment.PGPASSWORD = password.reveal();
    // Clients that know it refuse to send the password in the clear to whoever might listen in our place.
    environment.PGREQUIREAUTH = 'scram-sha-256';
  }
  if (httpPort === undefined) return { environment, mcp: [] };
  const token = clients.issueBearer(window).reveal();
  const headers = { Authorization: `Bearer ${token}` };
  const base = `http://127.0.0.1:${httpPort}/${OWN_MCP_PATH}`;
  // For `proxy mcp <name>`, which agents that run in a terminal start.
  environment.COUNTERSIGN_MCP_URL = base;
  environment.COUNTERSIGN_MCP_TOKEN = token;
  const relayed = serving.all.filter(({ config, served }) => config.protocol === 'mcp' && served);
  return {
    environment,
    mcp: [
      { name: 'countersign', label: 'Countersign', url: base, headers, version: MCP_VERSION },
      ...relayed.map(({ config: { name } }) => ({
        name,
        label: `${name} (through Countersign)`,
        url: `${base}/${encodeURIComponent(name)}`,
        headers,
        version: MCP_VERSION,
      })),
    ],
  };
}
