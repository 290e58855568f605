import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { createPgModule, loadParser, MAX_SQL_BYTES, MAX_STATEMENTS, Parser, type ParserFactory } from '../../../../../proxy/protocols/postgres/sql/parser.ts';

describe('the parser', () => {
  it('gives each statement with its place in UTF-8 bytes', async () => {
    const parsed = (await loadParser()).parse("select 'é'; select 2 ");
    assert.ok(parsed.ok);
    assert.deepEqual(
      parsed.statements.map((s) => [s.start, s.end]),
      [
        [0, 11],
        [13, 22],
      ],
    );
  });

  it('says why where it gives no tree', async () => {
    const parser = await loadParser();
    const why = (sql: string): string => {
      const parsed = parser.parse(sql);
      return parsed.ok ? 'ok' : parsed.why;
    };
    assert.equal(why('selec'), 'syntax');
    assert.equal(why('select 1\0; drop table x'), 'not-text');
    assert.equal(why('select \ud800'), 'not-text');
    assert.equal(why(`select '${'x'.repeat(MAX_SQL_BYTES)}'`), 'too-long');
    assert.equal(why('select 1;'.repeat(MAX_STATEMENTS + 1)), 'too-many');
    assert.equal(why(`select ${'('.repeat(100_000)}`), 'syntax');
    assert.equal(why('select 1'), 'ok');
  });

  it('goes on with a spare after a trap, answers "broken" after another, and recovers', async () => {
    let traps = 0;
    const faulty: ParserFactory = async (options) => {
      const module = await createPgModule(options);
      const parse = module._wasm_parse_query_raw.bind(module);
      module._wasm_parse_query_raw = (sql) => {
        if (traps === 0) return parse(sql);
        traps--;
        throw new Error('unreachable');
      };
      return module;
    };
    const parser = await Parser.load(faulty);
    const why = (): string => {
      const parsed = parser.parse('select 1');
      return parsed.ok ? 'ok' : parsed.why;
    };
    assert.equal(why(), 'ok');
    traps = 1;
    assert.deepEqual([why(), why()], ['broken', 'ok']);
    await parser.ready();
    traps = 2;
    assert.deepEqual([why(), why(), why()], ['broken', 'broken', 'broken']);
    await parser.ready();
    assert.equal(why(), 'ok');
  });

  it('survives texts that overflow its stack', async () => {
    const parser = await Parser.load();
    for (const sql of [`select ${Array.from({ length: 20_000 }, () => '1').join('+')}`, `select 1${'::int'.repeat(30_000)}`]) {
      const parsed = parser.parse(sql);
      assert.ok(!parsed.ok && parsed.why === 'broken');
      assert.equal(parser.parse('select 1').ok, true);
      await parser.ready();
    }
  });

  it('finds its WebAssembly beside a CommonJS bundle', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'countersign-bundle-'));
    try {
      const entry = join(folder, 'entry.mjs');
      const from = fileURLToPath(new URL('../../../../../proxy/protocols/postgres/sql/parser.ts', import.meta.url));
      writeFileSync(entry, `import { loadParser } from ${JSON.stringify(from)};\nloadParser().then((p) => console.log(p.parse('select 1').ok));\n`);
      const outfile = join(folder, 'bundle.cjs');
      await build({
        entryPoints: [entry],
        bundle: true,
        platform: 'node',
        format: 'cjs',
        outfile,
        logLevel: 'error',
        absWorkingDir: fileURLToPath(new URL('../../../../..', import.meta.url)),
      });
      copyFileSync(createRequire(import.meta.url).resolve('libpg-query/wasm/libpg-query.wasm'), join(folder, 'libpg-query.wasm'));
      assert.equal(execFileSync(process.execPath, [outfile], { cwd: tmpdir(), encoding: 'utf8' }).trim(), 'true');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('finds the statements inside a PL/pgSQL function, and those that are made at run time', async () => {
    const parser = await loadParser();
    const queries = parser.plpgsqlQueries(
      `create function f() returns void language plpgsql as $$ begin delete from t; execute 'drop ' || 'x'; if 1 = 1 then perform g(); end if; end $$`,
    );
    assert.ok(queries);
    assert.ok(queries.some((q) => q.sql.includes('delete from t') && !q.dynamic));
    assert.ok(queries.some((q) => q.sql.includes("'drop '") && q.dynamic));
    assert.ok(queries.some((q) => q.sql.includes('g()')));
    assert.equal(parser.plpgsqlQueries('not a function at all'), undefined);
  });
});
