/** Everyone's record as files, for the command line: beside gateways that run on a PostgreSQL, or when none does. */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '../contract/problem.ts';
import { FOLDER_MODE } from '../proxy/recording/chainFile.ts';
import { folderNameOf } from '../proxy/recording/exported.ts';
import { type Env, loadConfig } from './config/load.ts';
import { openStore } from './gateway.ts';
import { RecordLines } from './recording/archive/recordLines.ts';
import { actChains, exportActs, exportRecord } from './recording/exportRecord.ts';
import { openPlaces } from './recording/objects/open.ts';
import { recordKeyOf } from './recording/recordKey.ts';
import { masterKey, oldMasterKeys, sealerWith } from './sealed.ts';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

export interface ExportedRecord {
  readonly folder: string;
  /** As the provider names them, or the service account. */
  readonly person: string;
  readonly sessions: number;
  /** A sentence for each session that could not be read whole. */
  readonly problems: readonly string[];
}

export interface RecordsAdmin {
  /** @param target is made, and must be empty where it is there already */
  readonly writeTo: (target: string) => AsyncIterable<ExportedRecord>;
  readonly close: () => Promise<void>;
}

function folderOf(target: string, person: string): string {
  return join(target, folderNameOf(person));
}

/** @throws Problem */
export async function openRecords(file: string | undefined, env: Env): Promise<RecordsAdmin> {
  const result = loadConfig(file, env);
  if (!result.ok) throw new Problem('config', result.problems.map((problem) => `${problem.file}:${problem.line}: ${problem.message}`).join('\n'));
  const { config } = result;
  const key = recordKeyOf(sealerWith(masterKey(config, env), oldMasterKeys(config, env)));
  const lines = new RecordLines(openPlaces(config, env).all);
  const db = await openStore(config, quiet);
  return {
    async *writeTo(target) {
      await mkdir(target, { recursive: true, mode: FOLDER_MODE });
      if ((await readdir(target)).length > 0) throw new Problem('export', `${target} is not empty. Name a folder that is not there yet.`);
      const people = await db.query<{ chain: string; person: string; name: string | null; sessions: number }>(
        `SELECT s.chain, s.person, min(coalesce(p.name, p.subject)) AS name, (count(*) FILTER (WHERE s.expired_at IS NULL))::int AS sessions
         FROM sessions s LEFT JOIN people p ON p.id = s.person GROUP BY s.chain, s.person ORDER BY s.chain`,
      );
      for (const { chain, name, person, sessions } of people) {
        const folder = folderOf(target, person);
        const unread = await exportRecord(db, lines, chain, key, folder);
        yield { folder, person: name ?? person, sessions, problems: [...unread.values()] };
      }
      // What each of them did beside that, into the same folders, and what was changed of the gateway.
      for (const chain of await actChains(db)) await exportActs(db, chain, key, folderOf(target, chain));
    },
    close: () => db.close(),
  };
}
