/** The archive in a folder: of this machine, or one that all replicas have mounted. */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Problem } from '../../../contract/problem.ts';
import { FOLDER_MODE } from '../../../proxy/recording/chainFile.ts';
import { type Finding, type ObjectStore, PROBE } from './objectStore.ts';

/** Nobody writes into it again. */
const OBJECT_MODE = 0o400;

/** @param id its name in the store: one that does not change when the folder is moved, where there is one */
export function folderObjects(root: string, id = `folder:${root}`): ObjectStore {
  const title = `the folder ${root}`;
  const failing = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (cause) {
      throw problemOf(cause, title);
    }
  };
  const store: ObjectStore = {
    id,
    title,
    put: (key, bytes) =>
      failing(async () => {
        const path = join(root, key);
        const folder = dirname(path);
        await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
        const unfinished = `${path}.${randomBytes(6).toString('hex')}.unfinished`;
        try {
          const file = await open(unfinished, 'wx', OBJECT_MODE);
          try {
            await file.writeFile(bytes);
            await file.sync();
          } finally {
            await file.close();
          }
          // Under its name only when it is whole; what has the name already stays.
          await link(unfinished, path).catch((cause: NodeJS.ErrnoException) => {
            if (cause.code !== 'EEXIST') throw cause;
          });
        } finally {
          await rm(unfinished, { force: true });
        }
        await syncFolder(folder);
        return undefined;
      }),
    get: (key, _version, maxBytes) =>
      failing(async () => {
        try {
          const file = await open(join(root, key), 'r');
          try {
            if ((await file.stat()).size > maxBytes) return Buffer.alloc(0);
            return await file.readFile();
          } finally {
            await file.close();
          }
        } catch (cause) {
          if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
          // The whole folder gone is a disk that is not mounted, not an object that somebody removed.
          await stat(root);
          return undefined;
        }
      }),
    remove: (key) => failing(() => rm(join(root, key), { force: true })),
    check: async () => {
      const findings: Finding[] = [];
      try {
        const bytes = randomBytes(16);
        await store.remove(PROBE, undefined);
        await store.put(PROBE, bytes, Buffer.alloc(0));
        const back = await store.get(PROBE, undefined, 1_000);
        if (!back?.equals(bytes)) findings.push({ good: false, sentence: `What was written into ${title} could not be read back.` });
        await store.remove(PROBE, undefined);
      } catch (cause) {
        findings.push({ good: false, sentence: cause instanceof Problem ? cause.message : String(cause) });
      }
      return findings;
    },
  };
  return store;
}

/** A new name is on the disk only when its folder is. Not every system can do that to a folder. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function problemOf(cause: unknown, title: string): Problem {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
  const why =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'the disk is full. Make room'
      : code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
        ? `the gateway may not write there (${code}). Give its user the right to`
        : code === 'ENOENT'
          ? 'it is not there. Check that its disk is mounted'
          : `the system says ${code}`;
  return new Problem('archive-away', `The archive of records, ${title}, cannot be used: ${why}. Records stay in the database until it can.`, { cause });
}
