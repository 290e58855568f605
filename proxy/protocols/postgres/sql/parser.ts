/**
 * PostgreSQL's own grammar (libpg-query, WASM), loaded so that the same code works from node_modules and from a CommonJS
 * bundle with `libpg-query.wasm` beside it: the module's own script directory is right in both.
 */
import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import type { Node } from 'libpg-query';
import createModule from 'libpg-query/wasm/libpg-query.js';

// The grammar is one function of a size for which V8's optimising compiler takes more than half a gigabyte for some seconds.
// What the first compiler makes of it is a little slower, and each shape of statement is parsed once. The flags hold for the
// whole process, which has no other large module.
for (const flag of ['--no-wasm-tier-up', '--no-wasm-dynamic-tiering']) setFlagsFromString(flag);

/** Longest statement text that is parsed, in UTF-8 bytes; a longer one is not understood. */
export const MAX_SQL_BYTES = 256 * 1024;
/** Most statements taken from one text. */
export const MAX_STATEMENTS = 100;

export interface ParsedStatement {
  readonly node: Node;
  /** UTF-8 byte offsets in the text. */
  readonly start: number;
  readonly end: number;
}

export type Parsed =
  | { readonly ok: true; readonly statements: readonly ParsedStatement[] }
  | { readonly ok: false; readonly why: 'syntax' | 'too-long' | 'too-many' | 'not-text' | 'broken'; readonly message: string };

/** What this file uses of the Emscripten module. Pointers are numbers; results are NUL-terminated UTF-8. */
export interface PgModule {
  _malloc(size: number): number;
  _free(pointer: number): void;
  _wasm_parse_query_raw(sql: number): number;
  _wasm_free_parse_result(result: number): void;
  _wasm_parse_plpgsql(sql: number): number;
  _wasm_free_string(text: number): void;
  getValue(pointer: number, type: 'i32'): number;
  UTF8ToString(pointer: number): string;
  stringToUTF8(text: string, pointer: number, size: number): void;
}

/** Node has WebAssembly, but its types come with the browser's, which this project does not load. */
interface CompiledWasm {
  readonly kind: 'WebAssembly.Module';
}
interface WasmInstance {
  readonly exports: object;
}
declare const WebAssembly: {
  compile(bytes: Uint8Array): Promise<CompiledWasm>;
  readonly Instance: new (module: CompiledWasm, imports: object) => WasmInstance;
};

type Instantiate = (imports: object, done: (instance: WasmInstance) => void) => object;
export type ParserFactory = (options: {
  locateFile?: (path: string, directory: string) => string;
  instantiateWasm?: Instantiate;
  printErr?: (line: string) => void;
}) => Promise<PgModule>;

interface RawTree {
  readonly stmts?: readonly { readonly stmt?: Node; readonly stmt_location?: number; readonly stmt_len?: number }[];
}

/** libpg-query's own. */
export const createPgModule = createModule as ParserFactory;

export class Parser {
  readonly #create: ParserFactory;
  readonly #compiled: CompiledWasm;
  #module: PgModule | undefined;
  /** Takes over at once after a trap, so that one client's odd text does not trouble the others. */
  #spare: PgModule | undefined;
  #rebuilding: Promise<void> | undefined;

  private constructor(create: ParserFactory, compiled: CompiledWasm, module: PgModule) {
    this.#create = create;
    this.#compiled = compiled;
    this.#module = module;
  }

  /** @param create handed in by tests that make it fail */
  static async load(create: ParserFactory = createPgModule): Promise<Parser> {
    let path = '';
    const module = await create({
      // A trap is told by what it throws; it has nothing to say on our standard error.
      printErr: () => {},
      locateFile: (name, directory) => {
        path = directory + name;
        return path;
      },
    });
    // Compiled once and kept, so that a rebuild does not depend on the file: an update may have replaced it meanwhile.
    const parser = new Parser(create, await WebAssembly.compile(await readFile(path)), module);
    await parser.#prepareSpare();
    return parser;
  }

