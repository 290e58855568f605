/** Takes away roles that are over, and what a proxy that was killed left behind. */
import type { Log } from '../../pipeline/engine.ts';
import type { AdminFacts, Query } from './inspect.ts';
import { dropLayoutsSql, MEMBERSHIP_OPTIONS } from './layoutSql.ts';
import { identifier, literal, type RunNames, textArray } from './names.ts';

export interface Dropped {
  readonly dropped: readonly string[];
  /** Still there: connected, or the server would not. */
  readonly left: readonly string[];
}

/**
 * Drops session roles that are not connected.
 * @param terminate whether to end those that are; they are left for the next try
 */
export async function dropSessionRoles(query: Query, facts: AdminFacts, roles: readonly string[], terminate: boolean, log: Log): Promise<Dropped> {
  const connected = new Set((await query(`select usename from pg_stat_activity where usename = any (${textArray(roles)})`)).map((row) => row[0]));
  const idle = roles.filter((role) => !connected.has(role));
  const left = roles.filter((role) => connected.has(role));
  const dropped: string[] = [];
  if (terminate && left.length > 0) {
    await ownThem(query, facts, left);
    await query(`select pg_terminate_backend(pid) from pg_stat_activity where usename = any (${textArray(left)})`);
  }
  if (idle.length === 0) return { dropped, left };
  try {
    await query(`drop role if exists ${idle.map(identifier).join(', ')}`);
    dropped.push(...idle);
  } catch {
    // One of them owns something, or may not be dropped: find out which.
    for (const role of idle) {
      try {
        await dropWithBelongings(query, facts, role);
        dropped.push(role);
      } catch (cause) {
        log.warn('postgres-role.left', { role, cause });
        left.push(role);
      }
    }
  }
  return { dropped, left };
}

async function dropWithBelongings(query: Query, facts: AdminFacts, role: string): Promise<void> {
  const [there] = await query(`select 1 from pg_roles where rolname = ${literal(role)}`);
  if (!there) return;
  await ownThem(query, facts, [role]);
  await query(`drop owned by ${identifier(role)} cascade; drop role ${identifier(role)}`);
}

/** Before version 16 whoever makes a role has to take its rights before it can clean up after it. */
async function ownThem(query: Query, facts: AdminFacts, roles: readonly string[]): Promise<void> {
  if (facts.superuser || facts.version >= MEMBERSHIP_OPTIONS) return;
  const there = await query(`select rolname from pg_roles where rolname = any (${textArray(roles)})`);
  if (there.length > 0) await query(`grant ${there.map((row) => identifier(row[0] ?? '')).join(', ')} to current_user`);
}

export interface SweepOptions {
  readonly names: RunNames;
  /** Whether a session role of this run is one that somebody holds. */
  readonly held: (role: string) => boolean;
  readonly log: Log;
}

/** Everything of this installation, in this database, that no living run holds. Resolves with what was dropped and what must wait. */
export async function sweepLeftovers(query: Query, facts: AdminFacts, { held, log, names }: SweepOptions): Promise<Dropped> {
  const like = `like ${literal(`${names.ours.replaceAll('_', '\\_')}%`)}`;
  const roles = (await query(`select rolname from pg_roles where rolname ${like}`)).map((row) => row[0] ?? '');
  const schemas = (await query(`select nspname from pg_namespace where nspname ${like}`)).map((row) => row[0] ?? '');
  const runs = new Set([...roles, ...schemas].flatMap((name) => names.read(name)?.run ?? []));
  const dropped: string[] = [];
  const left: string[] = [];
  const take = (some: Dropped): void => {
    dropped.push(...some.dropped);
    left.push(...some.left);
  };
  const sessionsOf = (run: string): readonly string[] => roles.filter((role) => names.read(role)?.run === run && names.read(role)?.session);

  const lost = sessionsOf(names.run).filter((role) => !held(role));
  if (lost.length > 0) take(await dropSessionRoles(query, facts, lost, false, log));
  runs.delete(names.run);
  for (const run of runs) {
    const key = names.lockKey(run);
    // A run that lives holds its lock shared: then what it has is not a leftover.
    const [free] = await query(`select pg_try_advisory_lock(${key})`);
    if (free?.[0] !== 't') continue;
    try {
      const sessions = sessionsOf(run);
      const gone = sessions.length === 0 ? { dropped: [], left: [] } : await dropSessionRoles(query, facts, sessions, false, log);
      take(gone);
      if (gone.left.length > 0) continue;
      const own = (name: string): boolean => names.read(name)?.run === run;
      const layouts = roles.filter((role) => own(role) && !names.read(role)?.session);
      await query(dropLayoutsSql(layouts, schemas.filter(own)));
      dropped.push(...layouts);
    } catch (cause) {
      log.warn('postgres-role.leftovers', { run, cause });
      await query('rollback');
      left.push(run);
    } finally {
      await query(`select pg_advisory_unlock(${key})`);
    }
  }
  return { dropped, left };
}
