import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as oauth from 'openid-client';
import { z } from 'zod';
import { stateFolder } from '../contract/daemon.ts';
import { CLI_CLIENT } from '../contract/gateway/api.ts';
import { type Command, type ExitCode, type Io, UsageError } from './command.ts';

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]']);
/** A token that lasts less long than this is renewed before it is printed, in milliseconds. */
const FRESH_MS = 60_000;

const Login = z.object({ url: z.string().max(2000), access: z.string().max(16_384), refresh: z.string().max(2000), expiresAt: z.number() });
type Login = z.infer<typeof Login>;

export const login: Command = {
  name: 'login',
  usage: '[URL]',
  about: 'sign this terminal in to a gateway, with a code that you confirm in a browser',
  help: `URL is the gateway's address, such as https://gateway.example.

--token    print an access token of the login that there is, renewed where it must be, and nothing else:
           curl -H "Authorization: Bearer $(countersign login --token)" https://gateway.example/v1/sessions

What a terminal's login may do is look, and ask for access: it answers nothing, because an agent that runs here could use it as
well. It lies in Countersign's state folder, readable by you alone.`,
  async run(args, io) {
    const { values, positionals } = parseArgs({ args: [...args], options: { token: { type: 'boolean', default: false } }, allowPositionals: true });
    if (values.token) {
      if (positionals.length > 0) throw new UsageError('--token takes no address: it is for the login that there is.');
      return await printToken(io);
    }
    const [text, ...more] = positionals;
    const url = text !== undefined && more.length === 0 ? addressOf(text) : undefined;
    if (!url) throw new UsageError('Say which gateway: countersign login https://HOST.');
    return await guarded(url, io, async () => {
      const config = await discover(url);
      const device = await oauth.initiateDeviceAuthorization(config, {});
      io.out(`Open ${device.verification_uri} in a browser and type the code ${device.user_code}.`);
      io.out(`It is good for ${Math.round(device.expires_in / 60)} minutes. Waiting…`);
      const tokens = await oauth.pollDeviceAuthorizationGrant(config, device);
      keep(loginOf(url, tokens));
      io.out(`This terminal is signed in to ${url.host}. End it with: countersign logout`);
      return 0;
    });
  },
};

export const logout: Command = {
  name: 'logout',
  usage: '',
  about: 'end this terminal’s login at its gateway',
  help: 'The login is forgotten here in any case, and ended at the gateway where that can be reached.',
  async run(args, io) {
    if (args.length > 0) throw new UsageError(`\`${args[0]}\` is not known here.`);
    const kept = read();
    rmSync(file(), { force: true });
    if (!kept) {
      io.out('This terminal was not signed in.');
      return 0;
    }
    const url = new URL(kept.url);
    return await guarded(url, io, async () => {
      await oauth.tokenRevocation(await discover(url), kept.refresh);
      io.out(`This terminal is signed out of ${url.host}.`);
      return 0;
    });
  },
};

async function printToken(io: Io): Promise<ExitCode> {
  const kept = read();
  if (!kept) {
    io.error('This terminal is not signed in. Sign in first: countersign login https://HOST');
    return 1;
  }
  const url = new URL(kept.url);
  return await guarded(url, io, async () => {
    if (kept.expiresAt - Date.now() > FRESH_MS) io.out(kept.access);
    else {
      const next = loginOf(url, await oauth.refreshTokenGrant(await discover(url), kept.refresh));
      keep(next);
      io.out(next.access);
    }
    return 0;
  });
}

/** What the gateway or the network says no with, as a sentence. */
async function guarded(url: URL, io: Io, body: () => Promise<ExitCode>): Promise<ExitCode> {
  try {
    return await body();
  } catch (cause) {
    if (cause instanceof oauth.ResponseBodyError) {
      const words: Record<string, string> = {
        access_denied: 'The sign-in was denied in the browser.',
        expired_token: 'Nobody signed in within the time. Begin again.',
        invalid_grant: 'This terminal’s login has ended. Sign in again: countersign login',
      };
      io.error(words[cause.error] ?? `The gateway at ${url.host} refused (${cause.error}).`);
    } else io.error(`The gateway at ${url.host} cannot be reached, or is none. Check the address and the network, then try again.`);
    return 1;
  }
}

/** A gateway's: nothing that carries a token over a network in the clear. */
export function addressOf(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || url.username !== '' || url.password !== '') return undefined;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.has(url.hostname)) ? url : undefined;
}

async function discover(url: URL): Promise<oauth.Configuration> {
  return await oauth.discovery(url, CLI_CLIENT, undefined, oauth.None(), {
    algorithm: 'oauth2',
    ...(url.protocol === 'http:' && { execute: [oauth.allowInsecureRequests] }),
  });
}

function loginOf(url: URL, tokens: oauth.TokenEndpointResponse & oauth.TokenEndpointResponseHelpers): Login {
  return Login.parse({ url: url.href, access: tokens.access_token, refresh: tokens.refresh_token, expiresAt: Date.now() + (tokens.expiresIn() ?? 0) * 1000 });
}

function file(): string {
  return join(stateFolder({ platform: process.platform, env: process.env, home: homedir() }), 'terminal-login.json');
}

function read(): Login | undefined {
  try {
    return existsSync(file()) ? Login.safeParse(JSON.parse(readFileSync(file(), 'utf8'))).data : undefined;
  } catch {
    return undefined;
  }
}

function keep(login: Login): void {
  mkdirSync(join(file(), '..'), { recursive: true, mode: 0o700 });
  writeFileSync(`${file()}.next`, JSON.stringify(login), { mode: 0o600 });
  renameSync(`${file()}.next`, file());
}