  /** Never throws. After a trap a spare module takes over while another is built; should that trap as well, all is `broken` until then. */
  parse(sql: string): Parsed {
    if (sql.includes('\0') || !sql.isWellFormed()) return { ok: false, why: 'not-text', message: 'the text holds a NUL or broken Unicode' };
    const bytes = Buffer.byteLength(sql);
    if (bytes > MAX_SQL_BYTES) return { ok: false, why: 'too-long', message: `longer than ${MAX_SQL_BYTES} bytes` };
    if (sql === '') return { ok: true, statements: [] };
    const module = this.#module;
    if (!module) return { ok: false, why: 'broken', message: 'the parser is restarting' };
    try {
      const text = module._malloc(bytes + 1);
      module.stringToUTF8(sql, text, bytes + 1);
      const result = module._wasm_parse_query_raw(text);
      if (result === 0) throw new Error('no result');
      const error = module.getValue(result + 8, 'i32');
      const message = error === 0 ? '' : module.UTF8ToString(module.getValue(error, 'i32'));
      const tree = error === 0 ? module.UTF8ToString(module.getValue(result, 'i32')) : '';
      module._wasm_free_parse_result(result);
      module._free(text);
      if (error !== 0) return { ok: false, why: 'syntax', message };
      return statementsOf(JSON.parse(tree) as RawTree, bytes);
    } catch (cause) {
      this.#rebuild();
      return { ok: false, why: 'broken', message: `the parser failed: ${String(cause)}` };
    }
  }

  /** The SQL texts inside a PL/pgSQL function, given its whole CREATE FUNCTION; undefined where it cannot be parsed. */
  plpgsqlQueries(createFunction: string): readonly { readonly sql: string; readonly dynamic: boolean }[] | undefined {
    const module = this.#module;
    const bytes = Buffer.byteLength(createFunction);
    if (!module || bytes > MAX_SQL_BYTES || createFunction.includes('\0') || !createFunction.isWellFormed()) return undefined;
    try {
      const text = module._malloc(bytes + 1);
      module.stringToUTF8(createFunction, text, bytes + 1);
      const result = module._wasm_parse_plpgsql(text);
      const json = module.UTF8ToString(result);
      module._wasm_free_string(result);
      module._free(text);
      if (!json.startsWith('{')) return undefined;
      const found: { sql: string; dynamic: boolean }[] = [];
      collectQueries(JSON.parse(json), false, found);
      return found;
    } catch {
      this.#rebuild();
      return undefined;
    }
  }

  /** Resolves when a rebuild after a trap has ended. */
  async ready(): Promise<void> {
    await this.#rebuilding;
  }

  /** What trapped is not used again: its memory may be in any state. */
  #rebuild(): void {
    this.#module = this.#spare;
    this.#spare = undefined;
    this.#rebuilding ??= this.#prepareSpare().finally(() => {
      this.#rebuilding = undefined;
    });
  }

  async #prepareSpare(): Promise<void> {
    while (!this.#spare || !this.#module) {
      const module = await this.#create({
        printErr: () => {},
        instantiateWasm: (imports, done) => {
          done(new WebAssembly.Instance(this.#compiled, imports));
          return {};
        },
      });
      if (this.#module) this.#spare = module;
      else this.#module = module;
    }
  }
}

function statementsOf(tree: RawTree, bytes: number): Parsed {
  const raw = tree.stmts ?? [];
  if (raw.length > MAX_STATEMENTS) return { ok: false, why: 'too-many', message: `more than ${MAX_STATEMENTS} statements` };
  const statements: ParsedStatement[] = [];
  for (const { stmt, stmt_location: start = 0, stmt_len: length = 0 } of raw) {
    if (!stmt) return { ok: false, why: 'broken', message: 'a statement without a tree' };
    statements.push({ node: stmt, start, end: length === 0 ? bytes : start + length });
  }
  return { ok: true, statements };
}

/** PL/pgSQL trees keep their SQL as text in `PLpgSQL_expr.query`; an EXECUTE statement's text is made at run time. */
function collectQueries(value: unknown, dynamic: boolean, found: { sql: string; dynamic: boolean }[]): void {
  if (Array.isArray(value)) {
    for (const item of value) collectQueries(item, dynamic, found);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    const made = dynamic || key.includes('dynexecute') || key.includes('dynfors');
    if (key === 'PLpgSQL_expr' && typeof inner === 'object' && inner !== null && 'query' in inner && typeof inner.query === 'string') {
      found.push({ sql: inner.query, dynamic: made });
    } else {
      collectQueries(inner, made, found);
    }
  }
}

let shared: Promise<Parser> | undefined;

/** The process's one parser. */
export function loadParser(): Promise<Parser> {
  shared ??= Parser.load();
  return shared;
}
