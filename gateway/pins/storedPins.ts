/**
 * What MCP servers were accepted with, in the store: whichever replica met a server first, all hold it to the same, and go on to
 * when that one is gone. Whoever changes anything of a connection holds its row; what a person answers is in the audit with it.
 */
import type { Person } from '../../contract/actor.ts';
import type { PinAnswer, PinAnswered, PinKind, PinTexts, SharedPinsView } from '../../contract/pins.ts';
import type { KeptBook, KeptWaiting, PinNews, SharedPins } from '../../proxy/pinning/sharedPins.ts';
import { GATEWAY_CHAIN } from '../recording/chainRows.ts';
import type { Acts } from '../recording/chains.ts';
import { tell } from '../store/bus.ts';
import { type Database, json, one, type Queryable, retried } from '../store/database.ts';

interface Row {
  readonly connection: string;
  readonly kind: PinKind;
  readonly name: string;
  readonly hash: string;
  readonly text: string;
}
type PinRow = Row & { readonly at: number; readonly person: boolean };
type WaitingRow = Row & { readonly reasons: string[] };
type RejectedRow = Omit<Row, 'text'>;

/** Names in one line of the audit. */
const MAX_NAMED = 200;

export class StoredPins implements SharedPins {
  readonly #db: Database;
  readonly #acts: Acts;

  constructor(db: Database, acts: Acts) {
    this.#db = db;
    this.#acts = acts;
  }

  async read(connection: string): Promise<KeptBook | undefined> {
    return (await this.#at(connection)).get(connection);
  }

  readAll(): Promise<ReadonlyMap<string, KeptBook>> {
    return this.#at(null);
  }

  /** All of it at one moment: kinds of now beside definitions of then would make strangers of all of them. */
  #at(connection: string | null): Promise<Map<string, KeptBook>> {
    return this.#db.transaction(async (tx) => {
      await tx.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY');
      return await books(tx, connection);
    });
  }

  keep(connection: string, { first, waiting }: PinNews): Promise<boolean> {
    return retried(this.#db, async (tx) => {
      await lock(tx, connection);
      let changed = false;
      let wasFirst = true;
      for (const [kind, pinned] of first) {
        const met = await tx.query('INSERT INTO pin_kinds (connection, kind) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING kind', [connection, kind]);
        if (met.length === 0) {
          wasFirst = false;
          continue;
        }
        changed = true;
        for (const { name, hash, text, at } of pinned.filter(isStorable)) {
          await tx.query('INSERT INTO pins (connection, kind, name, hash, text, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING', [
            connection,
            kind,
            name,
            hash,
            text,
            at,
          ]);
        }
        const names = pinned.map(({ name }) => name).slice(0, MAX_NAMED);
        await this.#acts.append(tx, GATEWAY_CHAIN, { type: 'pins-trusted-on-first-use', connection, kind, count: pinned.length, names });
      }
      // Whoever was not first knows too little to say what waits: it looks again.
      if (wasFirst && (await this.#keepWaiting(tx, connection, waiting.filter(isStorable)))) changed = true;
      if (changed) await tell(tx, 'pin', connection);
      return wasFirst;
    });
  }

  /** @returns whether anything was changed */
  async #keepWaiting(tx: Queryable, connection: string, waiting: readonly KeptWaiting[]): Promise<boolean> {
    const rows = await tx.query<WaitingRow>('SELECT * FROM pins_waiting WHERE connection = $1', [connection]);
    const there = new Map(rows.map((row) => [keyOf(row), row.hash]));
    let changed = false;
    for (const { kind, name, hash, text, reasons } of waiting) {
      const known = there.get(keyOf({ kind, name }));
      there.delete(keyOf({ kind, name }));
      if (known === hash) continue;
      // A person may have accepted it since it was seen to wait.
      const done = await tx.query(
        `INSERT INTO pins_waiting (connection, kind, name, hash, text, reasons) SELECT $1, $2, $3, $4, $5, $6::jsonb
         WHERE NOT EXISTS (SELECT FROM pins WHERE connection = $1 AND kind = $2 AND name = $3 AND hash = $4)
         ON CONFLICT (connection, kind, name) DO UPDATE SET hash = excluded.hash, text = excluded.text, reasons = excluded.reasons, at = ms() RETURNING name`,
        [connection, kind, name, hash, text, json(reasons)],
      );
      changed ||= done.length > 0;
    }
    for (const row of rows.filter((one) => there.has(keyOf(one)))) {
      await tx.query('DELETE FROM pins_waiting WHERE connection = $1 AND kind = $2 AND name = $3', [connection, row.kind, row.name]);
      changed = true;
    }
    return changed;
  }

  async views(): Promise<SharedPinsView[]> {
    return [...(await this.readAll())].map(([connection, { since, pinned, rejected, waiting }]) => {
      const accepted = new Set(pinned.map(keyOf));
      const refused = new Set(rejected.map(({ hash }) => hash));
      const count = (kind: PinKind): number => pinned.filter((pin) => pin.kind === kind).length;
      return {
        connection,
        tools: count('tool'),
        prompts: count('prompt'),
        quarantined: waiting.map(({ kind, name, hash, reasons }) => ({
          kind,
          name,
          hash,
          reasons: [...reasons],
          known: accepted.has(keyOf({ kind, name })),
          rejected: refused.has(hash),
        })),
        ...(pinned.some(({ by }) => by === 'first-use') && { trustedOnFirstUse: since }),
      };
    });
  }

  async texts(connection: string): Promise<PinTexts> {
    const { pinned = [], waiting = [] } = (await this.read(connection)) ?? {};
    const before = new Map(pinned.map((pin) => [keyOf(pin), pin.text]));
    return {
      items: waiting.map(({ kind, name, hash, reasons, text }) => {
        const was = before.get(keyOf({ kind, name }));
        return { kind, name, hash, reasons: [...reasons], after: text, ...(was !== undefined && { before: was }) };
      }),
    };
  }

  /** A person's answer, which counts for the definitions that were on their screen and no others. */
  answer(connection: string, { items, answer }: Omit<PinAnswer, 'connection'>, by: Person): Promise<PinAnswered> {
    return retried(this.#db, async (tx) => {
      const done: { readonly kind: PinKind; readonly name: string; readonly hash: string }[] = [];
      if (!(await one(tx, 'SELECT 1 FROM pin_books WHERE connection = $1 FOR UPDATE', [connection]))) return { done: 0, stale: items.length };
      for (const { kind, name, hash } of items) {
        const where = [connection, kind, name, hash];
        const row = await one<WaitingRow>(tx, 'SELECT * FROM pins_waiting WHERE connection = $1 AND kind = $2 AND name = $3 AND hash = $4', where);
        if (!row) continue;
        done.push({ kind, name, hash });
        if (answer === 'reject') {
          await tx.query('INSERT INTO pins_rejected (connection, kind, name, hash, rejected_by) VALUES ($1, $2, $3, $4, $5::jsonb) ON CONFLICT DO NOTHING', [
            ...where,
            json(by),
          ]);
          continue;
        }
        await tx.query(
          `INSERT INTO pins (connection, kind, name, hash, text, at, accepted_by) VALUES ($1, $2, $3, $4, $5, ms(), $6::jsonb)
           ON CONFLICT (connection, kind, name) DO UPDATE SET hash = excluded.hash, text = excluded.text, at = excluded.at, accepted_by = excluded.accepted_by`,
          [...where, row.text, json(by)],
        );
        await tx.query('INSERT INTO pin_kinds (connection, kind) VALUES ($1, $2) ON CONFLICT DO NOTHING', [connection, kind]);
        await tx.query('DELETE FROM pins_waiting WHERE connection = $1 AND kind = $2 AND name = $3', [connection, kind, name]);
        await tx.query('DELETE FROM pins_rejected WHERE connection = $1 AND hash = $2', [connection, hash]);
      }
      if (done.length > 0) {
        await this.#acts.append(tx, GATEWAY_CHAIN, { type: answer === 'accept' ? 'pins-accepted' : 'pins-rejected', connection, items: done, by: { ...by } });
        await tell(tx, 'pin', connection);
      }
      return { done: done.length, stale: items.length - done.length };
    });
  }
}

