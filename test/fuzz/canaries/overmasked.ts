/** What is hidden though it does not depend on any sensitive value: it is the same in two worlds that differ in those alone. */
import type { Client } from 'pg';
import { errorOf, row } from '../../proxy/protocols/postgres/proxied.ts';
import type { Step, Worlds } from './worlds.ts';

type Rows = (string | null)[][];

async function rowsOf(client: Client, sql: string): Promise<Rows | undefined> {
  try {
    const types = { getTypeParser: () => (text: string) => text };
    const result = await client.query<(string | null)[]>({ text: sql, rowMode: 'array', types } as never);
    return Array.isArray(result) ? undefined : result.rows;
  } catch {
    return undefined;
  }
}

/** One question at a time to servers that all lanes share. */
let before: Promise<unknown> = Promise.resolve();
function inTurn<T>(ask: () => Promise<T>): Promise<T> {
  const asked = before.then(ask);
  before = asked.catch(() => undefined);
  return asked;
}

/** @returns what the proxy did to a read that gives nothing away; undefined where it did nothing */
export async function overmasked(worlds: Worlds, { sql }: Step): Promise<string | undefined> {
  const [one, two] = await inTurn(() => Promise.all(worlds.direct.slice(0, 2).map((client) => rowsOf(client, sql))));
  if (!one || !two || one.length === 0 || JSON.stringify(one) !== JSON.stringify(two)) return undefined;
  const [answer] = await worlds.careful[0].run([{ sql, protocol: 'simple' }]);
  const error = answer?.messages.find(({ type }) => type === 'E');
  if (error) return `refused: ${errorOf(error).get('M')}`;
  const got = (answer?.messages ?? []).filter(({ type }) => type === 'D').map(row);
  if (JSON.stringify(got) === JSON.stringify(one)) return undefined;
  const at = one[0]?.findIndex((_, i) => one.some((values, n) => values[i] !== got[n]?.[i])) ?? -1;
  return `masked: column ${at + 1} holds ${one.find((values, n) => values[at] !== got[n]?.[at])?.[at]}`;
}
