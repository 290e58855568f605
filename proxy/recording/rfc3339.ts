let lastAt = -1;
let lastText = '';
let second = -1;
let secondText = '';
/** RFC 3339, UTC, milliseconds; remembers the last, for many entries share a millisecond, and more a second. */
export function rfc3339(at: number): string {
  if (at === lastAt) return lastText;
  lastAt = at;
  const now = Math.floor(at / 1000);
  if (now !== second) {
    second = now;
    secondText = new Date(now * 1000).toISOString().slice(0, -4);
  }
  const ms = Math.floor(at) - now * 1000;
  lastText = `${secondText}${ms < 100 ? (ms < 10 ? '00' : '0') : ''}${ms}Z`;
  return lastText;
}
