/** The demo's database: a small shop, the same on every machine, with people in it who do not exist. */
import { Client } from 'pg';
import { SUPERUSER } from './postgres.ts';

const CUSTOMERS = 3000;
const ORDERS = 9000;
export const DATABASE = 'shop';

const FIRST = [
  'Ada',
  'Ben',
  'Chloe',
  'Dario',
  'Elif',
  'Farah',
  'Goran',
  'Hana',
  'Ivo',
  'Jana',
  'Kofi',
  'Lena',
  'Mateo',
  'Nora',
  'Omar',
  'Priya',
  'Quinn',
  'Rosa',
  'Sven',
  'Tara',
  'Uma',
  'Viktor',
  'Wanda',
  'Yara',
  'Zoe',
];
const LAST = [
  'Abbott',
  'Bauer',
  'Castillo',
  'Dubois',
  'Eriksen',
  'Fischer',
  'Garcia',
  'Haddad',
  'Ivanov',
  'Jansen',
  'Kowalski',
  'Lovelace',
  'Moreau',
  'Nakamura',
  'Okafor',
  'Petrov',
  'Quispe',
  'Rossi',
  'Santos',
  'Tanaka',
  'Ueda',
  'Vargas',
  'Weber',
  'Yilmaz',
  'Zhang',
];
const CITIES = ['Lisbon', 'Ghent', 'Tartu', 'Porto', 'Graz', 'Lyon', 'Cork', 'Turin', 'Malmö', 'Brno'];
const PRODUCTS = [
  'Walnut desk',
  'Brass lamp',
  'Wool throw',
  'Oak shelf',
  'Linen curtain',
  'Cork board',
  'Clay vase',
  'Steel kettle',
  'Cane chair',
  'Felt rug',
  'Glass jar',
  'Ash stool',
];
const STATUSES = ['paid', 'paid', 'paid', 'shipped', 'shipped', 'shipped', 'delivered', 'delivered', 'delivered', 'refunded'];

/** A small linear congruential generator: the shop must be the same each time, and unlike random data is easy to talk about. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A card number in the issuers' own test range, with a right check digit. */
function cardNumber(next: (below: number) => number): string {
  const digits = [4, 2, 4, 2, ...Array.from({ length: 11 }, () => next(10))];
  const sum = digits.reduce((total, digit, i) => total + (i % 2 === 0 ? (digit * 2 > 9 ? digit * 2 - 9 : digit * 2) : digit), 0);
  return [...digits, (10 - (sum % 10)) % 10].join('').replace(/(\d{4})(?=\d)/g, '$1-');
}

/** Seven digits' worth of areas that the issuer has given out, so that it reads like the real thing. */
function ssn(next: (below: number) => number): string {
  return `${String(100 + next(560)).padStart(3, '0')}-${String(1 + next(98)).padStart(2, '0')}-${String(1 + next(9998)).padStart(4, '0')}`;
}

export interface Customer {
  readonly id: number;
  readonly name: string;
  readonly email: string;
  readonly ssn: string;
  readonly card: string;
  readonly city: string;
}

export function customers(): Customer[] {
  const next = generator(1042);
  return Array.from({ length: CUSTOMERS }, (_, i) => {
    const first = FIRST[next(FIRST.length)] ?? 'Ada';
    const last = LAST[next(LAST.length)] ?? 'Lovelace';
    const email = `${first}.${last}${i + 1}@example.org`.toLowerCase();
    return { id: i + 1, name: `${first} ${last}`, email, ssn: ssn(next), card: cardNumber(next), city: CITIES[next(CITIES.length)] ?? 'Ghent' };
  });
}

const SCHEMA = `
  create table customers (id int primary key, name text not null, email text not null unique, ssn text not null, card text not null, city text not null, created_at date not null);
  create table products (id int primary key, name text not null, price numeric(8,2) not null);
  create table orders (id int primary key, customer_id int not null references customers, product_id int not null references products,
    quantity int not null check (quantity > 0), total numeric(10,2) not null, status text not null, placed_at date not null);
  create index on orders (customer_id);
  create index on orders (status);
  create view order_summary as select o.id, c.name as customer, p.name as product, o.total, o.status, o.placed_at
    from orders o join customers c on c.id = o.customer_id join products p on p.id = o.product_id;
`;

