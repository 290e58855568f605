/** One person's record as files, exactly as a proxy writes them: what verifies a laptop's record verifies this one. */
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { VerifyReport } from '../../contract/control.ts';
import { Problem } from '../../contract/problem.ts';
import { ACTS_CHECKPOINT_FILE, ACTS_FILE, ACTS_KEY_FILE, verifyActs } from '../../proxy/recording/acts.ts';
import { canonical } from '../../proxy/recording/canonical.ts';
import { FILE_MODE, FOLDER_MODE } from '../../proxy/recording/chainFile.ts';
import { CHECKPOINT_FILE, PUBLIC_KEY_FILE } from '../../proxy/recording/checkpoint.ts';
import { AUDIT_FILE, SESSIONS_FOLDER } from '../../proxy/recording/layout.ts';
import { verifyRecord } from '../../proxy/recording/verify.ts';
import type { Queryable } from '../store/database.ts';
import { RecordLines } from './archive/recordLines.ts';
import { GATEWAY_CHAIN, RECORD_CHAINS } from './chainRows.ts';
import { fileOf, recordOf } from './recorder.ts';
import type { RecordKey } from './recordKey.ts';

/** Lines that are read at once. */
const PAGE = 1_000;
const MAX_PROBLEMS = 100;

/** A session as lists show it. */
interface SessionRow {
  readonly id: string;
  readonly opened_at: number;
  readonly person: string;
  readonly conversation: string;
  readonly actor: unknown;
  readonly connection: string;
  readonly protocol: string;
  readonly surface: string;
}

/**
 * Writes the record into a folder: `countersign verify --record FOLDER` reads it.
 * @param differing gets a sentence for each session that is listed as something else than its record says
 * @returns sessions that could not be read whole, with a sentence on why
 */
export async function exportRecord(
  db: Queryable,
  lines: RecordLines,
  chain: string,
  key: RecordKey,
  folder: string,
  differing?: string[],
): Promise<ReadonlyMap<string, string>> {
  await mkdir(join(folder, SESSIONS_FOLDER), { recursive: true, mode: FOLDER_MODE });
  // The checkpoint first, the audit next, the sessions last: what is read later can only have grown.
  const checkpoint = await lastSigned(db, chain, key, differing);
  if (checkpoint !== undefined) await writeFile(join(folder, CHECKPOINT_FILE), checkpoint, { mode: FILE_MODE });
  await writeFile(join(folder, PUBLIC_KEY_FILE), key.publicPem(checkpoint === undefined ? undefined : key.signerOf(checkpoint)), { mode: FILE_MODE });
  await writePages(join(folder, AUDIT_FILE), (from) =>
    db.query(`SELECT seq, line FROM audit WHERE chain = $1 AND seq >= $2::bigint ORDER BY seq LIMIT ${PAGE}`, [chain, from]),
  );
  const unread = new Map<string, string>();
  const sessions = await db.query<SessionRow>(
    'SELECT id, opened_at, person, conversation, actor, connection, protocol, surface FROM sessions WHERE chain = $1 AND expired_at IS NULL',
    [chain],
  );
  for (const row of sessions) {
    const { id, opened_at } = row;
    const path = join(folder, SESSIONS_FOLDER, fileOf(id, opened_at));
    await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE });
    try {
      await writePages(path, async (from) => {
        const page = await lines.page(db, id, from, PAGE);
        if (from === 0 && page[0] && !saysSame(row, chain, page[0].line))
          differing?.push(`Session ${id}: what lists show of it (whose it is, with which agent, on what, since when) is not what its record says.`);
        return page;
      });
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      unread.set(id, cause.message);
    }
  }
  return unread;
}

/** The text of the signature over a chain's end; of stores in which gateways do not sign as chains grow yet, the last that there is. */
async function lastSigned(db: Queryable, chain: string, key: RecordKey, differing: string[] | undefined): Promise<string | undefined> {
  const [at] = await db.query<{ entries: number; signed: string | null; begun: boolean | null }>(
    'SELECT entries, signed, (SELECT signed IS NOT NULL FROM chains WHERE chain = $2) AS begun FROM chains WHERE chain = $1',
    [chain, GATEWAY_CHAIN],
  );
  if (at && at.signed !== null) {
    const covered = key.signedPlace(at.signed)?.entries ?? at.entries;
    if (covered < at.entries)
      differing?.push(`The audit's last ${at.entries - covered} lines are not signed: they were added by something that does not hold the gateway’s key.`);
    return at.signed;
  }
  if (at?.begun === true) return undefined;
  const [last] = await db.query<{ signature: string }>(
    `SELECT signature FROM checkpoints WHERE statement::json->>'chain' = $1 ORDER BY (statement::json->>'entries')::bigint DESC, id DESC LIMIT 1`,
    [chain],
  );
  return last?.signature;
}

/** Lists are read from a session's row, which no chain holds: it must say what the first line of its chain does. */
function saysSame({ opened_at, person, ...row }: SessionRow, chain: string, first: string): boolean {
  try {
    const { at, body } = JSON.parse(first) as { at: string; body: Record<string, unknown> };
    const said = ({ actor, connection, conversation, protocol, surface }: Record<string, unknown>): string =>
      canonical({ actor, connection, conversation, protocol, surface });
    return body.type === 'session.open' && said(body) === said({ ...row }) && Date.parse(at) === opened_at && chain === recordOf(person);
  } catch {
    return false;
  }
}

/** The chains of what people did: theirs, and the gateway's own. Of one that was taken out of the list, its lines are left. */
export async function actChains(db: Queryable): Promise<string[]> {
  const rows = await db.query<{ chain: string }>(
    'SELECT chain FROM chains WHERE chain NOT LIKE $1 UNION SELECT chain FROM audit WHERE chain NOT LIKE $1 ORDER BY chain',
    [`${RECORD_CHAINS}%`],
  );
  return rows.map(({ chain }) => chain);
}

