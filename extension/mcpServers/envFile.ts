/** The variables of an entry's `envFile`: read when it is protected, so that the server gets them from us. */
import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { Problem } from '../../contract/problem.ts';
import type { Definition } from './definition.ts';
import type { Source } from './sources.ts';

const MAX_BYTES = 256 * 1024;
const LINE = /^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|`([^`]*)`|([^#\r\n]*?))[ \t]*(?:#.*)?\r?$/gm;

export async function envFileOf(definition: Definition, source: Source, { home }: { readonly home: string }): Promise<Map<string, string>> {
  if (definition.kind !== 'stdio' || definition.envFile === undefined) return new Map();
  const folder = source.folder?.path;
  const written = definition.envFile.map((part) => (typeof part === 'string' ? part : '')).join('');
  const expanded = written.replaceAll(/\$\{userHome\}/g, home).replaceAll(/\$\{workspaceFolder\}/g, folder ?? '');
  const file = isAbsolute(expanded) ? expanded : join(folder ?? home, expanded);
  try {
    if ((await stat(file)).size > MAX_BYTES) throw new Problem('plan', `Its file of variables, ${file}, is too large.`);
    return parseEnvFile(await readFile(file, 'utf8'));
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw new Problem('plan', `Its file of variables, ${file}, cannot be read.`, { cause });
  }
}

export function parseEnvFile(text: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const [, name = '', double, single, back, bare] of text.matchAll(LINE)) {
    found.set(name, double === undefined ? (single ?? back ?? bare ?? '') : double.replaceAll('\\n', '\n').replaceAll(/\\(.)/g, '$1'));
  }
  return found;
}