/** Makes the shop where it is not there yet. `login` is the role that Countersign's own connection uses. */
export async function createShop(port: number, password: string, login: { readonly user: string; readonly password: string }): Promise<'made' | 'kept'> {
  const admin = new Client({ host: '127.0.0.1', port, user: SUPERUSER, password, database: 'postgres' });
  await admin.connect();
  try {
    const found = await admin.query('select 1 from pg_database where datname = $1', [DATABASE]);
    if (found.rowCount) return 'kept';
    // What a run that was cut off may have left.
    await admin.query(`drop database if exists ${DATABASE}_new`);
    await admin.query(`drop role if exists ${admin.escapeIdentifier(login.user)}`);
    await admin.query(`create role ${admin.escapeIdentifier(login.user)} login password ${admin.escapeLiteral(login.password)}`);
    await admin.query(`create database ${DATABASE}_new owner ${admin.escapeIdentifier(login.user)}`);
  } finally {
    await admin.end();
  }
  const client = new Client({ host: '127.0.0.1', port, user: login.user, password: login.password, database: `${DATABASE}_new` });
  await client.connect();
  try {
    await client.query(SCHEMA);
    await fill(client);
  } finally {
    await client.end();
  }
  // Renamed at the very end: a run that was cut off leaves no half-filled shop behind that looks whole.
  const last = new Client({ host: '127.0.0.1', port, user: SUPERUSER, password, database: 'postgres' });
  await last.connect();
  await last.query(`alter database ${DATABASE}_new rename to ${DATABASE}`);
  await last.end();
  return 'made';
}

async function fill(client: Client): Promise<void> {
  const people = customers();
  const next = generator(7);
  const day = () => new Date(Date.UTC(2025, 0, 1) + next(640) * 86_400_000).toISOString().slice(0, 10);
  const column = <T, V>(rows: readonly T[], pick: (row: T) => V): V[] => rows.map(pick);
  await client.query('insert into customers select * from unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::date[])', [
    column(people, (p) => p.id),
    column(people, (p) => p.name),
    column(people, (p) => p.email),
    column(people, (p) => p.ssn),
    column(people, (p) => p.card),
    column(people, (p) => p.city),
    column(people, day),
  ]);
  const prices = PRODUCTS.map(() => 9 + next(400) + 0.9);
  await client.query('insert into products select * from unnest($1::int[], $2::text[], $3::numeric[])', [PRODUCTS.map((_, i) => i + 1), PRODUCTS, prices]);
  const orders = Array.from({ length: ORDERS }, (_, i) => {
    const product = next(PRODUCTS.length);
    const quantity = 1 + next(4);
    return {
      id: i + 1,
      customer: 1 + next(CUSTOMERS),
      product: product + 1,
      quantity,
      total: quantity * (prices[product] ?? 10),
      status: STATUSES[next(STATUSES.length)] ?? 'paid',
      placed: day(),
    };
  });
  await client.query('insert into orders select * from unnest($1::int[], $2::int[], $3::int[], $4::int[], $5::numeric[], $6::text[], $7::date[])', [
    column(orders, (o) => o.id),
    column(orders, (o) => o.customer),
    column(orders, (o) => o.product),
    column(orders, (o) => o.quantity),
    column(orders, (o) => o.total),
    column(orders, (o) => o.status),
    column(orders, (o) => o.placed),
  ]);
  await client.query('analyze');
}

/** Lets a further login in, with the same rights as the shop's own; once or again. */
export async function admit(port: number, password: string, login: { readonly user: string; readonly password: string }): Promise<void> {
  const admin = new Client({ host: '127.0.0.1', port, user: SUPERUSER, password, database: DATABASE });
  await admin.connect();
  try {
    const role = admin.escapeIdentifier(login.user);
    const { rows } = await admin.query<{ owner: string }>('select pg_get_userbyid(datdba) as owner from pg_database where datname = $1', [DATABASE]);
    const found = await admin.query('select 1 from pg_roles where rolname = $1', [login.user]);
    await admin.query(`${found.rowCount ? 'alter' : 'create'} role ${role} login password ${admin.escapeLiteral(login.password)}`);
    await admin.query(`grant ${admin.escapeIdentifier(rows[0]?.owner ?? '')} to ${role}`);
  } finally {
    await admin.end();
  }
}
