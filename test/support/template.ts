/** Folders that cost seconds to make and are the same each time: made once in a clone, copied from then on. */
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, cpSync, existsSync, lchownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const TEMPLATES = resolve(import.meta.dirname, '../../out/test-templates');

export interface Template {
  readonly name: string;
  /** Whatever it depends on; where that changes it is made anew. */
  readonly inputs: readonly string[];
  /** Is given an empty folder that other users may pass through. @returns what is to be kept, in it, with nothing open any more */
  make(folder: string): Promise<string>;
}

/** Makes `to`, which must not be there yet, as the template's `make` would. */
export async function fromTemplate(template: Template, to: string): Promise<void> {
  const hash = createHash('sha256').update(template.inputs.join('\0')).digest('hex').slice(0, 16);
  const kept = join(TEMPLATES, `${template.name}-${hash}`);
  if (!existsSync(kept)) await make(template, kept);
  copy(kept, to);
}

async function make(template: Template, kept: string): Promise<void> {
  mkdirSync(TEMPLATES, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), 'countersign-template-'));
  const unfinished = `${kept}.${randomBytes(6).toString('hex')}`;
  try {
    chmodSync(folder, 0o711);
    copy(await template.make(folder), unfinished);
    renameSync(unfinished, kept);
  } catch (cause) {
    // Two test files may need it at the same time: the first to be done has made it.
    if (!existsSync(kept)) throw cause;
  } finally {
    for (const one of [folder, unfinished]) rmSync(one, { recursive: true, force: true });
  }
}

function copy(from: string, to: string): void {
  cpSync(from, to, { recursive: true, verbatimSymlinks: true });
  likewise(from, to);
}

/** Owners and modes, which a copy does not take along: PostgreSQL minds them. */
function likewise(from: string, to: string): void {
  const { mode, uid, gid } = statSync(from);
  chmodSync(to, mode);
  if (process.getuid?.() === 0) lchownSync(to, uid, gid);
  if (!statSync(from).isDirectory()) return;
  for (const name of readdirSync(from)) likewise(join(from, name), join(to, name));
}

/** The exact version of a dependency, for a template's inputs. */
export function versionOf(dependency: string): string {
  const { dependencies } = JSON.parse(readFileSync(resolve(import.meta.dirname, '../../package.json'), 'utf8')) as { dependencies: Record<string, string> };
  return `${dependency} ${dependencies[dependency]}`;
}
