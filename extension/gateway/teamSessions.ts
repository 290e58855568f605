/**
 * What was asked of shared connections, for the Sessions tree: the gateway's record, as far as it is this person's to see, read
 * line by line with its chain checked here. No editor in here.
 */
import type { OperationDetail, OperationSummary } from '../../contract/control.ts';
import { ChainCheck } from '../../contract/gateway/chainCheck.ts';
import { SessionRecord, windowOf } from '../../contract/gateway/sessionRecord.ts';
import type { GatewaySession } from '../../contract/gateway/sessions.ts';
import { type Filter, parseFilter } from '../../contract/operationFilter.ts';
import { type ApiOptions, call } from './api.ts';
import type { TeamAccount } from './team.ts';

/** The newest sessions that are read; the console has all of them. */
const SESSIONS = 30;
/** Lines asked for at once, and while a whole chain is checked. */
const PAGE = 500;
const CHECK_PAGE = 1_000;
/** Of a session with more lines than this, so many of the newest are read. */
const MAX_LINES = 5_000;
const NEWEST = 2_000;
/** Sessions read at once. */
const AT_ONCE = 4;
/** A session that is open is looked at again this often, in milliseconds: entries have no event of their own. */
const WATCH_MS = 4_000;

export interface TeamSessionsOptions {
  readonly account: TeamAccount;
  readonly log: (message: string) => void;
  readonly changed: () => void;
}

interface Read {
  readonly record: SessionRecord;
  readonly session: GatewaySession;
}

export class TeamSessions {
  readonly #options: TeamSessionsOptions;
  #read = new Map<string, Read>();
  #who: string | undefined;
  #watched = false;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #again = false;

  constructor(options: TeamSessionsOptions) {
    this.#options = options;
  }

  /** Newest first. */
  operations(filter = ''): OperationSummary[] {
    const wanted = parseFilter(filter, Date.now());
    return this.#all()
      .map(({ summary }) => summary)
      .filter((operation) => matches(wanted, operation))
      .sort((a, b) => b.at - a.at);
  }

