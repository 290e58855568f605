/**
 * Holds each server to what it said of itself when a person, or first use, accepted it. What is new, changed, renamed, looks like
 * something else or gives the agent orders waits for a person; until then it is neither shown to an agent nor called.
 */
import type { PinAnswer, PinAnswered, PinKind, PinQuery, PinsView, PinTexts, Quarantined } from '../../contract/pins.ts';
import { Problem } from '../../contract/problem.ts';
import type { Clock, Log } from '../pipeline/engine.ts';
import { skeleton } from './confusable.ts';
import { type Definition, keyOf } from './definition.ts';
import { type Contents, NOTHING_PINNED, type Pinned, type PinStorage } from './pinFile.ts';
import type { KeptBook, SharedPins } from './sharedPins.ts';
import { suspicionsOf } from './suspicion.ts';

/** Things that one server may offer; what it offers beyond is not shown. */
export const MAX_OFFERED = 5_000;
/** Quarantined definitions that are held for a person, a connection. */
const MAX_WAITING = 200;
const MAX_REJECTED = 1_000;

export const SPOILT =
  'the file of accepted definitions was changed by something other than Countersign, or belongs to another editor’s secret, so nothing in it counts';

/** How the policy wants a server's first contact taken. */
export type FirstContact = 'first-use' | 'ask';

export interface PinsOptions {
  readonly storage: PinStorage;
  readonly clock: Clock;
  readonly log: Log;
  /** A view would differ from the last one. */
  readonly changed: () => void;
  /** Where other processes keep the same pins: each contact counts what they have accepted, and answers are given there. */
  readonly shared?: SharedPins;
}

interface Waiting extends Quarantined {
  readonly definition: Pick<Definition, 'kind' | 'name' | 'hash' | 'text'>;
  readonly before: string | undefined;
}

interface Book {
  since: number;
  /** Kinds that the server has offered before: what is new among them was not there at first contact. */
  readonly kinds: Set<PinKind>;
  readonly pinned: Map<string, Pinned>;
  readonly rejected: Map<string, { readonly kind: PinKind; readonly name: string; readonly hash: string }>;
  readonly waiting: Map<string, Waiting>;
  /** Kinds met for the first time that other processes have not been told of, and what was accepted of them. */
  readonly first: Map<PinKind, Pinned[]>;
}

export class Pins {
  readonly #options: PinsOptions;
  readonly #books = new Map<string, Book>();
  /** What is being read or written for a connection: one after the other. */
  readonly #turns = new Map<string, Promise<void>>();
  #names: NameIndex | undefined;
  #distrust: boolean;

