/** Folders, headers and entries for the tests of recording. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext } from 'node:test';
import type { ConversationId, SessionId } from '../../../contract/ids.ts';
import { Entry, type EntryBody } from '../../../contract/recording.ts';
import type { Log } from '../../../proxy/pipeline/engine.ts';
import type { SessionHeader } from '../../../proxy/recording/recorder.ts';

export const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };
export const clock = { now: (): number => Date.now() };

/** A folder that goes with the test. `memory`: where syncing costs nothing, if the machine has such a place. */
export function folder(t: Pick<TestContext, 'after'>, place?: 'memory'): string {
  const base = place === 'memory' && existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const path = mkdtempSync(join(base, 'countersign-record-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function header(session: string, over: Partial<SessionHeader> = {}): SessionHeader {
  return {
    session: session as SessionId,
    conversation: 'con_1' as ConversationId,
    actor: { person: { issuer: 'os', subject: 'ada', groups: [] }, agent: { kind: 'claude-code', name: 'Claude Code' } },
    connection: 'orders',
    protocol: 'postgres',
    surface: 'terminal',
    ...over,
  };
}

type Of<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

export function intent(operation: string, over: Partial<Of<'operation.intent'>> = {}): Of<'operation.intent'> {
  return {
    type: 'operation.intent',
    operation,
    digest: 'd'.repeat(64),
    payload: 'SELECT id, email FROM customers WHERE id = $1',
    params: ['1', null],
    facts: {
      effect: 'read',
      verb: 'SELECT',
      targets: [{ kind: 'table', name: 'customers' }],
      bulk: false,
      sensitive: [],
      headline: 'SELECT customers',
      notes: [],
    },
    verdict: {
      decision: 'allow',
      rule: { id: 'reads', layer: 'builtin' },
      because: 'it reads',
      policyVersion: 'p1',
      approvers: [],
      quorum: 1,
      expiresMs: 1000,
      preview: 'none',
    },
    ...over,
  };
}

export function outcome(operation: string, over: Partial<Of<'operation.outcome'>> = {}): Of<'operation.outcome'> {
  return { type: 'operation.outcome', operation, outcome: 'done', rows: 1, masked: 1, tookMs: 1.5, ...over };
}

/** Every session's file in a recorder's folder, absolute, oldest day first. */
export function sessionPaths(directory: string): string[] {
  const sessions = join(directory, 'sessions');
  return readdirSync(sessions)
    .sort()
    .flatMap((day) =>
      readdirSync(join(sessions, day))
        .sort()
        .map((name) => join(sessions, day, name)),
    );
}

export function lines(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  return text === '' ? [] : text.split('\n').slice(0, -1);
}

/** The entries of a file, each held to the contract. */
export function entries(path: string): Entry[] {
  return lines(path).map((line) => Entry.parse(JSON.parse(line)));
}
