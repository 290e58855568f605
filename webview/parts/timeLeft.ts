export interface TimeLeft {
  /** `9:41`, or `1 h 05 min` where there is more than an hour. */
  readonly text: string;
  /** In words, for a screen reader. */
  readonly words: string;
  /** What is left of the whole, 1 … 0. */
  readonly fraction: number;
  readonly state: 'calm' | 'soon' | 'over';
}

/** From here on the deadline is shown as pressing, in milliseconds. */
export const SOON_MS = 60_000;

/** @param askedAt, deadline, now epoch milliseconds by one clock */
export function timeLeft(askedAt: number, deadline: number, now: number): TimeLeft {
  const left = Math.max(0, deadline - now);
  // Rounded up: it reads 0:00 only when it is over.
  const seconds = Math.ceil(left / 1000);
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const two = (n: number): string => String(n).padStart(2, '0');
  const total = Math.max(1, deadline - askedAt);
  return {
    text: hours > 0 ? `${hours} h ${two(minutes)} min` : `${minutes}:${two(seconds % 60)}`,
    words: [hours > 0 ? `${hours} h` : '', minutes > 0 ? `${minutes} min` : '', hours === 0 ? `${seconds % 60} s` : ''].filter(Boolean).join(' '),
    fraction: Math.min(1, left / total),
    state: left === 0 ? 'over' : left <= SOON_MS ? 'soon' : 'calm',
  };
}

/** A length of time as a person says it: `12 ms`, `1.4 s`, `2 min 5 s`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `10:41`, in the reader's own manner. */
export function clockTime(at: number): string {
  return new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

/** The same, with the day where it is not today. */
export function dayTime(at: number, now: number = Date.now()): string {
  const today = new Date(at).toDateString() === new Date(now).toDateString();
  return today ? clockTime(at) : new Date(at).toLocaleString([], { weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
}
