/**
 * Which values of a server's definition are secrets. Errs on the side of yes: a secret too many costs nothing, one too few
 * would stand in the policy file. Pure.
 */

const SECRET_NAME =
  /(token|secret|passw(or)?d|passphrase|credential|auth|api[_-]?key|access[_-]?key|private[_-]?key|(^|[_-])(key|pat|pwd|pin|jwt|dsn)$|cookie|session|bearer|signature|webhook|connection[_-]?string|(database|db|redis|mongo(db)?|postgres(ql)?|mysql|amqp)[_-]?ur[il])/i;
/** Headers that say nothing about who asks. */
const PLAIN_HEADERS = new Set(['accept', 'accept-language', 'content-type', 'user-agent', 'mcp-protocol-version']);
const SECRET_VALUES: readonly RegExp[] = [
  /\b(gh[opsur]_|github_pat_|glpat-|xox[abposr]-|sk-|sk_live_|rk_live_|pk_live_|AKIA|ASIA|AIza|ya29\.|npm_|pypi-|dop_v1_|hf_|lin_api_|ntn_|secret_|figd_|SG\.|shpat_|EAAC)[A-Za-z0-9_-]{6,}/,
  /\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}/,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----/,
  /^(bearer|basic|token|apikey)\s+\S{8,}/i,
  // A login inside an address.
  /[a-z][a-z0-9+.-]*:\/\/[^/\s:@]*:[^/\s@]+@/i,
  /[?&](token|key|api_?key|access_token|secret|password|sig|signature|auth)=[^&\s]{6,}/i,
  /\b(password|pwd|secret|token|api_?key)=[^;\s]{4,}/i,
];
const FLAG = /^--?([A-Za-z][\w-]*)(?:=(.*))?$/s;
/** Shortest text that is judged by how random it looks, in characters, and from how many bits a character on. */
const MIN_RANDOM_CHARS = 24;
const RANDOM_BITS = 3.6;

export function isSecretVariable(name: string, value: string): boolean {
  return value !== '' && (SECRET_NAME.test(name) || looksSecret(value));
}

export function isSecretHeader(name: string, value: string): boolean {
  return value !== '' && (!PLAIN_HEADERS.has(name.toLowerCase()) || looksSecret(value));
}

/** @param before the argument before it: `--api-key` says what follows. */
export function isSecretArgument(value: string, before: string | undefined): boolean {
  const [, flag, inline] = FLAG.exec(value) ?? [];
  if (inline !== undefined && flag !== undefined) return inline !== '' && (SECRET_NAME.test(flag) || looksSecret(inline));
  const [, asked, answered] = FLAG.exec(before ?? '') ?? [];
  return looksSecret(value) || (asked !== undefined && answered === undefined && flag === undefined && SECRET_NAME.test(asked) && value !== '');
}

export function looksSecret(value: string): boolean {
  return SECRET_VALUES.some((pattern) => pattern.test(value)) || looksRandom(value);
}

/** One long word of letters and digits, as keys are; paths, addresses, package names and sentences are not. */
function looksRandom(value: string): boolean {
  if (value.length < MIN_RANDOM_CHARS || !/^[A-Za-z0-9+/_=-]+$/.test(value) || /^[./~]/.test(value)) return false;
  if (!/\d/.test(value) || !/[A-Za-z]/.test(value) || value.split(/[-_/]/).length > 4) return false;
  const counts = new Map<string, number>();
  for (const c of value) counts.set(c, (counts.get(c) ?? 0) + 1);
  let bits = 0;
  for (const n of counts.values()) bits -= (n / value.length) * Math.log2(n / value.length);
  return bits >= RANDOM_BITS;
}
