import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const ROOT = resolve(import.meta.dirname, '../..');

/** Bundles the suite that runs inside the extension host. @returns the path for `extensionTestsPath`. */
export async function buildHostSuite(): Promise<string> {
  const outfile = join(ROOT, 'out', 'test-host', 'index.cjs');
  await build({
    entryPoints: [join(ROOT, 'test', 'editor', 'host', 'index.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['vscode', 'mocha'],
    logLevel: 'error',
  });
  return outfile;
}
