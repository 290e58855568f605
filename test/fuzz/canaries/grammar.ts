/**
 * Statements of many clauses, put together by chance: more of them fail than a person's would, and the rest are such as no
 * person thinks of. Split up by what stands where: what expressions look like in forms.ts, queries here, whole statements in chains.ts.
 */
import type { Chance } from './chance.ts';
import { AGGREGATES, CASTS, FRAMES, SET_FUNCTIONS, TEXT, WINDOWS } from './forms.ts';
import { SECRET_COLUMNS, tokenPlace } from './worlds.ts';

export interface Source {
  /** How it is called in the query. */
  readonly alias: string;
  readonly columns: readonly string[];
}

/** Relations by name, with their columns. Sessions make more. */
const RELATIONS: ReadonlyMap<string, readonly string[]> = new Map([
  ['people', ['id', 'name', 'city', 'age', 'meta', 'tags', 'shout', ...Object.keys(SECRET_COLUMNS), 'word', 'word', 'word', 'email', 'doc']],
  ['contacts', ['id', 'name', 'remark', 'shout', 'start']],
  ['twice', ['remark', 'start', 'name']],
  ['copied', ['id', 'w', 'n']],
  ['rows', ['id', 'whole']],
  ['vault', ['k', 'v', 'w']],
  ['orders', ['id', 'person', 'status', 'total']],
  ['events', ['id', 'at', 'body']],
  ['events_old', ['id', 'at', 'body']],
  ['base', ['id', 'v']],
  ['child', ['id', 'v', 'extra']],
  ['docs', ['id', 'd', 'p']],
  ['spare', ['a', 'b', 'n']],
  ['keyed', ['id', 'a', 'b']],
]);
const MAX_DEPTH = 4;
/** A query may not take longer than the server can bear: sources beside each other multiply. */
const MAX_SOURCES = 3;

export class Grammar {
  readonly #chance: Chance;
  readonly #most: number;
  readonly relations: Map<string, readonly string[]>;
  #names = 0;
  #depth = 0;
  /** Whether expressions about sensitive values decide about rows: a query that does so asks. */
  asks = false;

  constructor(chance: Chance) {
    this.#chance = chance;
    this.#most = 2 + chance.below(MAX_DEPTH - 1);
    this.relations = new Map(RELATIONS);
  }

  name(): string {
    return `q${++this.#names}`;
  }

  /** A value made into text. */
  value(scope: readonly Source[]): string {
    const { once, pick } = this.#chance;
    if (this.#depth > this.#most || once(3)) return this.leaf(scope);
    this.#depth++;
    try {
      if (once(12)) return `(select ${this.value([...this.#inner(scope)])} from ${this.#last} limit 1)`;
      if (once(16)) return `(select z.* from (${this.query(scope, 1)}) z limit 1)`;
      if (once(24)) return `array(${this.query(scope, 1)})::text`;
      if (once(40)) return `exists (${this.query(scope, 2)})::text`;
      if (once(40)) return `((${this.leaf(scope)})::text in (${this.query(scope, 1, true)}))::text`;
      if (once(14)) return this.whole(scope);
      return `(${this.#filled(once(30) ? pick(CASTS) : pick(TEXT), scope)})${once(4) ? '::text' : ''}`;
    } finally {
      this.#depth--;
    }
  }

  #last = '';
  #inner(scope: readonly Source[]): Source[] {
    const [relation, columns] = this.#relation();
    const alias = this.name();
    this.#last = `${relation} ${alias}`;
    return this.#chance.once(3) ? [...scope, { alias, columns }] : [{ alias, columns }, ...scope.slice(0, 1)];
  }

