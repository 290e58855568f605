/** Oldest Node.js that has all we use: the one in the oldest editor that is supported. */
export const MIN_NODE = [22, 15] as const;

export function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1]);
}