  /** One of them, whole; what is not known yet is asked for. */
  async operation(id: string): Promise<OperationDetail | undefined> {
    const known = this.#find(id);
    if (known?.summary.outcome !== undefined || this.#who === undefined) return known;
    await this.refresh();
    return this.#find(id);
  }

  /** Reads a session of the gateway's again, from its first line. @returns undefined where it is none of those that are shown */
  async verify(session: string): Promise<OperationDetail['verified'] | undefined> {
    const { state, token, fetch } = this.#options.account;
    const known = this.#read.get(session);
    if (!known || state.kind !== 'signed-in' || !state.url || !token) return undefined;
    const { record } = known;
    const { head, places } = record;
    const check = new ChainCheck(places);
    const access = { gateway: state.url, token: token.value, ...(fetch && { fetch }) };
    for (let more = true; more; ) {
      const page = await call('sessionEntries', access, { id: session, query: { after: check.entries, limit: CHECK_PAGE } });
      await check.add(page.lines);
      more = page.more && page.lines.length > 0;
    }
    // What is shown must be a part of what was read now.
    record.confirm(check, places, head);
    const problem = record.verified?.problem;
    return { ok: problem === undefined, entries: check.entries, head: check.head, ...(problem !== undefined && { problem }) };
  }

  /** Whether it is one of the gateway's that are shown. */
  has(session: string): boolean {
    return this.#read.has(session);
  }

  /** Signed in as somebody, or nobody any more. */
  accountChanged(who: string | undefined): void {
    if (who === this.#who) return;
    this.#who = who;
    this.#read = new Map();
    this.#options.changed();
    if (who !== undefined && this.#watched) this.#start();
  }

  /** Whether somebody looks: only then is anything read. */
  watch(watched: boolean): void {
    if (watched === this.#watched) return;
    this.#watched = watched;
    if (watched) this.#start();
    else clearTimeout(this.#timer);
  }

  /** Something changed at the gateway. */
  heard(): void {
    if (this.#watched) this.#start();
  }

  /** Reads what is new, once at a time; what changes meanwhile is read once more. */
  async refresh(): Promise<void> {
    this.#again = true;
    this.#reading ??= (async () => {
      try {
        while (this.#again) {
          this.#again = false;
          await this.#load();
        }
      } finally {
        this.#reading = undefined;
      }
    })();
    await this.#reading;
  }

  dispose(): void {
    this.#watched = false;
    clearTimeout(this.#timer);
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.refresh()
      .catch((error: unknown) => this.#options.log(`the gateway’s sessions: ${error instanceof Error ? error.message : String(error)}`))
      .finally(() => {
        clearTimeout(this.#timer);
        if (!this.#watched || ![...this.#read.values()].some(({ session }) => session.closedAt === undefined)) return;
        this.#timer = setTimeout(() => this.#start(), WATCH_MS);
        this.#timer.unref();
      });
  }

  async #load(): Promise<void> {
    const { state, token, fetch } = this.#options.account;
    const who = this.#who;
    if (state.kind !== 'signed-in' || !state.url || !token || who === undefined) return;
    const access = { gateway: state.url, token: token.value, ...(fetch && { fetch }) };
    const before = this.#read;
    const { sessions } = await call('sessions', access, { query: { limit: SESSIONS } });
    const read = new Map<string, Read>();
    let added = sessions.length !== before.size;
    const next = sessions.values();
    const reader = async (): Promise<void> => {
      for (const session of next) {
        const kept = before.get(session.id)?.record;
        const lines = session.entries ?? session.lines ?? 0;
        // What was read is kept as long as it can be read on from there.
        const record = kept && lines - kept.entries <= MAX_LINES ? kept : new SessionRecord(windowOf(lines, MAX_LINES, NEWEST));
        if (session.entries === undefined || record.entries < session.entries) {
          const had = kept?.entries ?? 0;
          await readOn(record, session.id, access);
          added ||= record.entries !== had;
        }
        read.set(session.id, { record, session });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, reader));
    // Signed out meanwhile: it is somebody else's by now.
    if (who !== this.#who) return;
    this.#read = read;
    if (added) this.#options.changed();
  }

  #all(): OperationDetail[] {
    return [...this.#read.values()].flatMap(({ record }) => record.operations());
  }

  #find(id: string): OperationDetail | undefined {
    for (const { record } of this.#read.values()) {
      const found = record.operation(id);
      if (found) return found;
    }
    return undefined;
  }
}

async function readOn(record: SessionRecord, id: string, access: ApiOptions): Promise<void> {
  if (record.from > 0 && !record.begun) record.begin((await call('sessionEntries', access, { id, query: { after: 0, limit: 1 } })).lines[0]);
  // A gateway of before does not say how many lines one that is open has.
  for (let more = true; more && record.entries - record.from < 2 * MAX_LINES; ) {
    const page = await call('sessionEntries', access, { id, query: { after: record.entries, limit: PAGE } });
    await record.add(page.lines);
    more = page.more;
  }
}

/** As the proxy's own history is filtered, but for words, which are looked for in what the line shows. */
export function matches({ terms, text, after, before }: Filter, operation: OperationSummary): boolean {
  const { actor, at, headline, connection, protocol, rule, decision, outcome, approvedBy } = operation;
  if ((after !== undefined && at < after) || (before !== undefined && at >= before)) return false;
  const person = actor.person.name ?? actor.person.subject;
  const shown = [headline, connection, protocol, rule, person, actor.agent.name, approvedBy ?? ''].join('\n').toLowerCase();
  if (!text.every((word) => shown.includes(word.toLowerCase()))) return false;
  const has = (value: string | undefined, part: string): boolean => value?.toLowerCase().includes(part) === true;
  return [...terms].every(([key, values]) =>
    values.some((value) => {
      switch (key) {
        case 'verdict':
          if (value.startsWith('approve')) return approvedBy !== undefined;
          return value.startsWith(decision) || (value.startsWith('den') && outcome === 'denied') || (value === 'denied' && decision === 'deny');
        case 'outcome':
          return outcome === value;
        case 'effect':
          return operation.effect === value;
        case 'session':
          return operation.session === value;
        case 'conversation':
          return operation.conversation === value;
        case 'protocol':
          return protocol === value;
        case 'connection':
          return has(connection, value);
        case 'agent':
          return has(actor.agent.name, value);
        case 'person':
          return has(person, value);
        case 'rule':
          return has(rule, value);
      }
    }),
  );
}
