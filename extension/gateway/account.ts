/**
 * Who is signed in to the team's gateway from this profile: kept in the editor's secret storage alone, renewed before it runs
 * out, and the same in every window. No editor in here but the storage that is handed in.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { Person, personLabel } from '../../contract/actor.ts';
import { Problem } from '../../contract/problem.ts';
import type { Translate } from '../translate.ts';
import { renew, revoke, type Tokens } from './oauth.ts';
import { type Fetch, trusting } from './trust.ts';

/** A token is renewed this long before it runs out at the latest, in milliseconds; short ones after two thirds of their life. */
const RENEW_BEFORE_MS = 90_000;
/** Waits between tries while the gateway is out of reach, in milliseconds. */
const FIRST_RETRY_MS = 2_000;
const MAX_RETRY_MS = 60_000;
/** Windows do not all renew at once: each waits up to this long more, in milliseconds. */
const SPREAD_MS = 3_000;
/** Windows that claim the renewal at once see it within this time, in milliseconds; the last claim stands. */
const CLAIM_MS = 150;
/** A window that claimed it and did not finish within this time is gone, in milliseconds. */
const CLAIM_ENDS_MS = 20_000;

const Kept = z.object({
  /** The gateway that it is for: with another address set, it counts as none. */
  url: z.string().max(2000),
  access: z.string().max(16_384),
  refresh: z.string().max(2000),
  issuedAt: z.number(),
  expiresAt: z.number(),
  person: Person,
  /** The window that renews it now: a refresh token that two use is taken for stolen. */
  renewing: z.object({ by: z.string().max(64), until: z.number() }).optional(),
});
type Kept = z.infer<typeof Kept>;

export interface Storage {
  get(): Promise<string | undefined>;
  store(value: string): Promise<void>;
  delete(): Promise<void>;
}

export type AccountState =
  /** No gateway is set, or its address cannot be used: `sentence` says so then. */
  | { readonly kind: 'none'; readonly sentence?: string }
  /** `sentence`: why somebody who was signed in is not any more. */
  | { readonly kind: 'signed-out'; readonly url: URL; readonly sentence?: string }
  /** `problem`: it cannot be renewed at the moment. */
  | { readonly kind: 'signed-in'; readonly url: URL; readonly person: Person; readonly problem?: string };

export interface AccountOptions {
  readonly storage: Storage;
  readonly t: Translate;
  readonly log: (message: string) => void;
  readonly changed: () => void;
  readonly random?: () => number;
}

export class GatewayAccount {
  readonly #options: AccountOptions;
  readonly #window = randomUUID();
  #url: URL | undefined;
  #urlProblem: string | undefined;
  #fetch: Fetch = trusting(undefined);
  #kept: Kept | undefined;
  #sentence: string | undefined;
  #problem: string | undefined;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #busy: Promise<void> = Promise.resolve();
  #disposed = false;

  constructor(options: AccountOptions) {
    this.#options = options;
  }

