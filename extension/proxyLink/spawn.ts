import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import type { StartLine } from '../../contract/daemon.ts';

/** Characters of what a failed proxy printed that are shown. */
const TAIL_BYTES = 2_000;

export interface Started {
  readonly pid: number | undefined;
  /** Resolves when it ends, with its exit code (or `undefined` where it could not be started) and its last words. */
  readonly ended: Promise<{ code: number | undefined; tail: string }>;
  readonly hasEnded: () => boolean;
}

/**
 * Starts the proxy on its own: it outlives this window. It prints to a file of ours, not to a pipe, for the same reason.
 * The start-up secret goes down its standard input, never into its arguments or environment, where others can read it.
 */
export function startProxy(script: string, line: StartLine, logFile: string): Started {
  mkdirSync(path.dirname(logFile), { recursive: true });
  const log = openSync(logFile, 'w', 0o600);
  const child = spawn(process.execPath, [script, 'daemon'], {
    cwd: homedir(),
    detached: true,
    env: childEnvironment(process.env),
    stdio: ['pipe', log, log],
    windowsHide: true,
  });
  closeSync(log);
  let over = false;
  const ended = new Promise<number | undefined>((resolve) => {
    child.once('exit', (exit) => resolve(exit ?? undefined));
    child.once('error', () => resolve(undefined));
  }).then(async (exit) => {
    over = true;
    return { code: exit, tail: await tail(logFile) };
  });
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(`${JSON.stringify(line)}\n`);
  child.unref();
  return { pid: child.pid, ended, hasEnded: () => over };
}

/**
 * The person's environment (PATH and the like, for stdio servers), without what belongs to the editor's own process and
 * without what names secrets.
 */
export function childEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(
    ([name]) => !/^(VSCODE_|ELECTRON_|CODE_SERVER_|NODE_OPTIONS$|NODE_V8_COVERAGE$|COUNTERSIGN_SECRETS_FILE$)/i.test(name),
  );
  return { ...Object.fromEntries(kept), ELECTRON_RUN_AS_NODE: '1' };
}

async function tail(file: string): Promise<string> {
  try {
    const handle = await open(file, 'r');
    try {
      const { size } = await handle.stat();
      const length = Math.min(size, TAIL_BYTES);
      const buffer = Buffer.alloc(length);
      await handle.read(buffer, 0, length, size - length);
      return buffer.toString('utf8').trim();
    } finally {
      await handle.close();
    }
  } catch {
    return '';
  }
}