  constructor(options: PinsOptions) {
    this.#options = options;
    const loaded = options.storage.load();
    const contents = loaded.state === 'read' ? loaded.contents : NOTHING_PINNED;
    this.#distrust = contents.distrust || loaded.state === 'spoilt';
    if (loaded.state === 'spoilt') options.log.error('pins.spoilt');
    for (const [connection, { since, kinds, pinned, rejected }] of Object.entries(contents.connections)) {
      this.#books.set(connection, {
        since,
        kinds: new Set(kinds),
        pinned: new Map(pinned.map((one) => [keyOf(one), one])),
        rejected: new Map(rejected.map((one) => [one.hash, one])),
        waiting: new Map(),
        first: new Map(),
      });
    }
  }

  /** Reads what other processes have kept so far. */
  async load(): Promise<void> {
    for (const [connection, kept] of (await this.#options.shared?.readAll()) ?? []) this.#take(connection, kept);
  }

  /** Another process, or a person, has changed what is kept of a connection. */
  refresh(connection: string): Promise<void> {
    const { shared, changed } = this.#options;
    if (!shared) return Promise.resolve();
    return this.#inTurn(connection, async () => {
      if (this.#take(connection, await shared.read(connection))) changed();
    });
  }

  /** As `contact`. What other processes have accepted meanwhile counts; rejects where that cannot be known or told. */
  meet(connection: string, kind: PinKind, offered: readonly Definition[], first: FirstContact): Promise<void> {
    const { shared } = this.#options;
    if (!shared) return Promise.resolve(this.contact(connection, kind, offered, first));
    return this.#inTurn(connection, async () => {
      this.#take(connection, await shared.read(connection));
      this.contact(connection, kind, offered, first);
      await this.#tell(shared, connection);
    });
  }

  /** Looks at all that a server offers of one kind. On first contact it is accepted, but for what looks wrong. */
  contact(connection: string, kind: PinKind, offered: readonly Definition[], first: FirstContact): void {
    const book = this.#book(connection);
    const known = book.kinds.has(kind);
    const before = [...book.waiting.keys()].join('\n');
    const there = new Set(offered.map((one) => `${one.hash}\0${one.name}`));
    for (const [key, waiting] of book.waiting) if (waiting.kind === kind && !there.has(`${waiting.hash}\0${waiting.name}`)) book.waiting.delete(key);
    let accepted = false;
    const whole = offeredOf(book, kind, offered);
    const trusting = !known && first === 'first-use' && !this.#distrust;
    for (const definition of offered.slice(0, MAX_OFFERED)) {
      if (this.#isAccepted(book, definition)) continue;
      const reasons = this.#reasons(connection, book, definition, whole, known);
      if (trusting && reasons.length === 0) {
        this.#pin(connection, book, definition, 'first-use');
        accepted = true;
      } else this.#quarantine(book, definition, reasons.length > 0 ? reasons : [this.#distrust ? SPOILT : 'the policy wants every tool to be seen first']);
    }
    if (offered.length > 0 && !known && (trusting || accepted)) {
      book.kinds.add(kind);
      book.first.set(
        kind,
        [...book.pinned.values()].filter((one) => one.kind === kind),
      );
      accepted = true;
    }
    if (accepted) this.#saveQuietly();
    if (accepted || before !== [...book.waiting.keys()].join('\n')) this.#options.changed();
  }

  /** Whether an agent may see and use exactly this. What is not accepted is quarantined by asking. */
  admits(connection: string, definition: Definition): boolean {
    const book = this.#book(connection);
    if (this.#isAccepted(book, definition)) return true;
    const key = keyOf(definition);
    if (book.waiting.get(key)?.hash !== definition.hash) {
      const kept = this.#quarantine(book, definition, this.#reasons(connection, book, definition, undefined, true));
      // What there is no room for changes nothing that anybody is shown: whoever is told may well ask for it again.
      if (!kept) return false;
      this.#options.changed();
      const { log, shared } = this.#options;
      if (shared) void this.#inTurn(connection, () => this.#tell(shared, connection)).catch((cause: unknown) => log.warn('pins.not-kept', { cause }));
    }
    return false;
  }

  view(connection: string): PinsView {
    const book = this.#books.get(connection);
    const pinned = [...(book?.pinned.values() ?? [])];
    const count = (kind: PinKind): number => pinned.filter((one) => one.kind === kind).length;
    return {
      tools: count('tool'),
      prompts: count('prompt'),
      quarantined: [...(book?.waiting.values() ?? [])].map(({ definition: _d, before: _b, ...shown }) => shown),
      ...(book && pinned.some((one) => one.by === 'first-use') && { trustedOnFirstUse: book.since }),
    };
  }

  texts({ connection, items }: PinQuery): PinTexts {
    const book = this.#books.get(connection);
    return {
      items: items.flatMap(({ kind, name, hash }) => {
        const waiting = book?.waiting.get(keyOf({ kind, name }));
        if (!waiting || waiting.hash !== hash) return [];
        const { before, definition, reasons } = waiting;
        return [{ kind, name, hash, after: definition.text, reasons: [...reasons], ...(before !== undefined && { before }) }];
      }),
    };
  }

  /** A person's answer, which counts for the definitions that were on the screen and no others. @throws a `Problem` where it cannot be kept */
  answer({ connection, items, answer }: PinAnswer): PinAnswered {
    const book = this.#books.get(connection);
    let done = 0;
    for (const { kind, name, hash } of items) {
      const key = keyOf({ kind, name });
      const waiting = book?.waiting.get(key);
      if (!book || !waiting || waiting.hash !== hash) continue;
      done++;
      if (answer === 'accept') {
        this.#pin(connection, book, waiting.definition, 'person');
        book.kinds.add(kind);
        book.rejected.delete(hash);
        book.waiting.delete(key);
      } else {
        book.rejected.set(hash, { kind, name, hash });
        for (const oldest of book.rejected.keys()) {
          if (book.rejected.size <= MAX_REJECTED) break;
          book.rejected.delete(oldest);
        }
        book.waiting.set(key, { ...waiting, rejected: true });
      }
    }
    if (done > 0) {
      this.#save();
      this.#options.log.info('pins.answered', { connection, answer, items: items.map(({ kind, name, hash }) => ({ kind, name, hash })) });
      this.#options.changed();
    }
    return { done, stale: items.length - done };
  }

  #book(connection: string): Book {
    let book = this.#books.get(connection);
    if (!book) {
      book = { since: this.#options.clock.now(), kinds: new Set(), pinned: new Map(), rejected: new Map(), waiting: new Map(), first: new Map() };
      this.#books.set(connection, book);
    }
    return book;
  }

  #inTurn(connection: string, work: () => Promise<void>): Promise<void> {
    const turn = (this.#turns.get(connection) ?? Promise.resolve()).catch(() => {}).then(work);
    this.#turns.set(connection, turn);
    return turn.finally(() => {
      if (this.#turns.get(connection) === turn) this.#turns.delete(connection);
    });
  }

  async #tell(shared: SharedPins, connection: string): Promise<void> {
    const book = this.#book(connection);
    const first = new Map(book.first);
    const waiting = [...book.waiting.values()].map(({ definition: { kind, name, hash, text }, reasons }) => ({
      kind,
      name,
      hash,
      text,
      reasons: [...reasons],
    }));
    if (await shared.keep(connection, { first, waiting })) for (const kind of first.keys()) book.first.delete(kind);
    // What another process met first is what holds; whatever differs from it waits.
    else this.#take(connection, await shared.read(connection));
  }

  /** @returns whether anything differs from what was known */
  #take(connection: string, kept: KeptBook | undefined): boolean {
    const before = this.#inWords(connection);
    if (kept) {
      const pinned = new Map(kept.pinned.map((one) => [keyOf(one), one]));
      const rejected = new Map(kept.rejected.map((one) => [one.hash, one]));
      const waiting = kept.waiting.map(({ reasons, ...definition }): [string, Waiting] => {
        const { kind, name, hash } = definition;
        const was = pinned.get(keyOf(definition))?.text;
        return [
          keyOf(definition),
          { kind, name, hash, reasons: [...reasons], known: was !== undefined, rejected: rejected.has(hash), definition, before: was },
        ];
      });
      this.#books.set(connection, { since: kept.since, kinds: new Set(kept.kinds), pinned, rejected, waiting: new Map(waiting), first: new Map() });
    } else this.#books.delete(connection);
    this.#names = undefined;
    return this.#inWords(connection) !== before;
  }

  #inWords(connection: string): string {
    const book = this.#books.get(connection);
    const waiting = [...(book?.waiting ?? [])].map(([key, { hash, rejected }]) => [key, hash, rejected]);
    return JSON.stringify([[...(book?.pinned ?? [])].map(([key, { hash }]) => [key, hash]).sort(), waiting.sort()]);
  }

  #isAccepted(book: Book, definition: Definition): boolean {
    return book.pinned.get(keyOf(definition))?.hash === definition.hash;
  }

  #pin(connection: string, book: Book, { kind, name, hash, text }: Waiting['definition'], by: Pinned['by']): void {
    const pinned: Pinned = { kind, name, hash, text, by, at: this.#options.clock.now() };
    book.pinned.set(keyOf(pinned), pinned);
    if (this.#names) note(this.#names, connection, pinned);
  }

  /** @returns whether there was room for it */
  #quarantine(book: Book, definition: Definition, reasons: readonly string[]): boolean {
    const { kind, name, hash } = definition;
    const key = keyOf(definition);
    if (!book.waiting.has(key) && book.waiting.size >= MAX_WAITING) return false;
    const before = book.pinned.get(key)?.text;
    book.waiting.set(key, {
      kind,
      name,
      hash,
      reasons: reasons.slice(0, 20).map((reason) => reason.slice(0, 600)),
      known: before !== undefined,
      rejected: book.rejected.has(hash),
      definition,
      before,
    });
    return true;
  }

  /** @param offered all that is offered, where that is known; @param known whether the server has offered this kind before. Never empty for a known one. */
  #reasons(connection: string, book: Book, definition: Definition, offered: Offered | undefined, known: boolean): string[] {
    const reasons: string[] = [];
    const pinned = book.pinned.get(keyOf(definition));
    if (pinned)
      reasons.push(definition.kind === 'instructions' ? 'the server’s own instructions have changed' : 'its definition has changed since it was accepted');
    else if (known) {
      const before = offered?.gone.get(withoutName(definition));
      reasons.push(before === undefined ? 'it was not there when this server was accepted' : `it is “${before}” under another name`);
    }
    if (definition.kind !== 'instructions') reasons.push(...this.#lookAlikes(connection, definition, offered));
    reasons.push(...suspicionsOf(definition));
    return reasons;
  }

  /** Names that a reader, or a model, would take for each other: on this server, and on any other. */
  #lookAlikes(connection: string, definition: Definition, offered: Offered | undefined): string[] {
    const { kind, name } = definition;
    const reasons: string[] = [];
    const bones = bonesOf(definition);
    for (const one of offered?.byBones.get(bones) ?? []) if (one.name !== name) reasons.push(`its name looks like “${one.name}” of the same server`);
    for (const { connection: other, pinned: one } of this.#byBones.get(bones)?.values() ?? []) {
      const same = one.name === name;
      // The same thing from two servers, or from one server twice, takes nobody in.
      if (same && (other === connection || one.hash === definition.hash)) continue;
      if (other === connection && offered !== undefined) continue;
      reasons.push(same ? `${other} has another ${kind} called “${one.name}”` : `its name looks like “${one.name}” of ${other}`);
    }
    return reasons.slice(0, 5);
  }

  /** All that is pinned, by what its name looks like. */
  get #byBones(): NameIndex {
    if (this.#names) return this.#names;
    const names: NameIndex = new Map();
    this.#names = names;
    for (const [connection, { pinned }] of this.#books) for (const one of pinned.values()) note(names, connection, one);
    return names;
  }

  #contents(): Contents {
    return {
      v: 1,
      distrust: this.#distrust,
      connections: Object.fromEntries(
        [...this.#books].map(([connection, book]) => [
          connection,
          { since: book.since, kinds: [...book.kinds], pinned: [...book.pinned.values()], rejected: [...book.rejected.values()] },
        ]),
      ),
    };
  }

  #save(): void {
    try {
      this.#options.storage.save(this.#contents());
    } catch (cause) {
      throw new Problem('pins-not-kept', 'What was accepted holds until Countersign stops, but could not be written down: is the disk full?', { cause });
    }
  }

  #saveQuietly(): void {
    try {
      this.#save();
    } catch (cause) {
      this.#options.log.error('pins.not-kept', { cause });
    }
  }
}

