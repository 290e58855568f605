/** What a gateway exported: a folder for each person, and one, of the gateway itself, that says whose there must be. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ACTS_CHECKPOINT_FILE, ACTS_FILE } from './acts.ts';
import { AUDIT_FILE, SESSIONS_FOLDER } from './layout.ts';
import type { Verification } from './verify.ts';

/** The folder of the gateway's own. */
const OWN_FOLDER = 'gateway';
/** How the gateway's own chain calls the sessions of somebody. */
const RECORD_PREFIX = 'record:';

/** What a chain's folder is called. */
export function folderNameOf(person: string): string {
  return person.replaceAll(/[^\w.-]/g, '_');
}

/** Name → path, where that folder is a whole export; empty where it is something else, such as one person's record. */
export async function exportedFolders(directory: string): Promise<ReadonlyMap<string, string>> {
  const names = await readdir(directory, { withFileTypes: true });
  // Folders alone: a record whose audit was taken away is not to pass for an export of something else that lies in it.
  if (names.some((entry) => !entry.isDirectory() || entry.name === SESSIONS_FOLDER)) return new Map();
  const found = new Map<string, string>();
  for (const { name } of names.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const inside = await readdir(join(directory, name));
    if (inside.includes(AUDIT_FILE) || inside.includes(ACTS_FILE) || inside.includes(ACTS_CHECKPOINT_FILE)) found.set(name, join(directory, name));
  }
  return found;
}

/** What the gateway's own chain says must be there and is not. */
export function missingFrom(reports: ReadonlyMap<string, Verification>): string[] {
  const own = reports.get(OWN_FOLDER)?.acts;
  const problems = own ? [] : ['What was done to the gateway itself is not there: whether anyone’s is missing cannot be told.'];
  for (const chain of own?.others ?? []) {
    const record = chain.startsWith(RECORD_PREFIX);
    const name = folderNameOf(record ? chain.slice(RECORD_PREFIX.length) : chain);
    const report = reports.get(name);
    if (record ? (report?.audit.entries ?? 0) === 0 : report?.acts === undefined)
      problems.push(`${name}: ${record ? 'the record of their sessions' : 'what they did'} is missing: it was removed.`);
  }
  for (const [name, { acts }] of reports) {
    if (acts && acts.entries > 0 && folderNameOf(acts.chain) !== name) problems.push(`${name}: what was done there is what ${acts.chain} did.`);
  }
  return problems;
}
