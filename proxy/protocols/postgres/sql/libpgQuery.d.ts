/** The Emscripten module inside libpg-query, which the package ships without types. `parser.ts` says what it uses of it. */
declare module 'libpg-query/wasm/libpg-query.js' {
  const createModule: unknown;

  export { createModule as default };
}
