/** Queries over the corpus's schema, made at random: nested, joined, with expressions over sensitive and other columns. */
import * as fc from 'fast-check';

interface Source {
  /** As it stands in FROM, with an alias. */
  readonly from: string;
  /** References to columns, all of which can be cast to text. */
  readonly columns: readonly string[];
}

const TABLES: readonly { readonly name: string; readonly columns: readonly string[] }[] = [
  { name: 'customers', columns: ['id', 'name', 'email', 'ssn', 'card', 'city', 'email_lower', 'ssn_last4', 'label'] },
  { name: 'orders', columns: ['id', 'customer_id', 'status', 'note'] },
  { name: 'customer_contacts', columns: ['id', 'contact', 'shout', 'area', 'name'] },
  { name: 'contacts_twice', columns: ['contact', 'area'] },
  { name: 'emails', columns: ['address', 'id'] },
  { name: 'busy', columns: ['email', 'n'] },
  { name: 'events', columns: ['id', 'body'] },
  { name: 'events_2025', columns: ['id', 'body'] },
  { name: 'hr.people', columns: ['id', 'name', 'salary'] },
  { name: 'all_customers()', columns: ['id', 'email', 'ssn'] },
  { name: 'contact_rows()', columns: ['who', 'contact'] },
];

/** What can be done to one text value; `$` stands for it. */
const WRAPPERS: readonly string[] = [
  '$',
  '$::text',
  'lower($::text)',
  'upper($::text)',
  'reverse($::text)',
  'left($::text, 6)',
  'substr($::text, 2)',
  "coalesce($::text, 'none')",
  "$::text || '!'",
  "concat('<', $, '>')",
  "encode($::text::bytea, 'hex')",
  "encode($::text::bytea, 'base64')",
  "case when random() < 2 then $::text else 'x' end",
  "nullif($::text, 'x')",
  "greatest($::text, 'A')",
  'to_json($)::text',
  'row($)::text',
  '(array[$])[1]::text',
  'array[$]::text',
  '(select $)::text',
  "json_build_object('v', $)->>'v'",
  "format('%s', $)",
  "split_part($::text, '#', 1)",
  '(select max(z.v) from (values ($::text)) z(v))',
  "(select string_agg(y.q, ',') from regexp_split_to_table($::text, '#') as y(q))",
  '(row($, 1)::pair).a',
  'xmlserialize(content xmlforest($::text as f) as text)',
  'length($::text)',
  'quote_literal($::text)',
];

const names: readonly string[] = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

function expression(columns: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...columns), fc.constantFrom(...WRAPPERS), fc.constantFrom('$', '$', '$', ...WRAPPERS))
    .map(([column, inner, outer]) => outer.replaceAll('$', inner.replaceAll('$', column)));
}

let counter = 0;
function alias(): string {
  counter = (counter + 1) % 100_000;
  return `q${counter}`;
}

function table(): fc.Arbitrary<Source> {
  return fc.constantFrom(...TABLES).map(({ name, columns }) => {
    const as = alias();
    return { from: `${name} ${as}`, columns: columns.map((c) => `${as}.${c}`) };
  });
}

function source(depth: number): fc.Arbitrary<Source> {
  if (depth === 0) return table();
  return fc.oneof(
    table(),
    select(depth - 1).map(({ sql, width }) => {
      const as = alias();
      return { from: `(${sql}) ${as}`, columns: names.slice(0, width).map((n) => `${as}.${n}`) };
    }),
    fc.tuple(table(), select(depth - 1), fc.constantFrom('cross join', 'left join', 'cross join lateral')).map(([left, right, join]) => {
      const as = alias();
      return {
        from: `${left.from} ${join} (${right.sql}) ${as}${join === 'left join' ? ' on true' : ''}`,
        columns: [...left.columns, ...names.slice(0, right.width).map((n) => `${as}.${n}`)],
      };
    }),
    table().map((t) => {
      const as = t.from.split(' ').at(-1) ?? '';
      return { from: t.from, columns: [`(to_jsonb(${as})::text)`, `(${as}::text)`, ...t.columns] };
    }),
  );
}

/** Columns are named a, b, c, … */
function select(depth: number): fc.Arbitrary<{ readonly sql: string; readonly width: number }> {
  const plain = source(depth).chain(({ from, columns }) =>
    fc.array(expression(columns), { minLength: 1, maxLength: 4 }).map((list) => ({
      sql: `select ${list.map((e, i) => `${e} as ${names[i]}`).join(', ')} from ${from}`,
      width: list.length,
    })),
  );
  if (depth === 0) return plain;
  return fc.oneof(
    { weight: 4, arbitrary: plain },
    // The same number of columns in both arms, all text.
    {
      weight: 1,
      arbitrary: fc.tuple(select(depth - 1), select(depth - 1), fc.constantFrom('union all', 'union', 'except', 'intersect')).map(([left, right, op]) => {
        const width = Math.min(left.width, right.width);
        const cut = (q: string): string =>
          `select ${names
            .slice(0, width)
            .map((n) => `${n}::text as ${n}`)
            .join(', ')} from (${q}) ${alias()}`;
        return { sql: `${cut(left.sql)} ${op} ${cut(right.sql)}`, width };
      }),
    },
    {
      weight: 1,
      arbitrary: select(depth - 1).map(({ sql, width }) => {
        const [name, as] = [alias(), alias()];
        return {
          sql: `with ${name} as (${sql}) select ${names
            .slice(0, width)
            .map((n) => `${as}.${n}`)
            .join(', ')} from ${name} ${as}`,
          width,
        };
      }),
    },
    {
      weight: 1,
      arbitrary: select(depth - 1).map(({ sql, width }) => {
        const as = alias();
        const lists = names.slice(0, width).map((n, i) => `${['min', 'max', 'array_agg', 'count', 'json_agg'][i % 5]}(${as}.${n}::text)::text as ${n}`);
        return { sql: `select ${lists.join(', ')} from (${sql}) ${as}`, width };
      }),
    },
    {
      weight: 1,
      arbitrary: select(depth - 1).map(({ sql, width }) => {
        const as = alias();
        const lists = names.slice(0, width).map((n) => `lag(${as}.${n}, 0) over (order by 1) as ${n}`);
        return { sql: `select ${lists.join(', ')} from (${sql}) ${as}`, width };
      }),
    },
  );
}

export function query(): fc.Arbitrary<string> {
  return fc.nat(3).chain((depth) => select(depth).map(({ sql }) => `select * from (${sql}) outermost limit 20`));
}
