/** Guesses at what was meant, for error messages. */

/** Words that people write for an effect, a decision or a mask, and what to say to them. */
const SYNONYMS: Readonly<Record<string, string>> = {
  update: 'say `write` for effect or `verb: UPDATE`',
  insert: 'say `write` for effect or `verb: INSERT`',
  merge: 'say `write` for effect or `verb: MERGE`',
  upsert: 'say `write`',
  modify: 'say `write`',
  change: 'say `write`',
  select: 'say `read` for effect or `verb: SELECT`',
  query: 'say `read`',
  remove: 'say `delete`',
  truncate: 'say `delete` for effect or `verb: TRUNCATE`',
  drop: 'say `schema` for effect or `verb: DROP`',
  alter: 'say `schema` for effect or `verb: ALTER`',
  create: 'say `schema` for effect or `verb: CREATE`',
  ddl: 'say `schema`',
  grant: 'say `admin` for effect or `verb: GRANT`',
  revoke: 'say `admin` for effect or `verb: REVOKE`',
  call: 'say `execute` for effect or `verb: CALL`',
  exec: 'say `execute`',
  run: 'say `execute`',
  permit: 'say `allow`',
  accept: 'say `allow`',
  approve: 'say `ask`',
  prompt: 'say `ask`',
  confirm: 'say `ask`',
  block: 'say `deny`',
  reject: 'say `deny`',
  forbid: 'say `deny`',
  mask: 'say `redact`',
  hide: 'say `redact`',
  tokenize: 'say `token`',
  tokenise: 'say `token`',
};

/** Keys that belong elsewhere or to another product, and what to do. */
const KEYS: Readonly<Record<string, string>> = {
  effect: 'write it under `match:`',
  connection: 'write it under `match:`',
  target: 'write it under `match:`',
  protocol: 'write it under `match:`',
  bulk: 'write it under `match:`',
  agent: 'write it under `match:`',
  action: 'say `verdict`',
  decision: 'say `verdict`',
  condition: 'say `when`',
  if: 'say `when`',
  message: 'say `say`',
  reason: 'say `say`',
  name: 'say `id`',
  quorum: 'say `min`',
  timeout: 'say `expires`',
  deadline: 'say `expires`',
  table: 'say `target`',
  tables: 'say `target`',
  targets: 'say `target`',
  effects: 'say `effect`',
  connections: 'say `connection`',
  tool: 'write it under `mcp:`',
  args: 'write it under `mcp:`',
  where: 'write it under `sql:`',
  mint: 'write it as `credential: { mint: postgres-role, admin: secret:NAME }`',
  grants: 'write it under `credential:`',
  ttl: 'write it under `credential:`',
  sslmode: 'say `tls`',
  ssl: 'say `tls`',
  host: 'write it in `upstream: postgres://HOST:PORT/DATABASE`',
  database: 'write it in `upstream: postgres://HOST:PORT/DATABASE`',
  dbname: 'write it in `upstream: postgres://HOST:PORT/DATABASE`',
  url: 'say `upstream`',
  command: 'write it as `upstream: { command: [program, argument] }`',
  masks: 'say `sensitive`',
  columns: 'say `sensitive`',
};

/** Distance at which a word still counts as misspelt rather than different. */
function tolerance(word: string): number {
  return word.length <= 4 ? 1 : word.length <= 8 ? 2 : 3;
}

/** Edits (insert, remove, replace, swap neighbours) between two short words. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, (before[j - 2] ?? 0) + 1);
      row.push(best);
    }
    before = previous;
    previous = row;
  }
  return previous[b.length] ?? 0;
}

/** The nearest of `words`, where one is near enough. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const wanted = word.toLowerCase().slice(0, 64);
  let best: { word: string; distance: number } | undefined;
  for (const candidate of words) {
    const d = distance(wanted, candidate.toLowerCase());
    if (d <= tolerance(wanted) && (!best || d < best.distance)) best = { word: candidate, distance: d };
  }
  return best?.word;
}

/** The end of a message about a value: what to write instead. Starts with a space. */
export function suggestValue(value: unknown, allowed: readonly string[]): string {
  const list = ` Choose one of ${allowed.join(', ')}.`;
  if (typeof value !== 'string') return list;
  const near = nearest(value, allowed);
  if (near) return ` Did you mean \`${near}\`?`;
  const synonym = SYNONYMS[value.toLowerCase()];
  const meant = synonym && /`(\w+)`/.exec(synonym)?.[1];
  return synonym && meant && allowed.includes(meant) ? ` Here, ${synonym}.` : list;
}

/** The same for a key. */
export function suggestKey(key: string, allowed: readonly string[]): string {
  const near = nearest(key, allowed);
  if (near) return ` Did you mean \`${near}\`?`;
  const hint = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined;
  const meant = hint && /`(\w+):?`/.exec(hint)?.[1];
  if (hint && (hint.includes('gateway') || (meant && allowed.includes(meant)))) return ` Here, ${hint}.`;
  return allowed.length > 0 ? ` Known here: ${allowed.join(', ')}.` : '';
}