/** Writes what someone did into a folder, with the signature over its end. */
export async function exportActs(db: Queryable, chain: string, key: RecordKey, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
  // Up to here: what is added meanwhile is signed with what follows.
  const [at] = await db.query<{ entries: number; signed: string | null }>('SELECT entries, signed FROM chains WHERE chain = $1', [chain]);
  const signed = at?.signed ?? undefined;
  if (signed !== undefined) {
    await writeFile(join(folder, ACTS_CHECKPOINT_FILE), signed, { mode: FILE_MODE });
    await writeFile(join(folder, ACTS_KEY_FILE), key.publicPem(key.signerOf(signed)), { mode: FILE_MODE });
  }
  await writePages(join(folder, ACTS_FILE), (from) =>
    db.query(`SELECT seq, line FROM audit WHERE chain = $1 AND seq >= $2::bigint AND seq < $3::bigint ORDER BY seq LIMIT ${PAGE}`, [
      chain,
      from,
      at?.entries ?? Number.MAX_SAFE_INTEGER,
    ]),
  );
}

/** Reads what everyone did again, chain by chain, and whether any is missing. */
export async function verifyActChains(db: Queryable, key: RecordKey): Promise<{ problems: string[]; notes: string[] }> {
  const problems: string[] = [];
  const notes: string[] = [];
  const there = new Set<string>();
  let known: ReadonlySet<string> | undefined;
  for (const chain of await actChains(db)) {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-verify-'));
    try {
      await exportActs(db, chain, key, folder);
      const found = await verifyActs(folder);
      problems.push(...(found?.problems ?? []));
      notes.push(...(found?.notes ?? []));
      if (found && found.entries > 0) there.add(found.chain);
      if (found && found.chain !== chain && found.entries > 0) problems.push(`What was done (${chain}): its lines are those of ${found.chain}.`);
      if (chain === GATEWAY_CHAIN) known = found?.others;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  if (!known) problems.push('The gateway’s own chain is not there: whether anyone’s is missing cannot be told.');
  for (const { chain } of await db.query<{ chain: string }>('SELECT DISTINCT chain FROM audit WHERE chain LIKE $1', [`${RECORD_CHAINS}%`])) there.add(chain);
  problems.push(...(await unputPolicies(db)));
  // Asked last: what began meanwhile is there, and the gateway's chain does not say so yet.
  for (const chain of known ?? [])
    if (!there.has(chain)) problems.push(`${chain}: everything of it was removed, and the gateway’s own chain says that it was there.`);
  return { problems, notes };
}

/** Versions of the policy that the gateway's own chain knows nothing of: whoever holds the store can put one into force by a row. */
async function unputPolicies(db: Queryable): Promise<string[]> {
  // Before the lines: one that is put meanwhile comes with its line.
  const versions = await db.query<{ version: number; digest: string; same: boolean }>(
    `SELECT version, digest, digest = encode(sha256(convert_to(text, 'UTF8')), 'hex') AS same FROM policies ORDER BY version`,
  );
  const lines = await db.query<{ line: string }>(`SELECT line FROM audit WHERE chain = $1 AND line LIKE '%"type":"policy.put"%'`, [GATEWAY_CHAIN]);
  const put = new Set(
    lines.map(({ line }) => {
      const { digest, version } = (JSON.parse(line) as { body: { digest?: unknown; version?: unknown } }).body;
      return `${String(version)} ${String(digest)}`;
    }),
  );
  return versions
    .filter(({ digest, same, version }) => !same || !put.has(`${version} ${digest}`))
    .map(({ version }) => `Version ${version} of the policy was put by nobody: what lies in the store as it is not what was written down when it was put.`);
}

/** Reads the whole record of everyone again, person by person, and says what does not hold. @param lines where parts of it were archived to */
export async function verifyRecords(
  db: Queryable,
  key: RecordKey,
  lines: RecordLines = new RecordLines(new Map()),
): Promise<VerifyReport & { readonly chains: number; readonly notes: readonly string[] }> {
  const chains = await db.query<{ chain: string }>('SELECT DISTINCT chain FROM sessions ORDER BY chain');
  let sessions = 0;
  let entries = 0;
  const problems: string[] = [];
  for (const { chain } of chains) {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-verify-'));
    try {
      const differing: string[] = [];
      const unread = await exportRecord(db, lines, chain, key, folder, differing);
      const report = await verifyRecord(folder);
      sessions += report.sessions;
      entries += report.entries;
      // Of one that could not be read, its file cannot say anything better.
      const told = report.problems.filter((problem) => ![...unread.keys()].some((session) => problem.startsWith(`Session ${session}:`)));
      problems.push(...[...unread.values(), ...differing, ...told].map((problem) => `${chain}: ${problem}`));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  const acts = await verifyActChains(db, key);
  problems.push(...acts.problems);
  return {
    ok: problems.length === 0,
    chains: chains.length,
    sessions,
    entries,
    problems: problems.slice(0, MAX_PROBLEMS),
    notes: acts.notes.slice(0, MAX_PROBLEMS),
  };
}

async function writePages(path: string, page: (from: number) => Promise<readonly { seq: number; line: string }[]>): Promise<void> {
  const file = await open(path, 'wx', FILE_MODE);
  try {
    for (let from = 0; ; ) {
      const lines = await page(from);
      if (lines.length === 0) return;
      await file.write(lines.map(({ line }) => `${line}\n`).join(''));
      from = (lines.at(-1)?.seq ?? from) + 1;
    }
  } finally {
    await file.close();
  }
}
