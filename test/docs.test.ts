/** What the documents name is there: a reader who types what stands in them gets no "no such thing". */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';
import { COMMANDS } from '../cli/commands.ts';
import { ConfigShape } from '../gateway/config/schema.ts';
import { loadPolicy } from '../proxy/policy/load.ts';

const ROOT = resolve(import.meta.dirname, '..');
const DOCS = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md']
  .concat(readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' }).map((name) => join('docs', name)))
  .filter((name) => name.endsWith('.md'));
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
  contributes: { configuration: { properties: Record<string, unknown> }; commands: { command: string; title: string }[] };
};
/** Folders at the root: a path in a document begins with one of them, or is none of ours. */
const FOLDERS = readdirSync(ROOT, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);
const sources = ['contract', 'proxy', 'gateway', 'extension', 'cli', 'deploy', 'demo', 'scripts']
  .flatMap((folder) => readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8', withFileTypes: true }))
  .filter((entry) => entry.isFile() && /\.(ts|mjs|yaml|tpl)$|^Dockerfile$/.test(entry.name))
  .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
  .join('\n');

interface Page {
  readonly name: string;
  readonly text: string;
  /** What stands in backticks, and the lines of code blocks. */
  readonly code: readonly string[];
  readonly blocks: readonly { readonly language: string; readonly text: string }[];
}

const pages: readonly Page[] = DOCS.map((name) => {
  const text = readFileSync(join(ROOT, name), 'utf8');
  const blocks = [...text.matchAll(/^ *```([^\n]*)\n(.*?)^ *```$/gms)].map(([, language = '', inner = '']) => ({ language, text: inner }));
  const prose = text.replaceAll(/^ *```.*?^ *```$/gms, '');
  return {
    name,
    text,
    blocks,
    code: [...[...prose.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code), ...blocks.flatMap((block) => block.text.split('\n'))],
  };
});

/** Everything that is wrong, in one list. */
function wrong(find: (page: Page) => readonly string[]): string {
  return pages.flatMap((page) => find(page).map((what) => `${page.name}: ${what}`)).join('\n');
}

describe('the documents', () => {
  it('name commands and options that there are', () => {
    const seen = wrong(({ code }) =>
      code.flatMap((line) => {
        const [, rest] = /(?:^|[|(] ?|-- )countersign ((?:[a-z]+ ?)+.*)$/.exec(line.trim()) ?? [];
        // A signature's domain, which only looks like a command; and what lists them all.
        if (rest === undefined || /^checkpoint \d|^help$/.test(rest)) return [];
        const command = [...COMMANDS].sort((a, b) => b.name.length - a.name.length).find(({ name }) => rest === name || rest.startsWith(`${name} `));
        if (!command) return COMMANDS.some(({ name }) => name.startsWith(`${rest.replace(/ ?…$/, '')} `)) ? [] : [line];
        const known = `${command.usage} ${command.help}`;
        return [...(rest.split(/ -- | {2,}|#/)[0] ?? '').matchAll(/--[a-z-]+/g)].flatMap(([option]) =>
          known.includes(option) ? [] : [`${command.name} has no ${option}`],
        );
      }),
    );
    assert.equal(seen, '');
  });

  it('name scripts of npm that there are', () => {
    const known = (script: string): boolean => script in manifest.scripts || script in { install: 1, ci: 1, link: 1 };
    assert.equal(
      wrong(({ code }) =>
        code.flatMap((line) => [...line.matchAll(/\bnpm (?:run )?([a-z:]+)/g)].flatMap(([, script = '']) => (known(script) ? [] : [script]))),
      ),
      '',
    );
  });

  it('name settings and titles of commands that there are', () => {
    const settings = new Set(Object.keys(manifest.contributes.configuration.properties));
    assert.equal(
      wrong(({ code }) => code.filter((word) => /^countersign\.[a-z]+\.[a-zA-Z.]+$/.test(word) && !settings.has(word))),
      '',
    );
    const strings = JSON.parse(readFileSync(join(ROOT, 'package.nls.json'), 'utf8')) as Record<string, string>;
    const titles = new Set(manifest.contributes.commands.map(({ title }) => strings[title.slice(1, -1)] ?? title));
    assert.equal(
      wrong(({ text }) => [...text.matchAll(/\*{1,2}Countersign: ([^*]+)\*/g)].flatMap(([, title = '']) => (titles.has(title) ? [] : [title]))),
      '',
    );
  });

  it('name keys of the gateway’s configuration that there are', () => {
    interface Schema {
      readonly properties?: Readonly<Record<string, Schema>>;
      readonly anyOf?: readonly Schema[];
    }
    const shape = z.toJSONSchema(ConfigShape, { io: 'input', unrepresentable: 'any' }) as Schema;
    const has = (schema: Schema, [key, ...rest]: readonly string[]): boolean =>
      key === undefined || [schema, ...(schema.anyOf ?? [])].some(({ properties }) => properties?.[key] !== undefined && has(properties[key], rest));
    const first = /^(identity|policy|recordings|aws|vault|tls|metrics)\.[a-zA-Z.]+$/;
    const isFile = /\.(md|ts|yaml|crt|key)$/;
    assert.equal(
      wrong(({ code, name }) =>
        /gateway|deploy|edge|tunnel/.test(name) ? code.filter((word) => first.test(word) && !isFile.test(word) && !has(shape, word.split('.'))) : [],
      ),
      '',
    );
    assert.ok(has(shape, ['aws', 'kms', 'oldKeys']) && !has(shape, ['aws', 'kms', 'olderKeys']));
  });

  it('name environment variables and metrics that there are', () => {
    const known = (name: string): boolean => sources.includes(name);
    assert.equal(
      wrong(({ code }) => code.filter((word) => /^countersign_[a-z_]+$/.test(word) && !known(word))),
      '',
    );
    assert.equal(
      wrong(({ text }) => [...text.matchAll(/\b_?COUNTERSIGN_[A-Z_]+[A-Z]\b/g)].flatMap(([name]) => (known(name) ? [] : [name]))),
      '',
    );
  });

  it('name files that there are, and link to them', () => {
    const seen = wrong(({ code, name, text }) => {
      const paths = code
        .flatMap((line) => [...line.matchAll(/(?<![\w/.~-])([a-z0-9]+\/[\w./-]*\w)/gi)].map(([, path = '']) => path))
        .filter((path) => FOLDERS.includes(path.split('/')[0] ?? ''));
      const links = [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map(([, target = '']) => target).filter((target) => !/^[a-z]+:/.test(target));
      return [
        ...paths.filter((path) => !/^(out|dist|node_modules)\//.test(path) && !existsSync(join(ROOT, path)) && !existsSync(join(ROOT, `${path}.ts`))),
        ...links.filter((target) => !existsSync(resolve(ROOT, dirname(name), target))).map((target) => `link to ${relative(ROOT, target)}`),
      ];
    });
    assert.equal(seen, '');
  });

  it('show configurations and policies of the gateway that it takes', () => {
    const problems = ({ language, text }: Page['blocks'][number]): readonly string[] => {
      if (language === 'yaml policy') {
        const loaded = loadPolicy([{ layer: 'organisation', file: 'policy', text }], { gateway: true });
        return loaded.ok ? [] : loaded.problems.map(({ message }) => message);
      }
      const { error } = ConfigShape.safeParse({ version: 1, publicUrl: 'https://gateway.example', ...(parse(text) as object) });
      return error ? [error.message] : [];
    };
    const shown = pages.filter(({ name }) => name === 'docs/gateway.md').flatMap(({ blocks }) => blocks.filter(({ language }) => language.startsWith('yaml')));
    assert.ok(shown.length >= 4);
    assert.deepEqual(shown.flatMap(problems), []);
  });

  it('begin with a policy that is one: in the README and in the walkthrough', () => {
    for (const name of ['README.md', 'media/walkthrough/connect.md']) {
      const [, text = ''] = /^```yaml\n(.*?)^```$/ms.exec(readFileSync(join(ROOT, name), 'utf8')) ?? [];
      const loaded = loadPolicy([{ layer: 'user', file: name, text }]);
      assert.deepEqual(loaded.ok ? [...loaded.warnings] : loaded.problems, [], name);
      assert.ok(loaded.ok && loaded.policy.connections.size > 0, name);
    }
  });

  it('are all named in the README, which is where one begins', () => {
    const readme = pages.find(({ name }) => name === 'README.md')?.text ?? '';
    assert.deepEqual(
      DOCS.filter((name) => /^docs\/[^/]+\.md$/.test(name) && !readme.includes(`(${name})`)),
      [],
    );
  });
});
