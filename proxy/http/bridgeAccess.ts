/** How a bridge that an agent started from its configuration finds the proxy and gets a login: by asking at its door. */
import { connect } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { MAX_PROXY_FILE_BYTES, PROXY_FILE, ProxyFile } from '../../contract/daemon.ts';
import { readSmallFile } from '../daemon/privateFile.ts';

/** How long a proxy that is not there yet is waited for: an agent may start its servers before its editor has started us. */
const WAIT_MS = 20_000;
const STEP_MS = 250;
const ANSWER_TIMEOUT_MS = 5_000;
const MAX_ANSWER = 4_096;

const Answer = z.object({ url: z.string().regex(/^http:\/\/127\.0\.0\.1:\d{1,5}\/mcp$/), token: z.string().min(1).max(400) });
export type BridgeAccess = z.infer<typeof Answer>;

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
    return ProxyFile.parse(JSON.parse(readSmallFile(join(state, PROXY_FILE), MAX_PROXY_FILE_BYTES) ?? '')).agents;
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
      try {
        resolve(Answer.safeParse(JSON.parse(text)).data);
      } catch {
        resolve(undefined);
      }
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
