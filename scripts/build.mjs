// Bundles the extension and packs it, when a source has changed since the last time. `npm run build` prints the sizes.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { main, ROOT, SetupProblem, setup } from './setup.mjs';

export const VSIX = join(ROOT, 'out', 'countersign.vsix');
/** Wakes the chat of the demo's editor. */
const WAKE_CHAT = { folder: join(ROOT, 'demo', 'wakeChat'), vsix: join(ROOT, 'out', 'wake-chat.vsix') };
/** The package must stay below this, in bytes. */
const MAX_VSIX_BYTES = 6 << 20;

const SOURCES = [
  'contract',
  'proxy',
  'gateway',
  'extension',
  'webview',
  'cli',
  'media',
  'l10n',
  'demo/wakeChat',
  'esbuild.mjs',
  'package.json',
  'package.nls.json',
  '.vscodeignore',
  'README.md',
  'CHANGELOG.md',
  'LICENSE',
  'package-lock.json',
];

function filesOf(path) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => filesOf(join(path, entry.name)));
}

function fingerprint() {
  const hash = createHash('sha256');
  for (const file of SOURCES.flatMap((source) => filesOf(join(ROOT, source))).sort())
    hash.update(relative(ROOT, file)).update('\0').update(readFileSync(file)).update('\0');
  return hash.digest('hex');
}

/** @param sizes whether to print those of the bundles @returns {{ vsix: string, fingerprint: string, bytes: number }} */
export function buildExtension({ node, env, say = console.log, sizes = false }) {
  const stamp = join(ROOT, 'out', '.build.stamp');
  const print = fingerprint();
  if (!existsSync(VSIX) || !existsSync(stamp) || readFileSync(stamp, 'utf8') !== print) {
    say('Building the extension…');
    const step = (what, args, cwd = ROOT) => {
      const result = spawnSync(node, args, { cwd, env, encoding: 'utf8' });
      if (result.status !== 0) throw new SetupProblem(`${what} failed.\n${result.stdout}${result.stderr}`);
      return result.stdout.trim();
    };
    const bundled = step('Bundling', ['esbuild.mjs']);
    if (sizes) say(bundled);
    say('Packing it…');
    mkdirSync(join(ROOT, 'out'), { recursive: true });
    const pack = [join(ROOT, 'node_modules', '@vscode', 'vsce', 'vsce'), 'package', '--no-dependencies', '--skip-license'];
    step('Packing the extension', [...pack, '-o', VSIX]);
    step('Packing what wakes the chat', [...pack, '--allow-missing-repository', '-o', WAKE_CHAT.vsix], WAKE_CHAT.folder);
    writeFileSync(stamp, print);
  }
  const bytes = statSync(VSIX).size;
  if (bytes > MAX_VSIX_BYTES)
    throw new SetupProblem(`The package is ${(bytes / 1048576).toFixed(1)} MB, more than the ${MAX_VSIX_BYTES >> 20} MB that are allowed.`);
  return { vsix: VSIX, fingerprint: print, bytes };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main(() => {
    const { bytes } = buildExtension({ ...setup(), sizes: true });
    console.log(`out/countersign.vsix ${(bytes / 1048576).toFixed(2)} MB (at most ${MAX_VSIX_BYTES >> 20} MB)`);
  });
}
