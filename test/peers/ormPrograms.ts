/** Drizzle over postgres.js and Kysely over node-postgres: migrations, relations, transactions, what they make of errors. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql as drizzleSql, eq, relations } from 'drizzle-orm';
import { boolean, integer, jsonb, numeric, pgTable, serial, text, timestamp, uuid } from 'drizzle-orm/pg-core';
import { drizzle } from 'drizzle-orm/postgres-js';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { type Generated, Kysely, PostgresDialect, sql } from 'kysely';
import { jsonArrayFrom } from 'kysely/helpers/postgres';
import { Migrator } from 'kysely/migration';
import { Pool } from 'pg';
import postgres from 'postgres';
import type { Program } from './steps.ts';

const authors = pgTable('authors', {
  id: serial('id').primaryKey(),
  name: text('name').notNull().unique(),
  active: boolean('active').default(true),
  born: timestamp('born', { withTimezone: true }),
});
const books = pgTable('books', {
  id: serial('id').primaryKey(),
  author: integer('author').references(() => authors.id, { onDelete: 'cascade' }),
  title: text('title').notNull(),
  price: numeric('price', { precision: 8, scale: 2 }),
  meta: jsonb('meta'),
  ref: uuid('ref'),
  tags: text('tags').array(),
});
const authorsRelations = relations(authors, ({ many }) => ({ books: many(books) }));
const booksRelations = relations(books, ({ one }) => ({ writer: one(authors, { fields: [books.author], references: [authors.id] }) }));
const schema = { authors, books, authorsRelations, booksRelations };

const MIGRATIONS = [
  `CREATE TABLE "authors" ("id" serial PRIMARY KEY NOT NULL, "name" text NOT NULL, "active" boolean DEFAULT true, "born" timestamp with time zone, CONSTRAINT "authors_name_unique" UNIQUE("name"));
--> statement-breakpoint
CREATE TABLE "books" ("id" serial PRIMARY KEY NOT NULL, "author" integer, "title" text NOT NULL, "price" numeric(8, 2), "meta" jsonb, "ref" uuid);
--> statement-breakpoint
ALTER TABLE "books" ADD CONSTRAINT "books_author_fk" FOREIGN KEY ("author") REFERENCES "public"."authors"("id") ON DELETE cascade ON UPDATE no action;`,
  'ALTER TABLE "books" ADD COLUMN "tags" text[];',
];

function migrationFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'cs-drizzle-'));
  mkdirSync(join(folder, 'meta'));
  const entries = MIGRATIONS.map((text, idx) => {
    const tag = `000${idx}_step`;
    writeFileSync(join(folder, `${tag}.sql`), text);
    return { idx, version: '7', when: 1_700_000_000_000 + idx, tag, breakpoints: true };
  });
  writeFileSync(join(folder, 'meta', '_journal.json'), JSON.stringify({ version: '7', dialect: 'postgresql', entries }));
  return folder;
}

export const drizzleProgram: Program = async ({ database, host, password, port, user }, step) => {
  const client = postgres({ database, host, password, port, user, max: 2, onnotice: () => {} });
  const db = drizzle(client, { schema });
  const folder = migrationFolder();
  await step('migrate', () => migrate(db, { migrationsFolder: folder }));
  await step('migrate again', () => migrate(db, { migrationsFolder: folder }));
  await step('what was migrated', async () =>
    (await db.execute(drizzleSql`SELECT id, created_at FROM drizzle.__drizzle_migrations ORDER BY id`)).map((row) => ({ ...row })),
  );
  rmSync(folder, { recursive: true, force: true });
  await step('insert', () =>
    db
      .insert(authors)
      .values([
        { name: 'Ada', born: new Date('1815-12-10T00:00:00Z') },
        { name: 'Bob', active: false },
      ])
      .returning(),
  );
  await step('insert related', () =>
    db
      .insert(books)
      .values(
        [...Array(12).keys()].map((i) => ({
          author: 1 + (i % 2),
          title: `Book ${i}`,
          price: `${i}.50`,
          meta: { pages: i, list: [1, null] },
          tags: ['a', `t${i}`],
        })),
      )
      .returning({ id: books.id, title: books.title }),
  );
  await step('upsert', () =>
    db
      .insert(authors)
      .values({ name: 'Ada' })
      .onConflictDoUpdate({ target: authors.name, set: { active: false } })
      .returning(),
  );
  await step('relations', () => db.query.authors.findMany({ with: { books: { columns: { ref: false }, orderBy: books.id, limit: 3 } }, orderBy: authors.id }));
  await step('nested the other way', () => db.query.books.findFirst({ where: eq(books.id, 4), columns: { ref: false }, with: { writer: true } }));
  await step('join', () =>
    db.select({ name: authors.name, title: books.title }).from(books).leftJoin(authors, eq(books.author, authors.id)).orderBy(books.id).limit(4),
  );
  await step('aggregate', () =>
    db
      .select({ author: books.author, n: drizzleSql<number>`count(*)::int`, total: drizzleSql`sum(${books.price})` })
      .from(books)
      .groupBy(books.author)
      .orderBy(books.author),
  );
  await step('prepared', async () => {
    const byId = db
      .select({ id: books.id, meta: books.meta })
      .from(books)
      .where(eq(books.id, drizzleSql.placeholder('id')))
      .prepare('book_by_id');
    return [await byId.execute({ id: 1 }), await byId.execute({ id: 2 })];
  });
  await step('update', () => db.update(books).set({ price: '99.99' }).where(eq(books.id, 3)).returning({ id: books.id, price: books.price }));
  await step('transaction', () =>
    db.transaction(async (tx) => [
      await tx.insert(authors).values({ name: 'Tx' }).returning(),
      await tx.transaction((inner) => inner.select().from(authors).where(eq(authors.name, 'Tx'))),
    ]),
  );
  await step('rolled back', () =>
    db.transaction(async (tx) => {
      await tx.delete(authors);
      tx.rollback();
    }),
  );
  await step('still there', () => db.$count(authors));
  await step('unique error', () => db.insert(authors).values({ name: 'Ada' }));
  await step('foreign key error', () => db.insert(books).values({ author: 4711, title: 'x' }));
  await step('not null error', () => db.insert(books).values({ title: null as unknown as string }));
  await step('cascade', async () => [await db.delete(authors).where(eq(authors.name, 'Bob')).returning({ id: authors.id }), await db.$count(books)]);
  await step('clean up', () => db.execute(drizzleSql`DROP TABLE books, authors; `));
  await client.end({ timeout: 5 });
};

interface Tables {
  pets: { id: Generated<number>; name: string; owner: number | null; born: Date | null; meta: unknown };
  owners: { id: Generated<number>; name: string };
}

export const kyselyProgram: Program = async ({ database, host, password, port, user }, step) => {
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: new Pool({ database, host, password, port, user, max: 3 }) }) });
  const migrator = new Migrator({
    db,
    provider: {
      getMigrations: async () => ({
        '001': {
          up: async (k: Kysely<unknown>) => {
            await k.schema
              .createTable('owners')
              .addColumn('id', 'serial', (c) => c.primaryKey())
              .addColumn('name', 'text', (c) => c.notNull().unique())
              .execute();
            await k.schema
              .createTable('pets')
              .addColumn('id', 'serial', (c) => c.primaryKey())
              .addColumn('name', 'text', (c) => c.notNull())
              .addColumn('owner', 'integer', (c) => c.references('owners.id').onDelete('set null'))
              .addColumn('born', 'timestamptz')
              .addColumn('meta', 'jsonb')
              .execute();
          },
          down: async (k: Kysely<unknown>) => {
            await k.schema.dropTable('pets').execute();
            await k.schema.dropTable('owners').execute();
          },
        },
        '002': {
          up: (k: Kysely<unknown>) => k.schema.createIndex('pets_by_name').on('pets').column('name').execute(),
          down: (k: Kysely<unknown>) => k.schema.dropIndex('pets_by_name').execute(),
        },
      }),
    },
  });
  await step('migrate', () => migrator.migrateToLatest());
  await step('migrate again', () => migrator.migrateToLatest());
  await step('introspect', async () => (await db.introspection.getTables()).filter(({ name }) => ['pets', 'owners'].includes(name)));
  await step('insert', () =>
    db
      .insertInto('owners')
      .values([{ name: 'Ada' }, { name: 'Bob' }])
      .returningAll()
      .execute(),
  );
  await step('insert related', () =>
    db
      .insertInto('pets')
      .values([...Array(9).keys()].map((i) => ({ name: `Pet ${i}`, owner: 1 + (i % 2), born: new Date(1e12 + i), meta: JSON.stringify({ i }) })))
      .returning(['id', 'name', 'born', 'meta'])
      .execute(),
  );
  await step('nested', () =>
    db
      .selectFrom('owners')
      .select((eb) => [
        'owners.name',
        jsonArrayFrom(eb.selectFrom('pets').select(['pets.name', 'pets.meta']).whereRef('pets.owner', '=', 'owners.id').orderBy('pets.id')).as('pets'),
      ])
      .orderBy('owners.id')
      .execute(),
  );
  await step('join', () =>
    db
      .selectFrom('pets')
      .innerJoin('owners', 'owners.id', 'pets.owner')
      .select(['pets.name as pet', 'owners.name as who'])
      .where('pets.id', 'in', [1, 2, 3])
      .orderBy('pets.id')
      .execute(),
  );
  await step('cte', () =>
    db
      .with('few', (k) => k.selectFrom('pets').selectAll().where('id', '<', 4))
      .selectFrom('few')
      .select(({ fn }) => [fn.countAll<string>().as('n'), fn.max('few.name').as('last')])
      .executeTakeFirst(),
  );
  await step('update', () => db.updateTable('pets').set({ name: 'Renamed' }).where('id', '=', 2).executeTakeFirst());
  await step('stream', async () => {
    const names: string[] = [];
    for await (const { name } of db.selectFrom('pets').select('name').orderBy('id').stream(2)) names.push(name);
    return names;
  }).catch(() => {});
  await step('raw', async () => (await sql<{ v: number }>`SELECT ${1}::int + ${2}::int AS v`.execute(db)).rows);
  await step('transaction', () =>
    db
      .transaction()
      .setIsolationLevel('serializable')
      .execute(async (trx) => [
        await trx.insertInto('owners').values({ name: 'Tx' }).returning('name').executeTakeFirst(),
        (await sql`SHOW transaction_isolation`.execute(trx)).rows,
      ]),
  );
  await step('transaction that fails', () =>
    db.transaction().execute(async (trx) => {
      await trx.deleteFrom('pets').execute();
      await trx.insertInto('owners').values({ name: 'Ada' }).execute();
    }),
  );
  await step('still there', () =>
    db
      .selectFrom('pets')
      .select(({ fn }) => fn.countAll().as('n'))
      .execute(),
  );
  await step('savepoints', async () => {
    const trx = await db.startTransaction().execute();
    const point = await trx.savepoint('here').execute();
    const failed = await sql`SELECT 1/0`.execute(trx).catch((cause: { code: string }) => cause.code);
    await point.rollbackToSavepoint('here').execute();
    const rows = await trx.selectFrom('owners').selectAll().orderBy('id').execute();
    await trx.commit().execute();
    return [failed, rows];
  });
  await step('unique error', () => db.insertInto('owners').values({ name: 'Ada' }).execute());
  await step('foreign key error', () => db.insertInto('pets').values({ name: 'x', owner: 4711 }).execute());
  await step('migrate down', () => migrator.migrateDown());
  await step('clean up', () => sql`DROP TABLE pets, owners, kysely_migration, kysely_migration_lock`.execute(db));
  await db.destroy();
};
