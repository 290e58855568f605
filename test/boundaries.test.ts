import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, it } from 'node:test';

const ROOT = resolve(import.meta.dirname, '..');
const AREAS = ['contract', 'proxy', 'gateway', 'extension', 'webview', 'cli', 'demo', 'scripts', 'test', 'bench'] as const;
type Area = (typeof AREAS)[number];

/** What each part may import of ours besides itself. Anything else is a mistake in the design, not in this table. */
const MAY_IMPORT: Record<Area, readonly Area[]> = {
  contract: [],
  proxy: ['contract'],
  gateway: ['contract', 'proxy'],
  extension: ['contract'],
  webview: ['contract'],
  cli: ['contract', 'proxy', 'gateway'],
  demo: ['contract'],
  scripts: ['contract', 'proxy', 'demo'],
  test: [...AREAS],
  bench: ['contract', 'proxy', 'demo', 'test'],
};

/** Modules that a part may not use: the panels and the contract run where there is no Node and no editor. */
const FORBIDDEN: Partial<Record<Area, RegExp>> = {
  contract: /^(node:|vscode$)/,
  webview: /^(node:|vscode$)/,
  proxy: /^vscode$/,
  gateway: /^vscode$/,
  cli: /^vscode$/,
};

interface Import {
  readonly file: string;
  readonly area: Area;
  readonly specifier: string;
}

function importsOf(area: Area): Import[] {
  return globSync(`${area}/**/*.{ts,mts,mjs}`, { cwd: ROOT, exclude: (path) => path.includes('node_modules') }).flatMap((file) => {
    const text = readFileSync(join(ROOT, file), 'utf8');
    const found = text.matchAll(
      /(?:^|[\s;}])(?:import|export)\s[^'"`;]*?from\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]|\brequire\(['"]([^'"]+)['"]\)/g,
    );
    return [...found].map((match) => ({ file, area, specifier: match[1] ?? match[2] ?? match[3] ?? '' }));
  });
}

const imports = AREAS.flatMap(importsOf);

describe('the direction of imports', () => {
  it('is read from real files', () => {
    assert.ok(imports.filter((i) => i.area === 'proxy').length > 50);
    assert.ok(imports.some((i) => i.area === 'proxy' && i.specifier.includes('contract/')));
  });

  it('goes contract ← proxy ← gateway, contract ← extension and webview', () => {
    const wrong = imports.filter(({ file, area, specifier }) => {
      if (!specifier.startsWith('.')) return false;
      const target = relative(ROOT, resolve(ROOT, dirname(file), specifier)).split(/[\\/]/)[0] as Area;
      return target !== area && AREAS.includes(target) && !MAY_IMPORT[area].includes(target);
    });
    assert.deepEqual(wrong, []);
  });

  it('keeps Node and the editor out of the parts that run without them', () => {
    assert.deepEqual(
      imports.filter(({ area, specifier }) => FORBIDDEN[area]?.test(specifier)),
      [],
    );
  });

  it('names files that exist', () => {
    const missing = imports.filter(
      ({ file, specifier }) => specifier.startsWith('.') && !existsSync(resolve(ROOT, dirname(file), specifier)) && !specifier.includes('*'),
    );
    assert.deepEqual(missing, []);
  });
});

describe('a permit', () => {
  it('can be made by the decision and by the approval alone', () => {
    const minters = globSync('{proxy,gateway,extension,cli}/**/*.ts', { cwd: ROOT }).filter((file) => /\bMINT\b/.test(readFileSync(join(ROOT, file), 'utf8')));
    assert.deepEqual(minters.map((file) => file.replaceAll('\\', '/')).sort(), [
      'proxy/pipeline/approve.ts',
      'proxy/pipeline/decide.ts',
      'proxy/pipeline/permit.ts',
    ]);
  });
});

describe('a permit for a dry run', () => {
  it('is asked for in one place, and given by the decision', () => {
    const users = globSync('{proxy,gateway,extension,cli}/**/*.ts', { cwd: ROOT }).filter((file) =>
      /\bpermitForDryRun\(/.test(readFileSync(join(ROOT, file), 'utf8')),
    );
    assert.deepEqual(users.map((file) => file.replaceAll('\\', '/')).sort(), ['proxy/pipeline/decide.ts', 'proxy/pipeline/tryOut.ts']);
  });
});

describe('names', () => {
  it('say what a file is for: no utils, helpers or managers', () => {
    const vague = AREAS.flatMap((area) => globSync(`${area}/**/*.ts`, { cwd: ROOT, exclude: (path) => path.includes('node_modules') })).filter((file) =>
      /(^|[\\/])(utils?|helpers?|manager|misc|common)\.ts$/i.test(file),
    );
    assert.deepEqual(vague, []);
  });
});
