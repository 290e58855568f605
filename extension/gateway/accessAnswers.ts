/**
 * What became of requests for access over a time that were made from this profile: said once each, in one window, also where the
 * answer came while no window was open or the gateway was out of reach. A file remembers each request; another, which only one window
 * can make, that it was told of. No editor in here.
 */
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { personLabel } from '../../contract/actor.ts';
import { minutesInWords } from '../../contract/gateway/accessAsk.ts';
import type { GatewayApproval } from '../../contract/gateway/approvals.ts';
import { Problem } from '../../contract/problem.ts';
import { plainLine } from '../plainLine.ts';
import type { Translate } from '../translate.ts';

/** A request waits for a day, and what it grants is for a week at the most: nobody needs to hear of it after this time, in milliseconds. */
const KEPT_MS = 14 * 24 * 60 * 60_000;
/** Requests that are remembered at once. One person's wait by the twenty. */
const MAX_ASKED = 200;
/** Answers that are told of one by one; more of them in one sentence. */
const MAX_ONE_BY_ONE = 3;
const MAX_WHAT_CHARS = 80;
const MAX_NOTE_CHARS = 240;
/** Ids as gateways make them; any other is no name for a file. */
const ID = /^[\w-]{1,100}$/;
const FILE = /^([\w-]{1,100})\.(asked|told)$/;

export interface AccessAnswersOptions {
  /** Of this profile, for all its windows. */
  readonly folder: string;
  /** One question as the gateway has it now. @throws Problem `not-found` */
  readonly get: (id: string) => Promise<GatewayApproval>;
  /** Lets a window that somebody looks at be the first to tell. */
  readonly turn: () => Promise<void>;
  readonly tell: (ended: readonly GatewayApproval[]) => void;
  readonly log: (message: string) => void;
}

export class AccessAnswers {
  readonly #options: AccessAnswersOptions;
  /** Requests that nobody was told of yet, by their id. */
  readonly #asked = new Map<string, { lookedUp: boolean }>();
  #loaded = false;
  #busy: Promise<void> = Promise.resolve();

  constructor(options: AccessAnswersOptions) {
    this.#options = options;
  }

  /** This person has asked for access, here or in the gateway's console. */
  asked(approval: GatewayApproval): Promise<void> {
    return this.#one(() => this.#remember(approval));
  }

  /** What waits at the gateway now, and what it says of the last day. */
  look(pending: readonly GatewayApproval[], decided: readonly GatewayApproval[]): Promise<void> {
    return this.#one(async () => {
      for (const one of pending) await this.#remember(one);
      const ended = decided.filter(({ id }) => this.#asked.has(id));
      const listed = new Set([...pending, ...decided].map(({ id }) => id));
      for (const [id, state] of this.#asked) {
        if (listed.has(id) || state.lookedUp) continue;
        // One that is not there may be another person's, who comes back to this profile: it is kept, and not asked for a second time.
        state.lookedUp = true;
        const one = await this.#lookUp(id, state);
        if (one && one.state !== 'pending') ended.push(one);
      }
      const told: GatewayApproval[] = [];
      if (ended.some(own)) await this.#options.turn();
      for (const one of ended.filter(own)) {
        this.#asked.delete(one.id);
        if ((await this.#make(one.id, 'told')) && !takenBack(one)) told.push(one);
      }
      if (told.length > 0) this.#options.tell(told);
    });
  }

  #one(work: () => Promise<void>): Promise<void> {
    this.#busy = this.#busy
      .then(async () => {
        if (!this.#loaded) await this.#load();
        this.#loaded = true;
        await work();
      })
      // Whoever cannot be told so still has the line among the last decisions.
      .catch((cause: unknown) => this.#options.log(`answers to requests for access: ${cause instanceof Error ? cause.message : 'failed'}`));
    return this.#busy;
  }

  async #load(): Promise<void> {
    const { folder } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const told = new Set<string>();
    for (const name of await readdir(folder)) {
      const [, id, kind] = FILE.exec(name) ?? [];
      if (id === undefined) continue;
      const path = join(folder, name);
      const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: 0 }));
      if (mtimeMs < Date.now() - KEPT_MS) await rm(path, { force: true });
      else if (kind === 'told') told.add(id);
      else this.#asked.set(id, { lookedUp: false });
    }
    for (const id of told) this.#asked.delete(id);
  }

  async #remember(approval: GatewayApproval): Promise<void> {
    if (!own(approval) || approval.state !== 'pending' || this.#asked.has(approval.id) || this.#asked.size >= MAX_ASKED) return;
    if (!ID.test(approval.id)) return;
    this.#asked.set(approval.id, { lookedUp: false });
    await this.#make(approval.id, 'asked');
  }

  /** @returns whether it was not there before: of all windows, one makes it. */
  async #make(id: string, kind: 'asked' | 'told'): Promise<boolean> {
    try {
      await writeFile(join(this.#options.folder, `${id}.${kind}`), '', { flag: 'wx', mode: 0o600 });
      return true;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw cause;
    }
  }

  async #lookUp(id: string, state: { lookedUp: boolean }): Promise<GatewayApproval | undefined> {
    try {
      return await this.#options.get(id);
    } catch (cause) {
      state.lookedUp = cause instanceof Problem && cause.code === 'not-found';
      return undefined;
    }
  }
}

