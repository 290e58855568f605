import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** How long a proxy gets to deny what waits and close its records before it is killed, in milliseconds. */
const LEAVE_MS = 5_000;
const KILLED_MS = 2_000;
const POLL_MS = 50;

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Whether a command line is one of our proxies: a pid in a file may belong to something else by now. */
export function isProxyCommand(commandLine: string): boolean {
  return /(^|[\\/\s"])proxy\.cjs"?\s+"?daemon\b/.test(commandLine);
}

/** The command line of a process, words joined by blanks; undefined where it cannot be had. */
export async function commandLine(pid: number): Promise<string | undefined> {
  try {
    if (process.platform === 'linux') return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ');
    if (process.platform === 'win32') {
      const script = `(Get-CimInstance Win32_Process -Filter 'ProcessId=${pid}').CommandLine`;
      return (await run('powershell.exe', ['-NoProfile', '-NonInteractive', '-Command', script], { timeout: 10_000, windowsHide: true })).stdout;
    }
    return (await run('/bin/ps', ['-p', String(pid), '-o', 'command='], { timeout: 5_000 })).stdout;
  } catch {
    return undefined;
  }
}

/** Ends a proxy of ours. `not-ours`: that pid runs something else, and nothing was done. */
export async function terminate(pid: number): Promise<'gone' | 'not-ours' | 'still-there'> {
  if (!isAlive(pid)) return 'gone';
  const command = await commandLine(pid);
  if (command === undefined || !isProxyCommand(command)) return isAlive(pid) ? 'not-ours' : 'gone';
  signal(pid, 'SIGTERM');
  if (await waitGone(pid, LEAVE_MS)) return 'gone';
  signal(pid, 'SIGKILL');
  return (await waitGone(pid, KILLED_MS)) ? 'gone' : 'still-there';
}

export async function waitGone(pid: number, ms: number): Promise<boolean> {
  for (const until = Date.now() + ms; Date.now() < until; await sleep(POLL_MS)) if (!isAlive(pid)) return true;
  return !isAlive(pid);
}

function signal(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch {
    // It left by itself between the check and the signal.
  }
}
