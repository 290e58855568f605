// Three bundles from one source tree: the extension and the proxy (CommonJS, for the editor's Node) and the panels (ESM,
// for the webview). `node esbuild.mjs [--watch]`.
import { copyFileSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, context } from 'esbuild';

const root = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const watch = process.argv.includes('--watch');
process.chdir(root);
rmSync('dist', { recursive: true, force: true });
mkdirSync('dist/webview', { recursive: true });
mkdirSync('dist/console', { recursive: true });

// Names stay as they are instead of being kept by `keepNames`, which makes a call out of every function that is created:
// in the proxy's data path that is several for every statement and value.
const common = { bundle: true, minifyWhitespace: true, minifySyntax: true, legalComments: 'none', sourcemap: watch ? 'inline' : false, logLevel: 'warning' };
// Sources are ES modules; what they ask of `import.meta.url` a CommonJS bundle answers from its own file name.
const node = {
  ...common,
  // Its CommonJS build asks for its files in a way that cannot be bundled.
  alias: { 'jsonc-parser': 'jsonc-parser/lib/esm/main.js' },
  platform: 'node',
  format: 'cjs',
  target: 'node22',
  define: { 'import.meta.url': 'importMetaUrl' },
  banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
  // The CommonJS builds of the language client and of libpg-query are the ones that bundle.
  mainFields: ['main', 'module'],
  conditions: ['require', 'node'],
};

/** The command is started with whatever Node there is: an older one gets a sentence instead of a missing module. */
const NEEDS_NODE = [
  "const [nodeMajor, nodeMinor] = process.versions.node.split('.').map(Number);",
  'if (nodeMajor < 22 || (nodeMajor === 22 && nodeMinor < 15)) {',
  "  process.stderr.write('countersign needs Node 22.15 or newer; ' + process.execPath + ' is ' + process.versions.node + '.\\n');",
  '  process.exit(1);',
  '}',
].join('\n');

/** The gateway is loaded only by who runs it: a bundle of its own beside the CLI, and not in the editor's package. */
const gatewayApart = {
  name: 'gateway-apart',
  setup: (plugin) => plugin.onResolve({ filter: /^\.\.\/gateway\/main\.ts$/ }, () => ({ path: './gateway.cjs', external: true })),
};

const bundles = [
  {
    ...node,
    entryPoints: { extension: 'extension/main.ts', uninstall: 'extension/uninstall.ts' },
    outdir: 'dist',
    outExtension: { '.js': '.cjs' },
    external: ['vscode'],
  },
  {
    ...node,
    entryPoints: {
      proxy: 'proxy/main.ts',
      bridge: 'proxy/bridge.ts',
      indexThread: 'proxy/recording/indexThread.ts',
    },
    outdir: 'dist',
    outExtension: { '.js': '.cjs' },
    external: ['pg-native'],
  },
  {
    ...node,
    entryPoints: { countersign: 'cli/main.ts' },
    outdir: 'dist',
    outExtension: { '.js': '.cjs' },
    external: ['pg-native'],
    plugins: [gatewayApart],
    banner: { js: `${NEEDS_NODE}\n${node.banner.js}` },
  },
  // The embedded store brings files of its own and stays a package.
  { ...node, entryPoints: { gateway: 'gateway/main.ts' }, outdir: 'dist', outExtension: { '.js': '.cjs' }, external: ['pg-native', '@electric-sql/pglite'] },
  {
    ...common,
    minify: true,
    platform: 'browser',
    format: 'esm',
    target: 'chrome134',
    entryPoints: { approvals: 'webview/approvals/main.ts', operation: 'webview/operation/main.ts' },
    outdir: 'dist/webview',
    conditions: ['production', 'browser'],
  },
  // The gateway's page: for any browser of the last two years, and not in the editor's package.
  {
    ...common,
    minify: true,
    platform: 'browser',
    format: 'esm',
    target: ['chrome123', 'firefox120', 'safari17.5'],
    entryPoints: { console: 'webview/console/main.ts' },
    outdir: 'dist/console',
    conditions: ['production', 'browser'],
  },
];

if (watch) {
  for (const options of bundles) await (await context(options)).watch();
} else {
  await Promise.all(bundles.map((options) => build(options)));
}
copyFileSync(require.resolve('libpg-query/wasm/libpg-query.wasm'), 'dist/libpg-query.wasm');
for (const file of ['codicon.css', 'codicon.ttf'])
  for (const folder of ['dist/webview', 'dist/console']) copyFileSync(require.resolve(`@vscode/codicons/dist/${file}`), join(folder, file));

const kilobytes = (file) => `${file} ${Math.round(statSync(file).size / 1024)} KB`;
console.log(
  ['dist/extension.cjs', 'dist/proxy.cjs', 'dist/webview/approvals.js', 'dist/webview/operation.js', 'dist/console/console.js'].map(kilobytes).join(', '),
);