/** @returns one sentence or two. What a colleague wrote is cut to one line. */
function answerText(approval: GatewayApproval, now: number, language: string, t: Translate): string {
  const { access, answers, decidedAt = now, state, why } = approval;
  if (!access) return '';
  const connection = plainLine(access.connection);
  if (state === 'denied') {
    const no = answers.findLast(({ answer }) => answer === 'deny');
    if (!no) return nobodySaid(why, connection, t);
    const who = plainLine(personLabel(no.by));
    return no.note === undefined
      ? t('{0} refused you access to {1}, and gave no reason.', who, connection)
      : t('{0} refused you access to {1}: “{2}”', who, connection, plainLine(no.note, MAX_NOTE_CHARS));
  }
  const yes = answers.filter(({ answer }) => answer === 'approve').map(({ by }) => plainLine(personLabel(by)));
  const who = new Intl.ListFormat(language, { type: 'conjunction' }).format(yes);
  const targets = access.targets.includes('*') ? t('anything') : plainLine(access.targets.join(', '), MAX_WHAT_CHARS);
  const until = decidedAt + access.minutes * 60_000;
  const end = moment(until, now, language);
  const what = t('{0} on {1}', access.effects.join(', '), targets);
  return until > now
    ? t('{0} granted you access to {1} until {2}: {3}.', who, connection, end, what)
    : t('{0} granted you access to {1} for {2}, which ended {3}: {4}.', who, connection, minutesInWords(access.minutes), end, what);
}

/** What is said at once: each by itself, or how many there are. */
export function answerTexts(ended: readonly GatewayApproval[], now: number, language: string, t: Translate): string[] {
  const [first] = ended;
  if (!first || ended.length <= MAX_ONE_BY_ONE) return ended.map((one) => answerText(one, now, language, t));
  return [t('{0} of your requests for access were answered. The last: {1}', ended.length, answerText(first, now, language, t))];
}

function nobodySaid(why: string | undefined, connection: string, t: Translate): string {
  if (why === 'deadline') return t('Nobody answered your request for access to {0} in time.', connection);
  return t('Your request for access to {0} was closed without an answer. Ask again if you still need it.', connection);
}

function own({ access, mine }: GatewayApproval): boolean {
  return access !== undefined && mine.requested;
}

/** By whoever asked: nothing that they need to be told. */
function takenBack({ answers, requester }: GatewayApproval): boolean {
  const no = answers.findLast(({ answer }) => answer === 'deny');
  return no !== undefined && no.by.issuer === requester.issuer && no.by.subject === requester.subject;
}

function moment(at: number, now: number, language: string): string {
  const sameDay = new Date(at).toDateString() === new Date(now).toDateString();
  return new Intl.DateTimeFormat(language, {
    ...(!sameDay && { weekday: 'short', day: 'numeric', month: 'short' }),
    hour: '2-digit',
    minute: '2-digit',
  }).format(at);
}