/** What a server offers of one kind, once for all that is looked at of it: thousands of things are compared with thousands. */
interface Offered {
  readonly byBones: ReadonlyMap<string, readonly Definition[]>;
  /** What was accepted and is offered no more: by its definition without a name, the name that it had. */
  readonly gone: ReadonlyMap<string, string>;
}

function offeredOf(book: Book, kind: PinKind, offered: readonly Definition[]): Offered {
  const there = new Set(offered.map((one) => one.name));
  const gone = new Map<string, string>();
  for (const one of book.pinned.values()) if (one.kind === kind && !there.has(one.name)) gone.set(withoutName(one), one.name);
  return { byBones: Map.groupBy(offered, bonesOf), gone };
}

type NameIndex = Map<string, Map<string, { readonly connection: string; readonly pinned: Pinned }>>;

function note(names: NameIndex, connection: string, pinned: Pinned): void {
  const bones = bonesOf(pinned);
  const alike = names.get(bones) ?? new Map<string, { readonly connection: string; readonly pinned: Pinned }>();
  names.set(bones, alike.set(`${connection}\0${pinned.name}`, { connection, pinned }));
}

/** What it looks like, of its kind. */
function bonesOf({ kind, name }: { readonly kind: PinKind; readonly name: string }): string {
  return `${kind}\0${skeleton(name)}`;
}

function withoutName({ text }: { readonly text: string }): string {
  const { name: _name, ...rest } = JSON.parse(text) as Record<string, unknown>;
  return JSON.stringify(rest);
}
