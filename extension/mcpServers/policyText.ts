/** Adds a connection to the text of `countersign.yaml` and takes it out again, leaving every other character alone. Pure. */
import { isMap, isScalar, parseDocument, stringify } from 'yaml';
import { Problem } from '../../contract/problem.ts';

export const NEW_POLICY = 'version: 1\n';

export interface PolicyConnection {
  readonly protocol: 'mcp';
  readonly upstream:
    | { readonly command: readonly string[]; readonly env?: Readonly<Record<string, string>>; readonly cwd?: string }
    | { readonly url: string; readonly headers?: Readonly<Record<string, string>>; readonly transport?: 'sse' };
}

export interface Inserted {
  readonly text: string;
  /** What was put in, to the character, so that it can be found again. */
  readonly inserted: string;
}

export function connectionNames(text: string): Set<string> {
  const connections = document(text).get('connections');
  return new Set(isMap(connections) ? connections.items.map(({ key }) => String(isScalar(key) ? key.value : key)) : []);
}

/** The connection as the file has it, as plain data; undefined where it has none of that name. */
export function connectionIn(text: string, name: string): unknown {
  const found = document(text).getIn(['connections', name]);
  return typeof found === 'object' && found !== null && 'toJSON' in found && typeof found.toJSON === 'function' ? (found.toJSON() as unknown) : found;
}

/** @throws Problem `policy-text` where the file cannot be read or written like that */
export function addConnection(text: string, name: string, connection: PolicyConnection): Inserted {
  const eol = text.includes('\r\n') ? '\r\n' : '\n';
  const doc = document(text);
  const connections = doc.get('connections', true);
  const block = (indent: number): string =>
    stringify({ [name]: connection }, { indent: 2, lineWidth: 0 })
      .trimEnd()
      .split('\n')
      .map((line) => `${' '.repeat(indent)}${line}${eol}`)
      .join('');
  let result: Inserted;
  if (connections === undefined || (isScalar(connections) && connections.value === null)) {
    if (connections === undefined) {
      // Only the block is ours to take out again: others may have come below the same key meanwhile.
      result = { text: `${endLine(text, eol)}connections:${eol}${block(2)}`, inserted: block(2) };
    } else result = insertAt(text, lineAfter(text, connections.range?.[0] ?? text.length), block(2), eol);
  } else if (isMap(connections) && connections.range) {
    const [from, to] = connections.range;
    if (connections.flow) {
      if (connections.items.length > 0)
        throw new Problem('policy-text', 'In countersign.yaml the connections stand in braces on one line. Write each on a line of its own.');
      const inserted = `${eol}${block(2).trimEnd()}`;
      result = { text: text.slice(0, from).trimEnd() + inserted + text.slice(to), inserted };
    } else {
      const column = from - (text.lastIndexOf('\n', from - 1) + 1);
      result = insertAt(text, blockEnd(text, to), block(column), eol);
    }
  } else throw new Problem('policy-text', 'In countersign.yaml `connections` is not a mapping. Mend it first.');
  verify(text, result.text, name, connection);
  return result;
}

/** The text without what was put in; undefined where it is no longer there as it was. */
export function removeInserted(text: string, inserted: string): string | undefined {
  const at = text.indexOf(inserted);
  if (at < 0 || text.indexOf(inserted, at + 1) >= 0) return undefined;
  const rest = text.slice(0, at) + text.slice(at + inserted.length);
  // A mapping that has lost its last entry is written so that it stays one.
  const doc = parseDocument(rest);
  const connections = doc.get('connections', true);
  if (doc.errors.length > 0) return undefined;
  if (isScalar(connections) && connections.value === null)
    return rest.replace(/^connections:[ \t]*(#?)/m, (_, comment: string) => `connections: {}${comment === '' ? '' : ' #'}`);
  return rest;
}

function document(text: string): ReturnType<typeof parseDocument> {
  const doc = parseDocument(text);
  const [error] = doc.errors;
  if (error) throw new Problem('policy-text', `countersign.yaml is broken (line ${error.linePos?.[0].line ?? 1}). Mend it first.`);
  return doc;
}

function insertAt(text: string, at: number, block: string, eol: string): Inserted {
  const before = at > 0 && text[at - 1] !== '\n' ? eol : '';
  return { text: text.slice(0, at) + before + block + text.slice(at), inserted: before + block };
}

/** Behind the last line of a block that is not empty: comments that belong to what follows stay with it. */
function blockEnd(text: string, to: number): number {
  const trimmed = text.slice(0, to).trimEnd().length;
  return lineAfter(text, trimmed);
}

function lineAfter(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end < 0 ? text.length : end + 1;
}

function endLine(text: string, eol: string): string {
  return text === '' || text.endsWith('\n') ? text : text + eol;
}

/** The new text says what the old one said and one thing more; anything else is not written. */
function verify(before: string, after: string, name: string, connection: PolicyConnection): void {
  const old = (document(before).toJSON() ?? {}) as { connections?: object | null };
  const wanted = { ...old, connections: { ...old.connections, [name]: connection } };
  if (!same(document(after).toJSON(), wanted)) throw new Problem('policy-text', 'countersign.yaml is written in a way that Countersign cannot add to.');
}

function same(a: unknown, b: unknown): boolean {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_key, item: unknown) =>
      typeof item === 'object' && item !== null && !Array.isArray(item) ? Object.fromEntries(Object.entries(item).sort(([x], [y]) => (x < y ? -1 : 1))) : item,
    );
  return text(a) === text(b);
}
