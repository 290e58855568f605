import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { consoleTheme } from '../../../webview/console/theme.ts';

const ROOT = join(import.meta.dirname, '../../..');
const ELEMENTS = 'node_modules/@vscode-elements/elements/dist';

/** Every text of a folder's TypeScript, or JavaScript. */
function texts(folder: string, ending: string): readonly string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending))
    .map((file) => readFileSync(join(ROOT, folder, file), 'utf8'));
}

describe('the console’s colours', () => {
  it('name every one that the editor’s elements use: where one is missing, they bring a dark theme’s', () => {
    const used = new Set(texts('webview', '.ts').flatMap((text) => [...text.matchAll(/@vscode-elements\/elements\/dist\/([a-z-]+)/g)].map(([, name]) => name)));
    assert.ok(used.size > 2);
    for (const element of used) {
      for (const [, name] of texts(`${ELEMENTS}/${element}`, '.js').flatMap((text) => [...text.matchAll(/var\((--vscode-[\w-]+), *#/g)])) {
        assert.ok(consoleTheme.cssText.includes(`${name}:`), `${name} of ${element}`);
      }
    }
  });
});
