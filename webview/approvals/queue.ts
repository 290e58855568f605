/**
 * The asks on screen. First in, first out, and nothing a person may be about to click is ever swapped or moved: while
 * the list is *held* (pointer or focus in it), new asks go to the end and settled ones stay where they are, as they are.
 */
import type { AnswerResult, DecidedApproval, PendingApproval } from '../../contract/approval.ts';
import type { ApprovalsSnapshot } from '../../contract/webview.ts';
import { headlineOf } from '../parts/names.ts';

/** What has become of an ask, as far as this panel knows. */
export type Phase =
  | { readonly kind: 'open' }
  | { readonly kind: 'sending'; readonly answer: 'approve' | 'deny' }
  | { readonly kind: 'answered'; readonly answer: 'approve' | 'deny'; readonly result: AnswerResult | 'failed'; readonly sentence?: string }
  | { readonly kind: 'decided'; readonly decided: DecidedApproval }
  /** Left the queue without a decision that reached us. */
  | { readonly kind: 'gone'; readonly why: 'changed' | 'gone' | 'lost' };

export interface Entry {
  /** Id and digest: another digest is another entry, however alike. */
  readonly key: string;
  readonly ask: PendingApproval;
  readonly phase: Phase;
  /** Entries of a group stand together. */
  readonly group: string;
  /** Epoch milliseconds from which on it has been settled. */
  readonly settledAt?: number;
  /** Shown as one quiet line. */
  readonly quiet: boolean;
}

/** How long a settled ask stays as a quiet line, in milliseconds. */
export const LINGER_MS = 12_000;

function keyOf(ask: PendingApproval): string {
  return `${ask.id}\n${ask.digest}`;
}

/** Whether the person still has something to answer here. */
export function isOpen(entry: Entry): boolean {
  const { phase } = entry;
  return phase.kind === 'open' || phase.kind === 'sending' || (phase.kind === 'answered' && phase.result !== 'accepted');
}

/** Asks are alike when one agent asks the same kind of thing, under the same rule, in the same place. */
export function alikeKey({ actor, connection, conversation, facts, verdict }: PendingApproval): string {
  return JSON.stringify([
    actor.person.subject,
    actor.agent.kind,
    actor.agent.name,
    connection,
    conversation,
    facts.headline,
    facts.effect,
    facts.bulk,
    verdict.rule.id,
  ]);
}

/** Whether every byte that would be approved is the same, so that who has read one has read all. */
export function identical(entries: readonly Entry[]): boolean {
  const bytes = (e: Entry): string => JSON.stringify([e.ask.payload, e.ask.params, e.ask.connection, e.ask.language]);
  const [first] = entries;
  return first !== undefined && entries.every((e) => bytes(e) === bytes(first));
}

/** The queue after a snapshot. Entries keep their place; what is new comes after them, or beside what it is like. */
export function reconcile(entries: readonly Entry[], snapshot: Pick<ApprovalsSnapshot, 'pending' | 'decided' | 'link'>, now: number, held: boolean): Entry[] {
  const pending = new Map(snapshot.pending.map((p) => [p.id, p]));
  const kept = entries.map((entry) => carry(entry, pending.get(entry.ask.id), snapshot, now));
  const known = new Set(kept.map((e) => e.key));
  for (const ask of [...snapshot.pending].sort((a, b) => a.askedAt - b.askedAt)) {
    const key = keyOf(ask);
    if (known.has(key)) continue;
    const alike = alikeKey(ask);
    const place = held ? -1 : kept.findLastIndex((e) => e.group === alike && isOpen(e));
    const lastIsAlike = kept.at(-1)?.group === alike;
    const entry: Entry = {
      key,
      ask,
      phase: { kind: 'open' },
      group: place >= 0 || lastIsAlike || !kept.some((e) => e.group === alike) ? alike : key,
      quiet: false,
    };
    if (place >= 0) kept.splice(place + 1, 0, entry);
    else kept.push(entry);
  }
  return settle(kept, now, held);
}

/** Folds settled entries into quiet lines and lets old ones go, unless the list is held. */
export function settle(entries: readonly Entry[], now: number, held: boolean): Entry[] {
  if (held) return [...entries];
  return entries
    .filter((e) => e.settledAt === undefined || now - e.settledAt < LINGER_MS)
    .map((e) => (e.settledAt !== undefined && !e.quiet ? { ...e, quiet: true } : e));
}

/** When the next entry is due to leave, epoch milliseconds; `undefined` when none is. */
export function nextDeparture(entries: readonly Entry[]): number | undefined {
  const times = entries.flatMap((e) => (e.settledAt === undefined ? [] : [e.settledAt + LINGER_MS]));
  return times.length === 0 ? undefined : Math.min(...times);
}

/** The queue after a click or its result. */
export function withPhase(entries: readonly Entry[], id: string, phase: Phase, now: number, digest?: string): Entry[] {
  return entries.map((e) => {
    if (e.ask.id !== id || (digest !== undefined && e.ask.digest !== digest) || e.phase.kind === 'decided' || e.phase.kind === 'gone') return e;
    return settledIf({ ...e, phase }, now);
  });
}

function carry(entry: Entry, pending: PendingApproval | undefined, snapshot: Pick<ApprovalsSnapshot, 'decided' | 'link'>, now: number): Entry {
  if (entry.phase.kind === 'gone') return entry;
  // The outcome comes later than the decision.
  const decided = snapshot.decided.find((d) => d.id === entry.ask.id);
  if (entry.phase.kind === 'decided') return decided ? { ...entry, phase: { kind: 'decided', decided } } : entry;
  if (pending && keyOf(pending) === entry.key) return { ...entry, ask: pending };
  if (pending) return settledIf({ ...entry, phase: { kind: 'gone', why: 'changed' } }, now);
  if (decided) return settledIf({ ...entry, phase: { kind: 'decided', decided } }, now);
  if (entry.phase.kind === 'answered' && entry.phase.result === 'accepted') return entry;
  return settledIf({ ...entry, phase: { kind: 'gone', why: snapshot.link.state === 'on' ? 'gone' : 'lost' } }, now);
}

function settledIf(entry: Entry, now: number): Entry {
  return isOpen(entry) || entry.settledAt !== undefined ? entry : { ...entry, settledAt: now };
}

export interface Group {
  readonly key: string;
  readonly entries: readonly Entry[];
}

/** Neighbours of one group together. */
export function groupsOf(entries: readonly Entry[]): Group[] {
  const out: { key: string; entries: Entry[] }[] = [];
  for (const entry of entries) {
    const last = out.at(-1);
    if (last && last.entries[0]?.group === entry.group) last.entries.push(entry);
    else out.push({ key: entry.key, entries: [entry] });
  }
  return out;
}

/** What to tell a screen reader about asks that were not there before. */
export function arrivals(before: readonly Entry[], after: readonly Entry[]): { readonly n: number; readonly headline: string } | undefined {
  const known = new Set(before.map((e) => e.key));
  const fresh = after.filter((e) => !known.has(e.key) && e.phase.kind === 'open');
  const [first] = fresh;
  return first && { n: fresh.length, headline: headlineOf(first.ask.actor.agent, first.ask.facts) };
}
