// Processes that are ended together with all that they started: a test that hangs leaves servers, databases and browsers behind.
import { spawn, spawnSync } from 'node:child_process';

const WINDOWS = process.platform === 'win32';
const running = new Set();

/** Starts a program in a process group of its own, which also ends when this process is told to. */
export function spawnGroup(command, args, options) {
  if (running.size === 0) for (const signal of SIGNALS) process.on(signal, endAll);
  const child = spawn(command, args, { ...options, detached: !WINDOWS });
  running.add(child);
  const gone = () => {
    running.delete(child);
    if (running.size === 0) for (const signal of SIGNALS) process.removeListener(signal, endAll);
  };
  return child.once('error', gone).once('exit', gone);
}

/** Ends a program and all of its group, also what is left of it when the program itself has ended. */
export function endGroup(child) {
  if (child.pid === undefined) return;
  if (WINDOWS) {
    if (child.exitCode === null) spawnSync('taskkill', ['/pid', String(child.pid), '/T', '/F']);
    return;
  }
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Nobody is left in it.
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];
function endAll() {
  for (const child of running) endGroup(child);
  process.exit(1);
}
