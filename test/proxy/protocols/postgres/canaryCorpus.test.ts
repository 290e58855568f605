/**
 * Every line of `test/corpus/sql.jsonl`, before a real server whose sensitive columns hold values that are found nowhere else:
 * in the simple and the extended protocol, as text and binary, in a transaction and outside, with everything allowed. Not one
 * of the values may come out, whole or in pieces, in any disguise that a reader could undo.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, it, describe as suite } from 'node:test';
import { corpusFile, corpusLines } from '../../../corpus/read.ts';
import { Canaries, withoutHashes } from '../../../faults/canaries.ts';
import { ALLOW_ALL, front, type Proxied, proxied, type RawClient } from './proxied.ts';

interface Line {
  readonly sql?: string;
  readonly expect?: { readonly statements: readonly { readonly effect: string }[] };
}

const lines = corpusLines<Line>('sql.jsonl').filter((line) => line.sql !== undefined);

/** What is not even tried: it would leave the database, take the server away from the lines behind it, or only take time. */
const ELSEWHERE =
  /program|'\/tmp|outfile|lo_export|alter system|pg_terminate|database|tablespace|subscription|alter role|alter user|alter type|pg_switch_wal|pg_sleep\(1/i;
/** Left by itself to lines outside a transaction: nothing takes back what they do. */
const LASTING: ReadonlySet<string> = new Set(['schema', 'admin', 'unknown']);

const PEOPLE = [1, 2, 3].map((n) => ({
  id: n,
  email: `quokka-numbat-${n}@burrow.example`,
  ssn: `xylograph-vermilion-${n}`,
  card: `sphagnum-tarragon-${n}`,
  salary: `90817263540${n}.25`,
  body: `palimpsest-kumquat-${n}`,
}));
const canaries = new Canaries(
  PEOPLE.map(({ email }) => email),
  PEOPLE.flatMap(({ body, card, email, salary, ssn }) => [ssn, card, salary, body, email.slice(0, email.indexOf('@'))]),
);

const SEED = PEOPLE.map(
  ({ body, card, email, id, salary, ssn }) => `
insert into customers (id, name, email, ssn, card, city) values (${id}, 'Name ${id}', '${email}', '${ssn}', '${card}', 'Paris')
  on conflict (id) do update set email = excluded.email, ssn = excluded.ssn, card = excluded.card;
insert into hr.people (id, name, salary) values (${id}, 'Name ${id}', ${salary}) on conflict (id) do update set salary = excluded.salary;
insert into events (id, at, body) values (${id}, '2025-0${id}-01', '${body}');`,
).join('');
const SETUP = `${readFileSync(corpusFile('sqlSchema.sql'), 'utf8')}
delete from orders; delete from customers; delete from hr.people; delete from events; ${SEED}
insert into orders (id, customer_id, status, total) values (1, 1, 'paid', 10);
refresh materialized view emails; analyze;`;
const SENSITIVE = {
  'customers.email': 'partial',
  'customers.ssn': 'redact',
  'customers.card': 'token',
  'hr.people.salary': 'hash',
  'events.body': 'redact',
};

type Protocol = 'simple' | 'text' | 'binary';

/** One line as its messages; in the extended protocol only one that is a single statement is understood by the server. */
function messages(sql: string, protocol: Protocol): Buffer[] {
  // For a COPY that waits for data; dropped by the server where none does.
  if (protocol === 'simple') return [front.query(sql), front.copyDone()];
  const params = Array.from({ length: Math.max(0, ...Array.from(sql.matchAll(/\$(\d)/g), (m) => Number(m[1]))) }, () => '1');
  const format = protocol === 'binary' ? [1] : [];
  return [front.parse('', sql), front.bind('', '', params, format), front.describe('P', ''), front.execute(), front.copyDone(), front.sync()];
}

/** Now and then the session is cleared: it makes the proxy read its names again, which takes longer than most lines. */
function cleared(i: number): Buffer[] {
  return i % 16 === 15 ? [front.query('discard all')] : [];
}

suite('the corpus before canaries', { timeout: 900_000 }, () => {
  let p: Proxied;
  let answered = 0;
  let failed = 0;
  before(async () => {
    p = await proxied(ALLOW_ALL, { setup: SETUP, sensitive: SENSITIVE });
  });
  after(() => p.stop());

  /** Runs one line on a session that may be lost by it. @returns what of the values came out, and the session to go on with */
  async function run(raw: RawClient, parts: readonly Buffer[], ends: number): Promise<{ readonly raw: RawClient; readonly found: string[] }> {
    const from = raw.received.length;
    raw.send(...parts);
    try {
      for (let i = 0; i < ends; i++) await raw.until('Z');
    } catch {
      // A line under which statements could not be read ends the session: as it should be.
    }
    const got = raw.received.slice(from);
    if (got.some(({ type }) => type === 'D' || type === 'd')) answered++;
    if (got.some(({ type }) => type === 'E')) failed++;
    const found = canaries.in(Buffer.concat(got.map(({ body }) => body)));
    return { raw: raw.closed ? await p.raw() : raw, found };
  }

  for (const protocol of ['simple', 'text', 'binary'] as const) {
    it(`gives none of them away in a transaction: ${protocol}`, async () => {
      let raw = await p.raw();
      for (const [i, { sql = '' }] of lines.entries()) {
        if (ELSEWHERE.test(sql)) continue;
        const one = await run(raw, [front.query('begin'), ...messages(sql, protocol), front.query('rollback'), ...cleared(i)], 3 + cleared(i).length);
        ({ raw } = one);
        assert.deepEqual(one.found, [], `${protocol}: ${sql}`);
      }
      raw.stream.destroy();
    });

    it(`gives none of them away outside: ${protocol}`, async () => {
      let raw = await p.raw();
      const direct = await p.db.direct();
      for (const [i, { expect, sql = '' }] of lines.entries()) {
        const effects = expect?.statements.map(({ effect }) => effect) ?? [];
        if (ELSEWHERE.test(sql) || effects.some((effect) => LASTING.has(effect))) continue;
        const one = await run(raw, [...messages(sql, protocol), front.query('rollback'), ...cleared(i)], 2 + cleared(i).length);
        ({ raw } = one);
        assert.deepEqual(one.found, [], `${protocol}: ${sql}`);
        if (effects.some((effect) => effect !== 'read')) await direct.query(`delete from events; ${SEED}`).catch(() => {});
      }
      raw.stream.destroy();
      await direct.end();
    });
  }

  it('would have given them away without the proxy, in disguises too', async () => {
    const direct = await p.db.direct();
    for (const sql of [
      'select ssn from customers',
      'select reverse(email) from customers',
      "select encode(card::bytea, 'hex') from customers",
      'select substr(ssn, 5, 9) from customers',
      'select salary from hr.people',
    ])
      assert.ok(canaries.in(JSON.stringify((await direct.query(sql)).rows)).length > 0, sql);
    await direct.end();
  });

  it('was answered with rows and with errors often enough for this to mean anything', () => {
    assert.ok(answered > 1000 && failed > 200, `${answered} lines gave rows, ${failed} errors`);
  });

  it('leaves none of them in a record, an index or a log', async () => {
    assert.deepEqual(canaries.in(withoutHashes(await p.t.written())), []);
    assert.deepEqual(canaries.in(JSON.stringify(p.t.logged)), []);
  });
});