  get state(): AccountState {
    if (!this.#url) return { kind: 'none', ...(this.#urlProblem !== undefined && { sentence: this.#urlProblem }) };
    if (!this.#kept) return { kind: 'signed-out', url: this.#url, ...(this.#sentence !== undefined && { sentence: this.#sentence }) };
    return { kind: 'signed-in', url: this.#url, person: this.#kept.person, ...(this.#problem !== undefined && { problem: this.#problem }) };
  }

  /** What calls to the gateway carry now; undefined where there is none that holds. */
  get token(): { readonly value: string; readonly expiresAt: number } | undefined {
    const kept = this.#kept;
    return kept && kept.expiresAt > Date.now() ? { value: kept.access, expiresAt: kept.expiresAt } : undefined;
  }

  /** How the gateway is called: whom its certificate may be by is a setting. */
  get fetch(): Fetch {
    return this.#fetch;
  }

  /** Another gateway was set, or none. */
  async use(url: URL | undefined, { problem, via }: { readonly problem?: string; readonly via?: Fetch } = {}): Promise<void> {
    this.#url = url;
    this.#fetch = via ?? trusting(undefined);
    this.#urlProblem = problem;
    this.#sentence = undefined;
    await this.reload();
  }

  /** Reads what is kept again: another window has signed in, renewed or signed out. */
  async reload(): Promise<void> {
    const before = this.#kept;
    const text = await this.#options.storage.get().catch(() => undefined);
    const kept = text === undefined ? undefined : decode(text);
    this.#kept = this.#url && kept?.url === this.#url.href ? kept : undefined;
    if (this.#kept?.access !== before?.access) this.#problem = undefined;
    this.#plan();
    this.#options.changed();
  }

  async signedIn(tokens: Tokens, person: Person): Promise<void> {
    const url = this.#url;
    if (!url) throw new Problem('no-gateway', this.#options.t('No gateway is set any more.'));
    this.#sentence = undefined;
    this.#problem = undefined;
    await this.#keep({ ...tokens, url: url.href, person });
  }

  /** Forgets here at once, and ends the login at the gateway where that can be reached. @returns a sentence where it could not */
  async signOut(): Promise<string | undefined> {
    const { t, storage, changed } = this.#options;
    const kept = this.#kept;
    const url = this.#url;
    this.#kept = undefined;
    this.#sentence = undefined;
    this.#problem = undefined;
    this.#plan();
    await storage.delete();
    changed();
    if (!kept || !url) return undefined;
    try {
      await revoke(url, kept.refresh, this.#fetch);
      return undefined;
    } catch (error) {
      this.#options.log(`signing out: ${error instanceof Error ? error.message : 'failed'}`);
      return t('You are signed out here. The gateway could not be told; there, the sign-in ends by itself.');
    }
  }

  /** The gateway refused our token: it was revoked, or its login has ended. Renewing finds out which. */
  async refused(): Promise<void> {
    await this.renewNow(true);
  }

  /** Renews now, once at a time. */
  renewNow(force = false): Promise<void> {
    const done = this.#busy.then(() => this.#renew(force));
    this.#busy = done.catch(() => undefined);
    return done;
  }

  dispose(): void {
    this.#disposed = true;
    clearTimeout(this.#timer);
  }

  async #renew(force: boolean): Promise<void> {
    const url = this.#url;
    const mine = this.#kept;
    if (!url || !mine || this.#disposed) return;
    const kept = await this.#read();
    // Another window was faster, or signed out.
    if (!kept || kept.access !== mine.access) return await this.reload();
    if (!force && kept.expiresAt - Date.now() > aheadOf(kept) + SPREAD_MS) return this.#plan();
    if (!(await this.#claim(kept))) return await this.reload();
    try {
      const tokens = await renew(url, kept.refresh, this.#fetch);
      this.#failures = 0;
      this.#problem = undefined;
      await this.#keep({ ...tokens, url: kept.url, person: kept.person });
    } catch (error) {
      if (error instanceof Problem && error.code === 'sign-in-ended') {
        this.#options.log('the sign-in to the gateway has ended');
        this.#kept = undefined;
        this.#sentence = error.message;
        await this.#options.storage.delete();
      } else {
        this.#failures++;
        this.#problem = error instanceof Error ? error.message : String(error);
        // The next try may be another window's.
        await this.#options.storage.store(JSON.stringify({ ...kept, renewing: undefined }));
        this.#options.log(`renewing the sign-in: ${this.#problem}`);
      }
      this.#plan();
      this.#options.changed();
    }
  }

  /** Whether this window is the one that renews. Where it is another, waits until that has. */
  async #claim(kept: Kept): Promise<boolean> {
    const { storage } = this.#options;
    const other = kept.renewing;
    if (!other || other.by === this.#window || other.until <= Date.now()) {
      await storage.store(JSON.stringify({ ...kept, renewing: { by: this.#window, until: Date.now() + CLAIM_ENDS_MS } }));
      await sleep(CLAIM_MS);
    }
    for (const until = Date.now() + CLAIM_ENDS_MS; Date.now() < until; await sleep(CLAIM_MS)) {
      const now = await this.#read();
      if (!now || now.access !== kept.access) return false;
      if (now.renewing?.by === this.#window) return true;
      if (!now.renewing || now.renewing.until <= Date.now()) return false;
    }
    return false;
  }

  async #read(): Promise<Kept | undefined> {
    const text = await this.#options.storage.get();
    return text === undefined ? undefined : decode(text);
  }

  async #keep(kept: Kept): Promise<void> {
    this.#kept = kept;
    await this.#options.storage.store(JSON.stringify(kept));
    this.#plan();
    this.#options.changed();
  }

  #plan(): void {
    clearTimeout(this.#timer);
    const kept = this.#kept;
    if (!kept || this.#disposed) return;
    const random = this.#options.random ?? Math.random;
    const life = kept.expiresAt - kept.issuedAt;
    const due = kept.expiresAt - aheadOf(kept) - Date.now() + random() * Math.min(SPREAD_MS, life / 10);
    const wait = this.#failures > 0 ? Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(this.#failures - 1, 10)) : Math.max(0, due);
    this.#timer = setTimeout(() => void this.renewNow(this.#failures > 0).catch(() => undefined), wait);
    this.#timer.unref();
  }
}

/** One line for whoever asks how it stands. */
export function accountLine(state: AccountState, t: Translate): string | undefined {
  switch (state.kind) {
    case 'none':
      return state.sentence;
    case 'signed-out':
      return (
        state.sentence ??
        t('Not signed in to the gateway at {0}. Run the command “Countersign: Sign In to the Gateway”, or use the Accounts menu.', state.url.host)
      );
    case 'signed-in':
      return state.problem ?? t('Signed in to the gateway at {0} as {1}.', state.url.host, personLabel(state.person));
  }
}

function aheadOf({ issuedAt, expiresAt }: Kept): number {
  return Math.min(RENEW_BEFORE_MS, (expiresAt - issuedAt) / 3);
}

function decode(text: string): Kept | undefined {
  try {
    return Kept.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
