/** Puts a server behind us and takes it back again. Each change is whole or not at all; the editor is not needed here. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Problem } from '../../contract/problem.ts';
import { code } from '../proxyLink/locate.ts';
import { type ConfigText, encodeText, readConfig, replaceConfig, sha256 } from './configFile.ts';
import type { Definition, Entry } from './definition.ts';
import { envFileOf } from './envFile.ts';
import { jsonEntryText, jsonInputs, protectJson, restoreJson } from './jsonFile.ts';
import { connectionName, type Plan, type PlanContext, planOf } from './plan.ts';
import { addConnection, connectionIn, connectionNames, NEW_POLICY, removeInserted } from './policyText.ts';
import type { EntryRecord, FileRecord, Records } from './records.ts';
import { entriesOf } from './scan.ts';
import type { Source } from './sources.ts';
import { protectToml, restoreToml } from './tomlFile.ts';

/** How often a file that changes while it is being rewritten is begun with again. */
const TRIES = 3;

export interface KeptSecrets {
  get(name: string): Promise<string | undefined>;
  put(name: string, value: string): Promise<void>;
  forget(name: string): Promise<void>;
}

export type InputAnswers = ReadonlyMap<string, { readonly value: string; readonly secret: boolean }>;

export interface ProtectDeps {
  readonly records: Records;
  readonly launcher: string;
  /** The user's own `countersign.yaml`. */
  readonly policyFile: string;
  readonly secrets: KeptSecrets;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** Names of connections that are in force, from whichever file. */
  readonly taken: () => Iterable<string>;
  /** Asks the person for what the file has the agent ask for. Undefined: they would rather not. */
  readonly ask: (definition: Definition, inputs: unknown) => Promise<InputAnswers | undefined>;
}

export interface Protected {
  readonly connection: string;
  /** Names of secrets that went to the editor's store, and of those that still have to be entered. */
  readonly moved: readonly string[];
  readonly missing: readonly string[];
}

/** @returns undefined where the person did not answer what had to be asked. @throws Problem, with a sentence for the person */
export async function protect(source: Source, path: readonly string[], deps: ProtectDeps): Promise<Protected | undefined> {
  if (source.folder?.trusted === false)
    throw new Problem('untrusted', 'This workspace is not trusted, so Countersign starts nothing that its files name. Trust it first.');
  const first = await load(source, path, deps.launcher);
  const inputs = source.format === 'json' ? jsonInputs(first.read.text) : [];
  const answers = await deps.ask(first.entry.definition, inputs);
  if (answers === undefined) return undefined;
  return await deps.records.exclusively(() => again(() => protectOnce(source, path, first.entry.definition, answers, deps)));
}

/** @param paths the entries to take back; absent: all. @returns sentences about what could not be put back as it was */
export async function undo(file: string, paths: readonly (readonly string[])[] | undefined, deps: UndoDeps): Promise<string[]> {
  return await deps.records.exclusively(() => again(() => undoOnce(file, paths, deps)));
}

export type UndoDeps = Pick<ProtectDeps, 'records' | 'launcher' | 'policyFile'> & { readonly secrets: Pick<KeptSecrets, 'forget'> };

