/**
 * The organisation's policy on a laptop, as the gateway hands it over: believed by the keys that were pinned when the person
 * signed in, kept in a sealed file for starts without the gateway, in force until its time is over. What cannot be believed
 * changes nothing; where nothing holds and something should, everything is denied.
 */
import type { OrganisationText, OrganisationView } from '../../contract/control.ts';
import { LaptopPolicy } from '../../contract/gateway/policy.ts';
import type { Clock, Log } from '../pipeline/engine.ts';
import { loadPolicy, type PolicyLayer } from './load.ts';
import type { KeptPolicy, OrganisationFile } from './organisationFile.ts';
import { checkSignedPolicy, vouchedFor } from './signedPolicy.ts';

/** How often its time is looked at, in milliseconds: a timer does not run while the machine sleeps. */
const LOOK_EVERY_MS = 5_000;
/** A later end is not written down before it is this much later, in milliseconds: it comes anew every minute. */
const REWRITE_MS = 5 * 60_000;

/** The gateway that the editor names, and the sign-in there. */
export interface ExpectedGateway {
  readonly url: string;
  /** What the person's token stands on: another one means that they signed in anew. Absent: nobody is signed in. */
  readonly basis?: string;
}

export interface OrganisationOptions {
  readonly file: Pick<OrganisationFile, 'load' | 'save' | 'forget' | 'path'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Another layer holds, or something about it that is shown. */
  readonly changed: () => void;
}

type Standing = 'none' | 'waiting' | 'in-force' | 'expired' | 'spoilt';

