// Processes that are ended together with all that they started: a test that hangs leaves servers, databases and browsers behind.
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const WINDOWS = process.platform === 'win32';
const running = new Map();

/**
 * Starts a program in a process group of its own, which also ends when this process is told to.
 * @param {string} [mark] an entry of its environment that nothing else has: by it, on Linux, what has left the group is found
 */
export function spawnGroup(command, args, options, mark) {
  if (running.size === 0) for (const signal of SIGNALS) process.on(signal, endAll);
  const child = spawn(command, args, { ...options, detached: !WINDOWS });
  running.set(child, mark);
  const gone = () => {
    running.delete(child);
    if (running.size === 0) for (const signal of SIGNALS) process.removeListener(signal, endAll);
  };
  return child.once('error', gone).once('exit', gone);
}

/** Ends a program and all that it started, also what is left of that when the program itself has ended. */
export function endGroup(child, mark) {
  if (child.pid === undefined) return;
  if (WINDOWS) {
    if (child.exitCode === null) spawnSync('taskkill', ['/pid', String(child.pid), '/T', '/F']);
    return;
  }
  for (const pid of [-child.pid, ...family(child, mark).map((one) => one.pid)]) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended, or nobody is left in the group.
    }
  }
}

/** What runs of a program and of all that it started. Only Linux tells: elsewhere nothing. */
export function family(child, mark) {
  if (process.platform !== 'linux') return [];
  const read = (pid, file) => readFileSync(`/proc/${pid}/${file}`, 'latin1');
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const stat = read(pid, 'stat');
      const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const ours = Number(group) === child.pid || (mark !== undefined && `\0${read(pid, 'environ')}`.includes(`\0${mark}\0`));
      return ours && state !== 'Z' ? [{ pid: Number(pid), command: read(pid, 'cmdline').replaceAll('\0', ' ').trim() }] : [];
    } catch {
      return []; // It has just ended, or is another user's.
    }
  });
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];
function endAll() {
  for (const [child, mark] of running) endGroup(child, mark);
  process.exit(1);
}