  #filled(template: string, scope: readonly Source[], of: (scope: readonly Source[]) => string = (from) => this.value(from)): string {
    return template.replaceAll(/(?<![\w"])_(?![\w"])/g, () => `(${of(scope)})::text`);
  }

  leaf(scope: readonly Source[]): string {
    const { once, pick } = this.#chance;
    if (once(60)) return `'${once(4) ? 'x' : ''}${tokenPlace(this.#chance)}'`;
    if (scope.length === 0 || once(6))
      return pick(["'a'", "'zq'", '1', "'2020-01-02'", 'null', "E'\\x41'", "'{}'", 'true', 'current_date', "'$.k'", 'current_user']);
    const source = pick(scope);
    if (source.columns.length === 0) return source.alias;
    const column = pick(source.columns);
    return once(4) && scope.length === 1 ? column : once(12) ? `(${source.alias}).${column}` : `${source.alias}.${column}`;
  }

  /** A whole row in some dress. */
  whole(scope: readonly Source[]): string {
    const { pick } = this.#chance;
    if (scope.length === 0) return "'a'";
    const { alias, columns } = pick(scope);
    const column = columns.length > 0 ? pick(columns) : 'word';
    return pick([
      `${alias}::text`,
      `row(${alias}.*)::text`,
      `to_json(${alias})::text`,
      `row_to_json(${alias})::text`,
      `to_jsonb(${alias}) ->> '${column}'`,
      `(to_jsonb(${alias}) - 'id')::text`,
      `(array[${alias}])[1]::text`,
      `(${alias}.${column})::text`,
      `jsonb_build_array(${alias})::text`,
      `concat(${alias})`,
      `(${alias} is not null)::text`,
      `coalesce(${alias})::text`,
      `(jsonb_populate_record(${alias}, '{}')).${column}::text`,
      `row(${alias}, 1)::text`,
      `hash_record(${alias})::text`,
      `(jsonb_each_text(to_jsonb(${alias}))).value`,
      `format('%s', ${alias})`,
      `jsonb_path_query_array(to_jsonb(${alias}), '$.*')::text`,
      `json_object('r': ${alias})::text`,
      `xmlforest(${alias} as r)::text`,
      `xmlelement(name x, ${alias}::text)::text`,
      `((${alias}))::text`,
      `case when true then ${alias} end::text`,
      `(select ${alias})::text`,
      `(select (${alias}).${column})::text`,
      `record_out(${alias})::text`,
    ]);
  }

  #relation(): readonly [string, readonly string[]] {
    const all = [...this.relations];
    // What the session has made is where its data went.
    const { once, pick } = this.#chance;
    if (once(4)) return ['people', this.relations.get('people') ?? []];
    return once(2) ? (all.at(-1 - this.#chance.below(Math.min(3, all.length))) as [string, readonly string[]]) : pick(all);
  }

  /** One entry of FROM; what stands to its left is seen by what is lateral. */
  source(outer: readonly Source[]): { readonly sql: string; readonly source: Source } {
    const { once, pick } = this.#chance;
    const alias = this.name();
    if (this.#depth < this.#most && once(6)) {
      this.#depth++;
      try {
        const width = 1 + this.#chance.below(3);
        const columns = Array.from({ length: width }, (_, i) => `c${i}`);
        const lateral = outer.length > 0 && once(2);
        return { sql: `${lateral ? 'lateral ' : ''}(${this.query(lateral ? outer : [], width)}) ${alias}(${columns.join(', ')})`, source: { alias, columns } };
      } finally {
        this.#depth--;
      }
    }
    if (once(6)) {
      const [call, columns] = pick(SET_FUNCTIONS);
      const filled = this.#filled(call.replace('json_agg_of', '(select json_agg(p) from people p)'), outer);
      if (filled.includes('@(')) return { sql: filled.replace('@(', `${alias}(`), source: { alias, columns: ['u'] } };
      const listed = columns.length > 0 && !/^(jsonb_populate|json_populate|everyone|json_table|xmltable)/.test(call) ? `(${columns.join(', ')})` : '';
      return { sql: `${once(2) ? 'lateral ' : ''}${filled} ${alias}${listed}`, source: { alias, columns } };
    }
    if (once(14))
      return {
        sql: `(values ((${this.value(outer.slice(0, 0))})::text, 1), ((${this.value([])})::text, 2)) ${alias}(u, n)`,
        source: { alias, columns: ['u', 'n'] },
      };
    const [relation, columns] = this.#relation();
    if (once(10) && columns.length > 0) return { sql: `${relation} ${alias}(x1, x2)`, source: { alias, columns: ['x1', 'x2', ...columns.slice(2)] } };
    return {
      sql: `${once(12) ? 'only ' : ''}${relation} ${alias}${once(12) && /^(people|orders|vault|spare|copied)$/.test(relation) ? ' tablesample bernoulli (100)' : ''}`,
      source: { alias, columns },
    };
  }

  from(outer: readonly Source[]): { readonly sql: string; readonly sources: readonly Source[] } {
    const { below, once, pick } = this.#chance;
    const sources: Source[] = [];
    let sql = '';
    for (let i = 1 + Math.max(0, below(MAX_SOURCES + 2) - 2); i > 0; i--) {
      const next = this.source([...sources, ...outer].slice(0, 3));
      if (sql === '') sql = next.sql;
      else {
        const [left] = sources;
        const both = (column: string): boolean => sources.length === 1 && [left, next.source].every((one) => one?.columns.includes(column));
        const on = once(3) && left ? `${left.alias}::text = ${next.source.alias}::text` : pick(['true', '1 = 1']);
        sql = pick([
          `${sql}, ${next.sql}`,
          `${sql} cross join ${next.sql}`,
          `${sql} ${pick(['left ', 'right ', 'full ', ''])}join ${next.sql} on ${on}`,
          `${sql} ${once(3) ? 'full ' : ''}join ${next.sql} ${both('id') ? 'using (id)' : 'on true'}`,
          both('id') && sources.length < 2 ? `${sql} natural join ${next.sql}` : `${sql}, ${next.sql}`,
        ]);
      }
      sources.push(next.source);
    }
    return { sql, sources };
  }

  condition(scope: readonly Source[]): string {
    const { once, pick } = this.#chance;
    const withId = scope.find(({ columns }) => columns.includes('id'));
    const withEmail = scope.find(({ columns }) => columns.includes('email'));
    if (withEmail && once(5)) {
      const token = (): string => `'${tokenPlace(this.#chance)}'`;
      const column = `${withEmail.alias}.${pick(['email', 'email', 'code', 'big', 'uid'])}`;
      return pick([
        `${column} = ${token()}`,
        `${token()} = ${column}`,
        `${column} in (${token()}, ${token()})`,
        `${column} is not distinct from ${token()}`,
        `${column} = any (array[${token()}, 'x'])`,
        `${column} = any ('{${tokenPlace(this.#chance)},x}')`,
        `not (${column} <> ${token()})`,
        `(${column} = ${token()} or ${this.condition(scope)})`,
        `${column} = upper(${token()})`,
        `${column} like ${token()}`,
        `${column} = E${token()}`,
      ]);
    }
    if (once(6)) return `${this.value(scope)} ${pick(['is not null', "<> 'x'", 'is null'])}`;
    return withId ? `${withId.alias}.id ${pick(['< 3', '= 1', 'in (1, 2)', '> 0'])}` : pick(['true', '1 = 1']);
  }

  /** A query of so many columns. */
  query(outer: readonly Source[], width: number, mixed = false): string {
    const { below, once, pick } = this.#chance;
    this.#depth++;
    try {
      if (this.#depth < this.#most && once(9)) {
        const op = pick(['union', 'union all', 'except', 'intersect', 'union all', 'except all']);
        return `(${this.query(outer, width, true)}) ${op} (${this.query(outer, width, true)})`;
      }
      const cte = this.#depth < this.#most && once(8) ? this.#cte(outer) : undefined;
      const { sources, sql } = this.from(outer);
      const scope = [...sources, ...(once(2) ? outer.slice(0, 1) : [])];
      const column = (): string => this.value(scope);
      const grouped = once(6);
      const windowed = !grouped && once(8);
      const target = (i: number): string => {
        if (grouped && once(2)) return `(${this.#filled(pick(AGGREGATES), scope)})::text`;
        if (windowed && once(2))
          return `(${this.#filled(pick(WINDOWS), scope)} over (${once(3) ? `partition by ${column()} ` : ''}order by 1${pick(FRAMES)}))::text`;
        if (once(25))
          return `(${pick(SET_FUNCTIONS.filter(([call]) => !/as @|^json_table|^xmltable|^rows|with ordinality|json_agg_of/.test(call)).map(([call]) => this.#filled(call, scope)))})::text`;
        return grouped
          ? `(${this.#filled(pick(AGGREGATES), scope, (from) => this.leaf(from))})::text`
          : `${once(4) && !mixed ? column() : `(${column()})::text`}${once(4) ? ` as c${i}` : ''}`;
      };
      let text = `select ${once(14) ? 'distinct ' : ''}${Array.from({ length: width }, (_, i) => target(i)).join(', ')} from ${sql}`;
      if (once(2)) text += ` where ${this.condition(scope)}`;
      if (grouped && once(3))
        text += ` group by ${pick([column(), `grouping sets (((${column()})::text), ())`, `rollup ((${this.leaf(scope)})::text)`, `cube ((${this.leaf(scope)})::text)`])}${once(3) ? ` having ${this.#filled(pick(AGGREGATES), scope)} is not null` : ''}`;
      else if (once(8)) text += ` order by ${pick(['1', column(), '1 desc nulls last'])}`;
      if (once(8)) text += ` limit ${pick(['2', '3', `length(${this.value([])}::text)`])}`;
      if (!grouped && !mixed && once(40)) text += pick([' for update', ' for share']);
      if (once(40)) text += ` offset ${below(2)}`;
      return `${cte ?? ''}${text}`;
    } finally {
      this.#depth--;
    }
  }

  /** A WITH clause, whose name is a relation from then on. */
  #cte(outer: readonly Source[]): string {
    const { once, pick } = this.#chance;
    const name = this.name();
    const kind = once(4) ? 'recursive' : 'plain';
    if (kind === 'recursive') {
      const text = `with recursive ${name}(n, t) as (select 1, (${this.value([{ alias: 'p', columns: ['word', 'email', 'name'] }])})::text from people p where p.id = 1 union all select n + 1, ${pick(['t', 'substr(t, 2)', "t || 'x'", 'reverse(t)'])} from ${name} where n < 3)${once(3) ? ` ${pick(['search depth first by t set ord', 'cycle t set cyc using path'])}` : ''} `;
      this.relations.set(name, ['n', 't', 't']);
      return text;
    }
    const dml = once(6) ? this.returning() : undefined;
    const text = `with ${name}(a, b) as ${pick(['', 'materialized ', 'not materialized '])}(${dml ?? this.query(outer.slice(0, 0), 2)}) `;
    this.relations.set(name, ['a', 'b']);
    return text;
  }

  /** A statement that changes something and gives back two columns. */
  returning(into: readonly [string, readonly string[]] = this.#target()): string {
    const { once, pick } = this.#chance;
    const [table, columns] = into;
    const [one = 'a', two = 'b'] = columns;
    const self: Source = { alias: table, columns };
    const back = (scope: readonly Source[]): string =>
      once(5)
        ? pick([`${one}, ${two}`, `old.${one}, new.${one}`, `${table}::text, 1`, 'row(old)::text, row(new)::text'])
        : `${this.value(scope)}, ${this.value(scope)}`;
    const p: Source = { alias: 'p', columns: RELATIONS.get('people') ?? [] };
    switch (this.#chance.below(6)) {
      case 0:
        return `insert into ${table} (${one}, ${two}) ${this.query([], 2)} returning ${back([self])}`;
      case 1:
        return `insert into ${table} (${one}) values ((${this.value([])})::text), ((select ${this.value([p])} from people p limit 1)) returning ${back([self])}`;
      case 2:
        return `update ${table} set ${one} = (${this.value([p, self])})::text from people p where ${once(2) ? 'p.id = 1' : this.condition([p])} returning ${back([self, p])}`;
      case 3:
        return `update ${table} set (${one}, ${two}) = (select z.* from (${this.query([], 2, true)}) z limit 1) returning ${back([self])}`;
      case 4:
        return `merge into ${table} using people p on ${pick(['false', 'p.id = 1', `${table}.${one} = p.word`])} when matched then ${pick([`update set ${one} = (${this.value([p])})::text`, 'delete', 'do nothing'])} when not matched then insert (${one}, ${two}) values ((${this.value([p])})::text, (${this.value([p])})::text) returning ${back([self, p])}`;
      default:
        return `delete from ${table} using people p where ${once(2) ? 'p.id = 1' : this.condition([p])} returning ${back([self, p])}`;
    }
  }

  #target(): readonly [string, readonly string[]] {
    const own = [...this.relations].filter(([name]) => /^(t|n)\d/.test(name));
    const { once, pick } = this.#chance;
    return own.length > 0 && !once(4)
      ? pick(own)
      : pick([
          ['spare', ['a', 'b']],
          ['keyed', ['a', 'b']],
          ['vault', ['w', 'v']],
          ['spare', ['b', 'a']],
          ['child', ['extra', 'v']],
          ['docs', ['d', 'p']],
          ['contacts', ['name', 'remark']],
          ['people', ['city', 'word']],
        ]);
  }
}
