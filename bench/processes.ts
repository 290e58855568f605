/** What a running process costs, read from Linux's /proc. Elsewhere the figures are not to be had and say so. */
import { readFileSync } from 'node:fs';

/** Clock ticks a second in /proc/<pid>/stat: fixed at 100 for every Linux that user space sees. */
const TICKS_PER_SECOND = 100;

/** CPU time of a process so far, in milliseconds; NaN where there is no /proc. */
export function cpuMs(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
  } catch {
    return Number.NaN;
  }
}

/** Resident memory of a process in megabytes; the most so far with `peak`. NaN where there is no /proc. */
export function residentMb(pid: number, peak = false): number {
  try {
    const match = new RegExp(`^Vm${peak ? 'HWM' : 'RSS'}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return Number(match?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
}
