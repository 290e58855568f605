/** An operation's own lines, read from where the index has seen them: what that takes grows with the operation, and not with its session. */
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { Entry, type EntryBody } from '../../contract/recording.ts';
import { MAX_LINE_BYTES } from './chainReader.ts';
import { SESSIONS_FOLDER } from './layout.ts';

/** What most lines fit into, in bytes; of a longer one more is read. */
const FIRST_BYTES = 16 * 1024;

/** Where lines of an operation begin in its session's file, in bytes. */
export interface OperationPlaces {
  /** Relative to the folder of sessions. */
  readonly file: string;
  readonly intent: number;
  readonly approval?: number;
  readonly outcome?: number;
}

type Of<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

export interface OperationLines {
  readonly intent: Of<'operation.intent'>;
  readonly approval?: Of<'operation.approval'>;
  readonly outcome?: Of<'operation.outcome'>;
}

/** Undefined where the file is not what the index has seen: then it has to be read whole. @throws errors of the file system */
export async function readOperationLines(directory: string, operation: string, places: OperationPlaces): Promise<OperationLines | undefined> {
  const file = await open(join(directory, SESSIONS_FOLDER, places.file), 'r');
  try {
    const body = async (at: number | undefined): Promise<EntryBody | undefined> => {
      const found = at === undefined ? undefined : decode(await lineAt(file, at))?.body;
      return found && 'operation' in found && found.operation === operation ? found : undefined;
    };
    const [intent, approval, outcome] = [await body(places.intent), await body(places.approval), await body(places.outcome)];
    if (intent?.type !== 'operation.intent') return undefined;
    if (places.approval !== undefined && approval?.type !== 'operation.approval') return undefined;
    if (places.outcome !== undefined && outcome?.type !== 'operation.outcome') return undefined;
    return { intent, ...(approval?.type === 'operation.approval' && { approval }), ...(outcome?.type === 'operation.outcome' && { outcome }) };
  } finally {
    await file.close();
  }
}

async function lineAt(file: FileHandle, at: number): Promise<string> {
  let read = Buffer.alloc(0);
  for (let wanted = FIRST_BYTES; ; wanted *= 4) {
    const more = Buffer.allocUnsafe(wanted);
    const { bytesRead } = await file.read(more, 0, wanted, at + read.length);
    read = Buffer.concat([read, more.subarray(0, bytesRead)]);
    const end = read.indexOf(10);
    if (end !== -1) return read.toString('utf8', 0, end);
    if (bytesRead === 0 || read.length > MAX_LINE_BYTES) return '';
  }
}

function decode(text: string): Entry | undefined {
  try {
    return Entry.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
