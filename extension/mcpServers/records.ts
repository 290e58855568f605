/**
 * What is needed to undo: for each file that was rewritten, its exact bytes before, and each entry's own text. It lies in
 * the proxy's state folder, out of every workspace, readable by the person alone, and sealed: the file before held secrets,
 * and what looks for one in files (an agent's `grep`) must not find it here. The key lies beside it, so that undoing works
 * without the editor; who reads both on purpose is not stopped by this.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { Problem } from '../../contract/problem.ts';
import { code } from '../proxyLink/locate.ts';

const FOLDER = 'mcp-undo';
const KEY_FILE = 'key';
const KEY_BYTES = 32;
const MAX_RECORD_BYTES = 64 * 1024 * 1024;
/** How long another window's change is waited for, and how often it is looked whether that has ended, in milliseconds. */
const PATIENCE_MS = 30_000;
const LOCK_STEP_MS = 100;
/** SQLite's result code for a lock that another process holds. */
const SQLITE_BUSY = 5;

const EntryRecord = z.object({
  path: z.array(z.string()).min(1).max(20),
  /** Of the connection that it became. */
  connection: z.string(),
  /** The entry's own characters before; for TOML, what was taken out of its table, and of those below it. */
  original: z.string(),
  tables: z.string().optional(),
  /** What was put into `countersign.yaml`; absent: the connection was there already. */
  policy: z.string().optional(),
  /** Secrets that were made for it. */
  secrets: z.array(z.string()),
});
export type EntryRecord = z.infer<typeof EntryRecord>;

const FileRecord = z.object({
  version: z.literal(1),
  file: z.string(),
  format: z.enum(['json', 'toml']),
  /** The workspace folder that the file must stay in. */
  root: z.string().optional(),
  agent: z.string(),
  /** The file's bytes before the first entry was rewritten, base64. */
  original: z.string(),
  /** SHA-256 of the file as we left it: while it is that, the bytes above are put back. */
  written: z.string(),
  entries: z.array(EntryRecord),
});
export type FileRecord = z.infer<typeof FileRecord>;

const Sealed = z.object({ version: z.literal(1), nonce: z.string(), tag: z.string(), data: z.string() });

export class Records {
  readonly #folder: string;
  readonly #patienceMs: number;

  /** @param state the proxy's state folder */
  constructor(state: string, patienceMs = PATIENCE_MS) {
    this.#folder = join(state, FOLDER);
    this.#patienceMs = patienceMs;
  }

  get folder(): string {
    return this.#folder;
  }

  async all(): Promise<FileRecord[]> {
    const names = await readdir(this.#folder).catch(() => []);
    const records = await Promise.all(names.filter((name) => /^[0-9a-f]{32}\.json$/.test(name)).map((name) => this.#read(join(this.#folder, name))));
    return records.filter((record) => record !== undefined);
  }

  async get(file: string): Promise<FileRecord | undefined> {
    return await this.#read(this.#path(file));
  }

  async put(record: FileRecord): Promise<void> {
    const key = await this.#key(true);
    if (key === undefined) throw new Problem('undo-key', 'Countersign could not make the key that it keeps originals with.');
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(record.file));
    const data = Buffer.concat([cipher.update(JSON.stringify(record), 'utf8'), cipher.final()]);
    const sealed = {
      version: 1,
      nonce: nonce.toString('base64'),
      tag: cipher.getAuthTag().toString('base64'),
      data: data.toString('base64'),
      file: record.file,
    };
    const path = this.#path(record.file);
    const next = `${path}.${randomBytes(6).toString('hex')}`;
    const handle = await open(next, 'wx', 0o600);
    try {
      await handle.writeFile(JSON.stringify(sealed));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(next, path);
  }

  async remove(file: string): Promise<void> {
    await rm(this.#path(file), { force: true });
  }

  /**
   * One change at a time, over every window. The lock is the operating system's, through SQLite: it goes with whoever holds it,
   * so nobody has to guess by a clock whether that one is dead or was only stopped for a while.
   * @throws Problem `busy` where another window's change does not end
   */
  async exclusively<T>(run: () => Promise<T>): Promise<T> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const file = join(this.#folder, 'changing.lock');
    // SQLite would let others read it.
    await (await open(file, 'a', 0o600)).close();
    const deadline = performance.now() + this.#patienceMs;
    let lock = await takeLock(file);
    while (lock === undefined) {
      if (performance.now() > deadline)
        throw new Problem('busy', 'Another window is changing the configuration of MCP servers, and has not finished. Try again when it has, or close it.');
      await new Promise((resolve) => setTimeout(resolve, LOCK_STEP_MS));
      lock = await takeLock(file);
    }
    try {
      return await run();
    } finally {
      lock.close();
    }
  }

  #path(file: string): string {
    return join(this.#folder, `${createHash('sha256').update(file).digest('hex').slice(0, 32)}.json`);
  }

  /** Undefined where there is none, or where it cannot be opened: then nothing is known of the file. */
  async #read(path: string): Promise<FileRecord | undefined> {
    const text = await readPrivate(path);
    const key = text === undefined ? undefined : await this.#key(false);
    if (text === undefined || key === undefined) return undefined;
    try {
      const raw: unknown = JSON.parse(text.toString('utf8'));
      const sealed = Sealed.extend({ file: z.string() }).parse(raw);
      const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(sealed.nonce, 'base64'), { authTagLength: 16 })
        .setAAD(Buffer.from(sealed.file))
        .setAuthTag(Buffer.from(sealed.tag, 'base64'));
      const plain = Buffer.concat([decipher.update(Buffer.from(sealed.data, 'base64')), decipher.final()]);
      const record = FileRecord.parse(JSON.parse(plain.toString('utf8')));
      return this.#path(record.file) === path ? record : undefined;
    } catch {
      return undefined;
    }
  }

  async #key(make: boolean): Promise<Buffer | undefined> {
    const path = join(this.#folder, KEY_FILE);
    if (make) {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      try {
        const handle = await open(path, 'wx', 0o600);
        await handle.writeFile(randomBytes(KEY_BYTES));
        await handle.close();
      } catch (cause) {
        if (code(cause) !== 'EEXIST') throw cause;
      }
    }
    const key = await readPrivate(path);
    return key?.length === KEY_BYTES ? key : undefined;
  }
}

/** @returns undefined where another has it; loaded when it is needed, since little else here is */
async function takeLock(file: string): Promise<DatabaseSync | undefined> {
  const sqlite = await import('node:sqlite');
  const lock = new sqlite.DatabaseSync(file, { timeout: 0 });
  try {
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (cause) {
    lock.close();
    if ((cause as { errcode?: number }).errcode === SQLITE_BUSY) return undefined;
    throw cause;
  }
}

async function readPrivate(path: string): Promise<Buffer | undefined> {
  try {
    const handle = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
    try {
      const stat = await handle.stat();
      if (!stat.isFile() || stat.size > MAX_RECORD_BYTES) return undefined;
      if (process.platform !== 'win32' && (stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0)) return undefined;
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}
