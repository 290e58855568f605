/** What the agents on this machine know of MCP servers, and which of them go through us. Reads files, changes nothing. */
import { Problem } from '../../contract/problem.ts';
import { readConfig } from './configFile.ts';
import type { Entry } from './definition.ts';
import { jsonEntries } from './jsonFile.ts';
import type { FileRecord } from './records.ts';
import type { Source } from './sources.ts';
import { tomlEntries } from './tomlFile.ts';

export type ServerStatus =
  | { readonly kind: 'protected'; readonly connection: string }
  /** `changed`: it went through us once, and something other than us has rewritten it since. */
  | { readonly kind: 'unprotected'; readonly changed: boolean }
  /** `why` is a sentence: why it cannot be protected by a click, and what to do. */
  | { readonly kind: 'unclear'; readonly why: string; readonly changed: boolean };

export interface FoundServer {
  readonly source: Source;
  readonly entry: Entry;
  readonly status: ServerStatus;
}

export interface FoundFile {
  readonly source: Source;
  readonly servers: readonly FoundServer[];
  /** A sentence, where the file cannot be read. */
  readonly problem?: string;
}

/** Files that are there, in the order of the sources. */
export async function scan(sources: readonly Source[], records: readonly FileRecord[], launcher: string): Promise<FoundFile[]> {
  const files: FoundFile[] = [];
  for (const source of sources) {
    try {
      const read = await readConfig(source.file, source.folder?.path);
      if (read === undefined) continue;
      const record = records.find(({ file }) => file === source.file);
      files.push({ source, servers: entriesOf(source, read.text, launcher).map((entry) => ({ source, entry, status: statusOf(entry, record) })) });
    } catch (cause) {
      files.push({ source, servers: [], problem: cause instanceof Problem ? cause.message : 'It cannot be read.' });
    }
  }
  return files;
}

/** @throws Problem `config-unreadable` */
export function entriesOf(source: Source, text: string, launcher: string): Entry[] {
  return source.format === 'json' ? jsonEntries(text, { sections: source.sections, dialect: source.dialect, launcher }) : tomlEntries(text, launcher);
}

function statusOf({ path, definition }: Entry, record: FileRecord | undefined): ServerStatus {
  if (definition.kind === 'ours') return { kind: 'protected', connection: definition.connection };
  const changed = record?.entries.some((entry) => entry.path.join('\0') === path.join('\0')) ?? false;
  return definition.kind === 'unclear' ? { kind: 'unclear', why: definition.why, changed } : { kind: 'unprotected', changed };
}