async function protectOnce(source: Source, path: readonly string[], seen: Definition, inputs: InputAnswers, deps: ProtectDeps): Promise<Protected> {
  const { read, entry } = await load(source, path, deps.launcher);
  // What the person clicked on is what becomes a connection, not what has taken its place meanwhile.
  if (!isDeepStrictEqual(entry.definition, seen)) throw new Problem('config-entry', `The entry "${entry.name}" has just changed. Look at it again.`);
  const context: PlanContext = {
    env: deps.env,
    home: deps.home,
    folder: source.folder?.path,
    inputs,
    envFile: await envFileOf(entry.definition, source, deps),
  };
  const policy = await readPolicy(deps.policyFile);
  const { name, plan, exists } = await choose(entry, context, policy.text, deps);
  const launch = { command: deps.launcher, connection: name };
  const record = await deps.records.get(source.file);
  const before = record === undefined ? undefined : sha256(read.bytes) === record.written;
  const rewritten = source.format === 'json' ? { text: protectJson(read.text, path, launch), taken: undefined } : protectToml(read.text, path, launch);
  const bytes = encodeText(rewritten.text, read);
  checkOurs(source, rewritten.text, path, launch.connection, deps.launcher);
  const added = exists ? undefined : addConnection(policy.text, name, plan.connection);
  const known = [...plan.secrets].filter((pair): pair is [string, string] => pair[1] !== undefined);
  const mine: EntryRecord = {
    path: [...path],
    connection: name,
    original: rewritten.taken?.lines ?? jsonEntryText(read.text, path),
    ...(rewritten.taken && { tables: rewritten.taken.tables }),
    ...(added && { policy: added.inserted }),
    secrets: exists ? [] : [...plan.secrets.keys()],
  };
  const others = (record?.entries ?? []).filter((other) => other.path.join('\0') !== path.join('\0'));
  const next: FileRecord = {
    version: 1,
    file: source.file,
    format: source.format,
    agent: source.agent,
    ...(source.folder && { root: source.folder.path }),
    original:
      before === true && record !== undefined ? record.original : encodeText(withoutOurs(source, read.text, others, deps.launcher), read).toString('base64'),
    written: sha256(bytes),
    entries: [...others, mine],
  };
  // In this order: what the rewritten entry needs is there before the entry is, and so is what undoes it.
  for (const [secret, value] of known) if (!exists) await deps.secrets.put(secret, value);
  try {
    if (added) await writePolicy(deps.policyFile, policy.read, added.text);
    await deps.records.put(next);
    await replaceConfig(source.file, source.folder?.path, read, bytes);
  } catch (cause) {
    if (record) await deps.records.put(record);
    else await deps.records.remove(source.file);
    await takeBack(mine, deps);
    throw cause;
  }
  return {
    connection: name,
    moved: known.map(([secret]) => secret),
    missing: [...plan.secrets].flatMap(([secret, value]) => (value === undefined ? [secret] : [])),
  };
}

async function undoOnce(file: string, paths: readonly (readonly string[])[] | undefined, deps: UndoDeps): Promise<string[]> {
  const record = await deps.records.get(file);
  if (record === undefined) throw new Problem('undo', `Countersign has nothing to undo in ${file}.`);
  const wanted = (entry: EntryRecord): boolean => paths === undefined || paths.some((path) => path.join('\0') === entry.path.join('\0'));
  const back = record.entries.filter(wanted);
  const stay = record.entries.filter((entry) => !wanted(entry));
  const read = await readConfig(file, record.root);
  if (read === undefined) throw new Problem('undo', `${file} is not there any more, so there is nothing to put back into it.`);
  const problems: string[] = [];
  let bytes: Buffer;
  if (stay.length === 0 && sha256(read.bytes) === record.written) bytes = Buffer.from(record.original, 'base64');
  else {
    let { text } = read;
    for (const entry of back) {
      try {
        text = restored(record.format, text, entry, deps.launcher);
      } catch (cause) {
        if (!(cause instanceof Problem)) throw cause;
        problems.push(`"${entry.path.at(-1) ?? ''}" in ${file} was left as it is: ${cause.message}`);
      }
    }
    bytes = encodeText(text, read);
  }
  await replaceConfig(file, record.root, read, bytes);
  if (stay.length === 0) await deps.records.remove(file);
  else await deps.records.put({ ...record, entries: stay, written: sha256(read.bytes) === record.written ? sha256(bytes) : record.written });
  for (const entry of back) await takeBack(entry, deps);
  return problems;
}

/** Removes what was made for an entry, unless another entry uses the same connection: then it is that one's from now on. */
async function takeBack(entry: EntryRecord, { records, policyFile, secrets }: UndoDeps): Promise<void> {
  for (const record of await records.all()) {
    const heir = record.entries.find((other) => other.connection === entry.connection);
    if (heir === undefined) continue;
    const given: EntryRecord = {
      ...heir,
      ...(entry.policy !== undefined && { policy: entry.policy }),
      secrets: [...new Set([...heir.secrets, ...entry.secrets])],
    };
    await records.put({ ...record, entries: record.entries.map((other) => (other === heir ? given : other)) });
    return;
  }
  if (entry.policy !== undefined) {
    const { read, text } = await readPolicy(policyFile);
    const without = removeInserted(text, entry.policy);
    // A connection that the person has changed since is theirs.
    if (without !== undefined) await writePolicy(policyFile, read, without);
  }
  for (const secret of entry.secrets) await secrets.forget(secret);
}