export class OrganisationPolicy {
  readonly #options: OrganisationOptions;
  #kept: KeptPolicy | undefined;
  #spoilt = false;
  #expected: ExpectedGateway | undefined;
  /** Whether an editor has said anything yet about a gateway. */
  #told = false;
  #problem: string | undefined;
  /** What is in force is not on disk as it is. */
  #unsaved = false;
  #shown = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(options: OrganisationOptions) {
    this.#options = options;
  }

  start(): void {
    const loaded = this.#options.file.load();
    if (loaded.state === 'spoilt') this.#spoilt = true;
    if (loaded.state === 'read') this.#kept = loaded.kept;
    this.#shown = this.#picture();
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** What an editor says. Neither signing out nor another address takes a policy away before its time. */
  expect(gateway: ExpectedGateway | undefined): void {
    this.#told = true;
    this.#expected = gateway;
    this.#look();
  }

  /** What the gateway says; nobody has looked at it. @returns why it was not believed */
  take(given: unknown): string | undefined {
    const why = this.#take(given);
    if (why !== undefined && why !== this.#problem) this.#options.log.warn('organisation-policy.refused', { why });
    this.#problem = why;
    this.#look();
    return why;
  }

  /** To be put above every file; undefined where there is no organisation. */
  layer(): PolicyLayer | undefined {
    const kept = this.#kept;
    switch (this.#standing) {
      case 'none':
        return undefined;
      case 'in-force': {
        const statement = kept?.policy?.statement;
        if (!statement) throw new Error('no policy is in force');
        return { layer: 'organisation', file: nameOf(statement), text: statement.text, signed: { person: statement.person } };
      }
      case 'waiting':
      case 'expired':
      case 'spoilt':
        return {
          layer: 'organisation',
          file: 'the organisation’s policy',
          // JSON is YAML.
          text: JSON.stringify({
            version: 1,
            rules: [{ id: `organisation-policy-${this.#standing}`, when: 'true', verdict: 'deny', say: this.#sentence.slice(0, 1000) }],
          }),
        };
    }
  }

  /** The text in force, for whoever wants to read it. */
  text(): OrganisationText {
    const layer = this.#standing === 'in-force' ? this.layer() : undefined;
    return layer ? { file: layer.file, text: layer.text } : null;
  }

  view(): OrganisationView | undefined {
    const standing = this.#standing;
    const gateway = (standing === 'waiting' ? this.#expected?.url : (this.#kept?.url ?? this.#expected?.url)) ?? '';
    if (standing === 'none' && this.#kept === undefined && this.#problem === undefined) return undefined;
    const statement = this.#kept?.policy?.statement;
    const sentence = this.#sentence || this.#problem;
    return {
      gateway: gateway.slice(0, 2000),
      state: standing,
      ...(statement && { file: nameOf(statement), version: statement.version, since: statement.since, expiresAt: statement.expiresAt }),
      ...(sentence !== undefined && sentence !== '' && { problem: sentence.slice(0, 1000) }),
    };
  }

  get #standing(): Standing {
    if (this.#spoilt) return 'spoilt';
    const expected = this.#expected;
    const statement = this.#kept?.policy?.statement;
    const isHere = this.#kept !== undefined && (expected === undefined || expected.url === this.#kept.url);
    if (statement && statement.expiresAt > this.#options.clock.now()) return 'in-force';
    // Signed in to a gateway that has not said anything: its policy may deny what no file here does.
    if (expected?.basis !== undefined && !isHere) return 'waiting';
    if (!statement) return 'none';
    // Its time is over. Whoever has left that gateway is bound by it no longer.
    return this.#told && expected?.url !== this.#kept?.url ? 'none' : 'expired';
  }

  /** What is wrong, and what to do; empty where nothing is. */
  get #sentence(): string {
    const host = hostOf(this.#kept?.url ?? this.#expected?.url ?? '');
    const because = this.#problem === undefined ? '' : ` ${this.#problem}`;
    switch (this.#standing) {
      case 'none':
      case 'in-force':
        return '';
      case 'waiting':
        return `The organisation’s policy has not come from the gateway at ${hostOf(this.#expected?.url ?? '')} yet, so everything is denied here. It is asked for by itself.${because}`;
      case 'expired':
        return `The organisation’s policy from ${host} is out of date, so everything is denied here. Sign in to the gateway; a new one comes by itself. If you have left it for good, delete ${this.#options.file.path} and restart Countersign.${because}`;
      case 'spoilt':
        return `The kept copy of the organisation’s policy was changed or is damaged, so everything is denied here. Sign in to the gateway; a new one comes by itself. If you have left it for good, delete ${this.#options.file.path} and restart Countersign.${because}`;
    }
  }

  #take(given: unknown): string | undefined {
    const expected = this.#expected;
    if (expected?.basis === undefined) return 'Nobody is signed in to that gateway any more.';
    const host = hostOf(expected.url);
    const parsed = LaptopPolicy.safeParse(given);
    if (!parsed.success) return `What the gateway at ${host} sent is no policy that this version understands. Update Countersign, here or there.`;
    const { keys, policy } = parsed.data;
    const own = keys.statement.keys;
    if (!vouchedFor(keys, expected.url, own)) return `The keys that came from the gateway at ${host} are not its own. Ask whoever runs it.`;
    const before = this.#kept?.url === expected.url ? this.#kept : undefined;
    const known = before !== undefined && vouchedFor(keys, expected.url, before.keys);
    if (before !== undefined && !known && before.basis === expected.basis) {
      return `The gateway at ${host} signs with keys that nothing known here vouches for, so its policy was not taken. Ask whoever runs it; if keys were replaced, sign out of the gateway and in again.`;
    }
    const seen = known ? before.seen : 0;
    if (policy === null && seen > 0) return `The gateway at ${host} has no policy, and version ${seen} was in force. Ask whoever runs it.`;
    const now = this.#options.clock.now();
    if (policy !== null) {
      const checked = checkSignedPolicy(policy, { issuer: expected.url, keys: { keys: own }, now, seen });
      if (!checked.ok) {
        const { version } = policy.statement;
        return `Version ${version} of the organisation’s policy from ${host} was not taken: ${checked.why}.${seen > version ? ` Version ${seen} was in force; whoever runs the gateway must put a newer one in force.` : ''}`;
      }
      const { statement } = checked;
      const loaded = loadPolicy([{ layer: 'organisation', file: nameOf(statement), text: statement.text, signed: { person: statement.person } }]);
      if (!loaded.ok)
        return `Version ${statement.version} of the organisation’s policy from ${host} cannot be read by this version of Countersign. Update it. (${loaded.problems[0]?.message ?? ''})`;
    }
    const next: KeptPolicy = {
      v: 1,
      url: expected.url,
      basis: expected.basis,
      keys: own,
      seen: policy?.statement.version ?? 0,
      policy,
    };
    const isNew = this.#spoilt || this.#unsaved || differs(before, next);
    this.#kept = next;
    this.#spoilt = false;
    if (isNew) {
      this.#unsaved = true;
      try {
        this.#options.file.save(next);
        this.#unsaved = false;
      } catch (cause) {
        this.#options.log.error('organisation-policy.not-kept', { cause });
        // In force all the same, for as long as this proxy runs.
        return `The organisation’s policy is in force, and could not be written to ${this.#options.file.path}: after a restart without the gateway an older one would hold. Check the disk.`;
      }
      this.#options.log.info('organisation-policy.taken', { gateway: host, version: next.seen, keys: known ? 'known' : 'pinned now' });
    }
    return undefined;
  }

  #look(): void {
    // What has ended and binds nobody is not kept for an end that never comes.
    if (this.#standing === 'none' && this.#kept?.policy) {
      this.#kept = undefined;
      this.#options.file.forget();
    }
    const picture = this.#picture();
    if (picture === this.#shown) return;
    this.#shown = picture;
    this.#options.changed();
  }

  #picture(): string {
    return JSON.stringify([this.layer(), this.view()]);
  }
}

function nameOf({ issuer, version }: { readonly issuer: string; readonly version: number }): string {
  return `the policy of ${hostOf(issuer)}, version ${version}`;
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'the gateway';
}

function differs(a: KeptPolicy | undefined, b: KeptPolicy): boolean {
  const text = (kept: KeptPolicy | undefined): string => {
    const statement = kept?.policy?.statement;
    return JSON.stringify([kept?.url, kept?.basis, kept?.keys, statement?.version, statement?.text, statement?.person]);
  };
  if (text(a) !== text(b)) return true;
  return (b.policy?.statement.expiresAt ?? 0) - (a?.policy?.statement.expiresAt ?? 0) > REWRITE_MS;
}
