/** How a bridge that an agent started from its configuration finds the proxy and gets a login: by asking at its door. */
import { connect } from 'node:net';
import { join } from 'node:path';
import { MAX_PROXY_FILE_BYTES, PROXY_FILE } from '../../contract/proxyFile.ts';
import { readSmallFile } from '../daemon/privateFile.ts';

/** How long a proxy that is not there yet is waited for: an agent may start its servers before its editor has started us. */
const WAIT_MS = 20_000;
const STEP_MS = 250;
const ANSWER_TIMEOUT_MS = 5_000;
const MAX_ANSWER = 4_096;

const MAX_TOKEN = 400;
const URL_OF_MCP = /^http:\/\/127\.0\.0\.1:\d{1,5}\/mcp$/;

/** Two strings are looked at by hand: the library that decodes everything else would be nine tenths of a bridge's start. */
export interface BridgeAccess {
  readonly url: string;
  readonly token: string;
}

function readAnswer(text: string): BridgeAccess | undefined {
  const { token, url } = objectIn(text);
  if (typeof url !== 'string' || !URL_OF_MCP.test(url)) return undefined;
  return typeof token === 'string' && token.length > 0 && token.length <= MAX_TOKEN ? { url, token } : undefined;
}

function objectIn(text: string): { readonly [key: string]: unknown } {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as { readonly [key: string]: unknown }) : {};
  } catch {
    return {};
  }
}

/** @param state the proxy's state folder. @returns undefined where no proxy comes in time */
export async function askForAccess(state: string, run: string, waitMs: number = WAIT_MS): Promise<BridgeAccess | undefined> {
  for (const deadline = Date.now() + waitMs; ; ) {
    const socket = doorOf(state);
    const access = socket === undefined ? undefined : await ask(socket, run);
    if (access !== undefined || Date.now() >= deadline) return access;
    await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
}

function doorOf(state: string): string | undefined {
  try {
    const { agents } = objectIn(readSmallFile(join(state, PROXY_FILE), MAX_PROXY_FILE_BYTES) ?? '');
    return typeof agents === 'string' && agents !== '' ? agents : undefined;
  } catch {
    return undefined;
  }
}

function ask(socket: string, run: string): Promise<BridgeAccess | undefined> {
  return new Promise((resolve) => {
    const client = connect(socket);
    let text = '';
    const done = (): void => {
      client.destroy();
      resolve(readAnswer(text));
    };
    client.setEncoding('utf8');
    client.setTimeout(ANSWER_TIMEOUT_MS, done);
    client.once('error', done);
    client.once('close', done);
    client.once('connect', () => client.write(`${JSON.stringify({ run })}\n`));
    client.on('data', (chunk: string) => {
      text += chunk;
      if (text.includes('\n') || text.length > MAX_ANSWER) done();
    });
  });
}