/** The connection that an entry becomes: one that says the same already, else a new one. */
async function choose(entry: Entry, context: PlanContext, policy: string, deps: ProtectDeps): Promise<{ name: string; plan: Plan; exists: boolean }> {
  const there = connectionNames(policy);
  const tried = new Set<string>();
  for (;;) {
    const name = connectionName(entry.name, tried);
    const plan = planOf(name, entry.definition, context);
    if (there.has(name)) {
      const kept = await Promise.all([...plan.secrets].map(async ([secret, value]) => value === undefined || (await deps.secrets.get(secret)) === value));
      if (kept.every(Boolean) && isDeepStrictEqual(connectionIn(policy, name), plan.connection)) return { name, plan, exists: true };
    } else if (![...deps.taken()].some((other) => other.toLowerCase() === name.toLowerCase())) return { name, plan, exists: false };
    tried.add(name);
  }
}

function restored(format: 'json' | 'toml', text: string, entry: EntryRecord, launcher: string): string {
  const source = { format, sections: [entry.path.slice(0, -1)], dialect: 'none', agent: '', file: '', readBy: 'other' } as const;
  const now = entriesOf(source, text, launcher).find((other) => other.path.join('\0') === entry.path.join('\0'));
  if (now === undefined) throw new Problem('config-entry', 'the entry is no longer there.');
  if (now.definition.kind !== 'ours' || now.definition.connection !== entry.connection)
    throw new Problem('config-entry', 'it no longer goes through Countersign.');
  return format === 'json'
    ? restoreJson(text, entry.path, entry.original)
    : restoreToml(text, entry.path, { lines: entry.original, tables: entry.tables ?? '' });
}

/** A file that has changed since our last edit: as it would be without us. */
function withoutOurs(source: Source, text: string, entries: readonly EntryRecord[], launcher: string): string {
  return entries.reduce((t, entry) => {
    try {
      return restored(source.format, t, entry, launcher);
    } catch {
      return t;
    }
  }, text);
}

/** What was written is read back before it is put anywhere: it must be ours, to the letter. */
function checkOurs(source: Source, text: string, path: readonly string[], connection: string, launcher: string): void {
  const entry = entriesOf(source, text, launcher).find((other) => other.path.join('\0') === path.join('\0'));
  if (entry?.definition.kind !== 'ours' || entry.definition.connection !== connection)
    throw new Problem('config-entry', 'The entry is written in a way that Countersign cannot rewrite.');
}

async function load(source: Source, path: readonly string[], launcher: string): Promise<{ read: ConfigText; entry: Entry }> {
  const read = await readConfig(source.file, source.folder?.path);
  const entry = read && entriesOf(source, read.text, launcher).find((other) => other.path.join('\0') === path.join('\0'));
  if (read === undefined || entry === undefined) throw new Problem('config-entry', `"${path.at(-1) ?? ''}" is no longer in ${source.file}.`);
  return { read, entry };
}

async function readPolicy(file: string): Promise<{ read: ConfigText | undefined; text: string }> {
  const read = await readConfig(file, undefined);
  return { read, text: read?.text ?? NEW_POLICY };
}

async function writePolicy(file: string, read: ConfigText | undefined, text: string): Promise<void> {
  if (read) return await replaceConfig(file, undefined, read, encodeText(text, read));
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  try {
    await writeFile(file, text, { flag: 'wx', mode: 0o600 });
  } catch (cause) {
    if (code(cause) === 'EEXIST') throw new Problem('config-changed', `${file} was made by something else just now.`);
    throw cause;
  }
}

async function again<T>(run: () => Promise<T>): Promise<T> {
  for (let left = TRIES; ; left--) {
    try {
      return await run();
    } catch (cause) {
      if (left <= 1 || !(cause instanceof Problem) || cause.code !== 'config-changed') throw cause;
    }
  }
}
