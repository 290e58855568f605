/**
 * The same database several times, alike but for what its sensitive columns hold, each behind a real proxy. Whatever the values
 * are, a client may not see a difference: a result that differs between two worlds was made from them (Goguen and Meseguer's
 * noninterference). The third world holds the first one's values: what differs there, too, is the clock's or chance's doing.
 */
import { Client } from 'pg';
import { Conversation } from '../../../proxy/pipeline/conversation.ts';
import { Canaries } from '../../faults/canaries.ts';
import { ALLOW_ALL, front, type Message, type Proxied, proxied, type RawClient, row } from '../../proxy/protocols/postgres/proxied.ts';
import { PASSWORD, SUPERUSER, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import type { Chance } from './chance.ts';

/** Everything is allowed but what the built-in rules ask about: nobody answers, so that is denied. */
const CAREFUL = `defaults: { write: allow, delete: allow, schema: allow, admin: allow, execute: allow, unknown: allow, send: allow }
rules:
  - { id: no-mass-change, match: { connection: none }, verdict: deny }
`;
/** Longest that one statement may take, in milliseconds; what takes longer is a finding. */
const HANG_MS = 20_000;
/** Sessions are given up after so many chains: what they keep makes each look at them slower. */
const CHAINS_A_SESSION = 50;

/** Sensitive columns of `people`, with their types. */
export const SECRET_COLUMNS: Readonly<Record<string, string>> = {
  word: 'text',
  email: 'varchar',
  nick: 'name',
  code: 'bpchar',
  pin: 'int4',
  big: 'int8',
  num: 'numeric',
  dbl: 'float8',
  raw: 'bytea',
  doc: 'jsonb',
  js: 'json',
  xm: 'xml',
  words: '_text',
  nums: '_int4',
  ip: 'inet',
  mac: 'macaddr',
  uid: 'uuid',
  vec: 'tsvector',
  born: 'date',
  seen: 'timestamptz',
  span: 'interval',
  bits: 'varbit',
  flag: 'bool',
  pt: 'point',
  rng: 'int4range',
};

const SCHEMA = `
create table people (
  id int primary key, name text, city text, age int, meta jsonb, tags text[],
  ${Object.entries(SECRET_COLUMNS)
    .map(([column, type]) => `${column} ${type === 'bpchar' ? 'char(24)' : type}`)
    .join(', ')},
  shout text generated always as (upper(word)) stored
);
create table orders (id int primary key, person int references people, status text not null default 'new', total numeric(10, 2));
create table vault (k int primary key, v text, w text);
create table plain (a text, b text, n int);
create table spare (a text, b text, n int);
create table keyed (id int primary key, a text, b text);
create table events (id int, at date, body text) partition by range (at);
create table events_old partition of events for values from ('2000-01-01') to ('2020-01-01');
create table events_new partition of events for values from ('2020-01-01') to ('2040-01-01');
create table base (id int, v text);
create table child (extra text) inherits (base);
create table docs (id int, d jsonb, p people);
create type pair as (a text, b int);
create domain short as text check (length(value) < 500);
create view contacts as select id, name, word as remark, upper(email) as shout, left(word, 3) as start from people;
create view twice as select remark, start, name from contacts where id < 3;
create materialized view copied as select id, word as w, name as n from people;
create view rows as select p as whole, id from people p;
create function word_of(who int) returns text language sql stable as 'select word from people where id = who';
create function echo(t text) returns text language sql immutable as 'select t';
create function pairs() returns table (who int, what text) language sql stable as 'select id, word from people';
create function everyone() returns setof people language sql stable as 'select * from people';
create function loud(t text) returns text language plpgsql as $$ begin raise notice 'got %', t; return t; end $$;
create function strange(t text, u text) returns boolean language plpgsql as $$ begin return t < u; end $$;
create operator ~~~> (leftarg = text, rightarg = text, function = strange);
create aggregate gathered (text) (sfunc = textcat, stype = text, initcond = '');
create sequence counter;
create schema kept;
`;

/** Takes away what chains may have made, and puts back what they may have changed. */
const TIDY = `
do $$ declare r record; begin
  for r in select c.oid::regclass::text as name, c.relkind as kind from pg_class c where c.relnamespace = 'public'::regnamespace and (c.relname ~ '^t[0-9]+_')  and c.relkind in ('r', 'v', 'm') loop
    begin execute format('drop %s if exists %s cascade', case r.kind when 'r' then 'table' when 'v' then 'view' else 'materialized view' end, r.name); exception when others then null; end;
  end loop;
end $$;
delete from spare; delete from plain; delete from keyed; delete from vault;
insert into keyed values (1, 'one', 'uno'), (2, 'two', 'dos');
insert into plain values ('x', 'y', 1), ('z', 'w', 2);
insert into spare values ('x', 'y', 1);
insert into vault select * from kept.vault_before;
delete from people where id > 9;
update people p set word = b.word, email = b.email, code = b.code, city = b.city from kept.people_before b where b.id = p.id;
select setval('counter', 1, false);
`;

/** Columns of a plan, with all of the masks. */
function planOf(masks: readonly string[]): Record<string, string> {
  const columns = [...Object.keys(SECRET_COLUMNS).map((column) => `people.${column}`), 'vault.v', 'events.body', 'base.v', 'docs.p', 'docs.d'];
  return Object.fromEntries(columns.map((column, i) => [column, masks[i % masks.length] ?? 'redact']));
}

/** What a world's sensitive columns hold: nothing of it is found anywhere else. */
function valuesOf(world: number): readonly Record<string, string>[] {
  const words = [
    ['zqvorpelkuth', 'wyxmagudroff', 'jubqintovrask'],
    ['hgapzisklomvure', 'fyctodwexnar', 'kwohbruljatpimq'],
  ][world];
  return (words ?? []).map((word, i) => {
    const n = i + 1;
    const digits = `${world === 0 ? '739' : '58'}${n}${world === 0 ? '046182' : '92037'}`;
    return {
      word,
      email: `${word.slice(0, 9).split('').toReversed().join('')}@burrow.example`,
      nick: `${word.slice(3)}${word.slice(0, 3)}`,
      code: `${word.slice(5)}${word.slice(0, 4)}`,
      pin: digits.slice(0, 6),
      big: `${digits}${digits.slice(0, 7)}`,
      num: `${digits}61.${digits.slice(0, 5)}`,
      dbl: `${digits}.${digits.slice(2, 6)}`,
      raw: `\\x${Buffer.from(`${word}raw`).toString('hex')}`,
      doc: JSON.stringify({ k: word, [`${word.slice(2)}x`]: [Number(digits), { deep: `${word}!` }], ...(world === 1 && { more: true }) }),
      js: JSON.stringify([word, { k: `${word}js` }]),
      xm: `<r a="${word}at"><b>${word}</b>${world === 1 ? '<c/>' : ''}</r>`,
      words: `{${word},${word.slice(4)}q${n}${world === 1 ? ',third' : ''}}`,
      nums: `{${digits.slice(0, 8)},${n}${world}7}`,
      ip: world === 0 ? `93.184.21${n}.71` : `2001:db8:77::${n}b`,
      mac: world === 0 ? `08:3b:2d:91:7${n}:e4` : `5c:41:aa:0${n}:32:9f`,
      uid: world === 0 ? `7c9e6679-7425-40de-944b-e07fc1f9031${n}` : `d2b81f4e-093a-4c61-8a75-52fe6071ac3${n}`,
      vec: `'${word}':3 '${word.slice(4)}':${7 + world}`,
      born: world === 0 ? `1923-1${i % 2}-07` : `1884-0${n}-29`,
      seen: world === 0 ? `1951-03-1${n} 04:17:53.271+00` : `1946-08-2${n} 23:41:12.6+00`,
      span: world === 0 ? `${n}7 days 13:37:41` : `${n}1 mons 4 days`,
      bits: world === 0 ? '1011001110001111' : '01100011101',
      flag: world === 0 ? 'true' : 'false',
      pt: world === 0 ? `(7391.2${n},46.18)` : `(-58.92,-3.${n}7)`,
      rng: world === 0 ? `[73910,8${n}046)` : `[-592,58${n})`,
    };
  });
}

function fill(world: number): string {
  const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  const rows = valuesOf(world).map((row, i) => {
    const n = i + 1;
    const columns = Object.keys(row);
    const word = row.word ?? '';
    return `
insert into people (id, name, city, age, meta, tags, ${columns.join(', ')}) values
  (${n}, 'Name ${n}', 'Paris', ${30 + n}, '{"k": ${n}}', '{a,b}', ${columns.map((column) => quote(row[column] ?? '')).join(', ')});
insert into orders values (${n}, ${n}, 'paid', ${n}0.50);
insert into vault values (${n}, ${quote(`${word.slice(2)}v`)}, 'open');
insert into events values (${n}, '20${n}5-01-01', ${quote(`${word.slice(1)}ev`)});
insert into child values (${n}, ${quote(`${word.slice(3)}ch`)}, 'x');
insert into docs select ${n}, jsonb_build_object('k', word), p from people p where id = ${n};`;
  });
  return `${rows.join('')}
insert into keyed values (1, 'one', 'uno'), (2, 'two', 'dos');
insert into plain values ('x', 'y', 1), ('z', 'w', 2);
insert into spare values ('x', 'y', 1);
create table kept.vault_before as select * from vault;
create table kept.people_before as select id, word, email, code, city from people;
refresh materialized view copied; analyze;`;
}

/** Of the first world; the second one's are looked for, too. */
function canariesOf(): Canaries {
  const whole = [0, 1].flatMap((world) =>
    valuesOf(world).flatMap((row) => {
      const texts = [row.word, row.email?.split('@')[0], row.nick, row.code, row.pin, row.big, row.num, row.dbl, row.ip, row.mac, row.uid, row.born];
      return texts.filter((text): text is string => text !== undefined);
    }),
  );
  return new Canaries([], whole);
}

/**
 * Tokens in statements, by what they are: a token of this conversation, the same in ASCII, one with another's number, one with another
 * check, one of another conversation. Each world puts in its own.
 */
const TOKENS = ['token', 'token', 'ascii', 'renumbered', 'rechecked', 'foreign'] as const;
const TOKEN_COLUMNS = ['email', 'code', 'big', 'dbl', 'raw', 'doc', 'words', 'uid', 'born'];
const TOKEN_PLACE = /§(\w+):(\w+):(\d)§/g;

/** Stands for a token in a statement of the grammar. */
export function tokenPlace({ below, pick }: Chance): string {
  return `§${pick(TOKENS)}:${pick(TOKEN_COLUMNS)}:${1 + below(3)}§`;
}

type Book = ReadonlyMap<string, string>;
const TOKEN = /^‹([\w-]+)·(\d+)·(\w+)›$/;

/** What a session of one world sees where values have tokens. */
async function tokensSeen(raw: RawClient): Promise<Book> {
  raw.send(front.query(`select id, ${TOKEN_COLUMNS.join(', ')} from people order by id`));
  const rows = (await raw.until('Z')).filter(({ type }) => type === 'D').map(row);
  return new Map(
    rows.flatMap(([id, ...values]) => values.flatMap((value, i) => (TOKEN.test(value ?? '') ? [[`${TOKEN_COLUMNS[i]}:${id}`, value ?? '']] : []))),
  );
}

function withTokens(sql: string, own: Book, foreign: Book): string {
  return sql.replaceAll(TOKEN_PLACE, (_, kind: string, column: string, id: string) => {
    const of = (book: Book): string => book.get(`${column}:${id}`) ?? [...book.values()][Number(id)] ?? '‹none·1·bbbbb›';
    const [, name = '', number = '', check = ''] = TOKEN.exec(of(own)) ?? [];
    switch (kind) {
      case 'ascii':
        return `<${name}.${number}.${check}>`;
      case 'renumbered':
        return `‹${name}·${Number(number) + 1}·${check}›`;
      case 'rechecked':
        return `‹${name}·${number}·${check.slice(1)}${check.startsWith('z') ? 'b' : 'z'}›`;
      case 'foreign':
        return of(foreign);
      default:
        return of(own);
    }
  });
}

export type Protocol = 'simple' | 'text' | 'binary';
export interface Step {
  readonly sql: string;
  readonly protocol: Protocol;
}

export interface Answer {
  /** Types and bodies of all messages. */
  readonly bytes: Buffer;
  readonly messages: readonly Message[];
  readonly ended: boolean;
}

/** What goes in by a COPY of one column. Where none was begun, the server passes over it. */
const COPIED = 'in\n';

function messagesOf({ protocol, sql }: Step): Buffer[] {
  const data = /^copy .* from stdin/.test(sql) ? [front.copyData(COPIED)] : [];
  if (protocol === 'simple') return [front.query(sql), ...data, front.copyDone()];
  return [
    front.parse('', sql),
    front.bind('', '', [], protocol === 'binary' ? [1] : []),
    front.describe('P', ''),
    front.execute(),
    ...data,
    front.copyDone(),
    front.sync(),
  ];
}

/** Tokens of a world, once looked at: its own conversation's, and another's over the same values. */
const books = new WeakMap<Proxied, Promise<readonly [Book, Book]>>();
function booksOf(to: Proxied): Promise<readonly [Book, Book]> {
  let known = books.get(to);
  if (!known) {
    const seen = async (conversation?: Conversation): Promise<Book> => {
      const raw = await opened(to, conversation);
      const book = await tokensSeen(raw);
      raw.stream.destroy();
      return book;
    };
    known = Promise.all([seen(), seen(new Conversation('con-of-others'))]);
    books.set(to, known);
  }
  return known;
}

/** A proxy that reads a catalog for the first time, on a machine that is busy, asks to be tried again. */
async function opened(to: Proxied, conversation?: Conversation): Promise<RawClient> {
  for (let tries = 0; ; tries++) {
    try {
      return await to.raw({}, conversation && { conversation });
    } catch (cause) {
      if (tries === 20 || !String(cause).includes('still starting')) throw cause;
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
}

/** One client's session with one world, opened again where it was lost. */
class Visitor {
  readonly #proxied: () => Promise<Proxied>;
  #raw: RawClient | undefined;
  #chains = 0;

  constructor(to: () => Promise<Proxied>) {
    this.#proxied = to;
  }

  /** Runs statements in one session, which is over afterwards if they have done more than read. */
  async run(steps: readonly Step[]): Promise<Answer[]> {
    const answers: Answer[] = [];
    for (const step of steps) answers.push(await this.#one(step));
    this.#chains++;
    if (steps.length > 1 || this.#chains % CHAINS_A_SESSION === 0) this.leave();
    return answers;
  }

  async #one(step: Step): Promise<Answer> {
    const raw = (this.#raw ??= await opened(await this.#proxied()));
    const sql = step.sql.includes('§') ? withTokens(step.sql, ...(await booksOf(await this.#proxied()))) : step.sql;
    // What is refused is answered before this is over.
    const from = raw.received.length;
    raw.send(...messagesOf({ ...step, sql }));
    const late = setTimeout(() => raw.stream.destroy(new Error('late')), HANG_MS);
    try {
      await raw.until('Z');
    } catch {
      this.leave();
    } finally {
      clearTimeout(late);
    }
    const messages = raw.received.slice(from);
    const bytes = Buffer.concat(messages.flatMap(({ body, type }) => [Buffer.from(type), body]));
    return { bytes, messages, ended: raw.closed };
  }

  leave(): void {
    this.#raw?.stream.destroy();
    this.#raw = undefined;
  }
}

/** So many can look around at once without meeting. */
const LANES = 6;

export interface Worlds {
  readonly canaries: Canaries;
  /** A world by itself, under a policy that allows everything, with all kinds of masks. */
  readonly open: Visitor;
  /** The same worlds again, by other sessions: for what only reads. */
  readonly lanes: readonly Worlds[];
  /** The first world, the second, and the first once more, where whatever a built-in rule asks about is denied. */
  readonly careful: readonly [Visitor, Visitor, Visitor];
  /** One more world, whose sessions log in as roles of their own, which the server itself shows masks. */
  readonly minted: Visitor;
  /** Each world without a proxy. */
  readonly direct: readonly Client[];
  /** What a chain of statements has left is taken away. */
  tidy(): Promise<void>;
  /** Faults of ours. */
  log(): Promise<readonly unknown[]>;
  written(): Promise<string>;
  /** All but the server, which ends with the tests of the file. */
  stop(): Promise<void>;
}

export async function openWorlds(): Promise<Worlds & { stopServer(): Promise<void> }> {
  const first = await testDatabase(`${SCHEMA};`);
  const databases = ['', '_second', '_third', '_fourth', '_fifth'].map((name) => first.database + name);
  const admin = await connectTo(first, 'postgres');
  // Copies have the same OIDs.
  for (const copy of databases.slice(1)) await admin.query(`create database ${copy} template ${first.database}`);
  for (const database of databases) await admin.query(`alter database ${database} set statement_timeout = '3s'`);
  await admin.end();
  const direct = await Promise.all(
    databases.map(async (database, i) => {
      const client = await connectTo(first, database);
      await client.query(fill(i === 1 ? 1 : 0));
      return client;
    }),
  );
  const hidden = planOf(['redact', 'token']);
  const started: Promise<Proxied>[] = [];
  const behind = (rules: string, at: number, sensitive: Record<string, string>, minted = false): (() => Promise<Proxied>) => {
    let one: Promise<Proxied> | undefined;
    return () => {
      if (!one) {
        const database = databases[at] ?? '';
        one = proxied(rules, { database: { ...first, database, direct: () => connectTo(first, database) }, sensitive, minted });
        started.push(one);
      }
      return one;
    };
  };
  // Of its own, too: what moves there, another proxy cannot follow.
  const open = behind(ALLOW_ALL, 3, planOf(['redact', 'partial', 'hash', 'token']));
  const careful = [behind(CAREFUL, 0, hidden), behind(CAREFUL, 1, hidden), behind(CAREFUL, 2, hidden)] as const;
  const minted = behind(ALLOW_ALL, 4, planOf(['redact', 'partial', 'hash', 'token']), true);
  const canaries = canariesOf();
  const lanes: Worlds[] = [];
  const lane = (): Worlds => ({
    canaries,
    open: new Visitor(open),
    careful: [new Visitor(careful[0]), new Visitor(careful[1]), new Visitor(careful[2])],
    minted: new Visitor(minted),
    lanes,
    direct,
    tidy: async () => {
      leave();
      await Promise.all(direct.map((client) => client.query(TIDY).catch(() => undefined)));
    },
    log: async () => (await Promise.all(started)).flatMap((one) => one.t.logged.filter(({ level }) => level === 'error')),
    written: async () => (await Promise.all((await Promise.all(started)).map((one) => one.t.written()))).join('\n'),
    stop: async () => {
      leave();
      for (const one of started) await (await one).stop();
      for (const client of direct) await client.end().catch(() => undefined);
    },
  });
  const leave = (): void => {
    for (const one of lanes) for (const visitor of [one.open, one.minted, ...one.careful]) visitor.leave();
  };
  const worlds = lane();
  lanes.push(worlds, ...Array.from({ length: LANES - 1 }, lane));
  return { ...worlds, stopServer: () => first.server.stop('immediate') };
}

async function connectTo({ host, port }: TestDatabase, database: string): Promise<Client> {
  const client = new Client({ host, port, database, user: SUPERUSER, password: PASSWORD });
  client.on('error', () => {});
  await client.connect();
  return client;
}