async function lock(tx: Queryable, connection: string): Promise<void> {
  await tx.query('INSERT INTO pin_books (connection) VALUES ($1) ON CONFLICT DO NOTHING', [connection]);
  await tx.query('SELECT 1 FROM pin_books WHERE connection = $1 FOR UPDATE', [connection]);
}

/** @param only one connection; null: all */
async function books(db: Queryable, only: string | null): Promise<Map<string, KeptBook>> {
  const from = async <T extends object>(what: string): Promise<T[]> =>
    await db.query<T>(`${what} WHERE $1::text IS NULL OR connection = $1 ORDER BY connection`, [only]);
  const kept = await from<{ connection: string; since: number }>('SELECT * FROM pin_books');
  const kinds = await from<{ connection: string; kind: PinKind }>('SELECT * FROM pin_kinds');
  const pinned = await from<PinRow>('SELECT connection, kind, name, hash, text, at, accepted_by IS NOT NULL AS person FROM pins');
  const waiting = await from<WaitingRow>('SELECT * FROM pins_waiting');
  const rejected = await from<RejectedRow>('SELECT * FROM pins_rejected');
  const of = <T extends { readonly connection: string }>(rows: readonly T[], connection: string): T[] => rows.filter((row) => row.connection === connection);
  return new Map(
    kept.map(({ connection, since }) => [
      connection,
      {
        since,
        kinds: of(kinds, connection).map(({ kind }) => kind),
        pinned: of(pinned, connection).map(({ kind, name, hash, text, at, person }) => ({ kind, name, hash, text, at, by: person ? 'person' : 'first-use' })),
        rejected: of(rejected, connection).map(({ kind, name, hash }) => ({ kind, name, hash })),
        waiting: of(waiting, connection).map(({ kind, name, hash, text, reasons }) => ({ kind, name, hash, text, reasons })),
      },
    ]),
  );
}

function keyOf({ kind, name }: { readonly kind: PinKind; readonly name: string }): string {
  return `${kind} ${name}`;
}

/** The store takes no text with a NUL in it: what has one in its name stays in quarantine, where nobody is shown it. */
function isStorable({ name }: { readonly name: string }): boolean {
  return !name.includes('\0');
}
