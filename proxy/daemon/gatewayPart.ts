/**
 * The proxy's one gateway: which it is and whose token counts, as the editor hands over; and the tunnel to it. The token is
 * kept in memory alone. Before there is a gateway, this is one that nobody is signed in to.
 */
import { z } from 'zod';
import type { GatewayView, PutGateway } from '../../contract/control.ts';
import { Problem } from '../../contract/problem.ts';
import { Secret } from '../../contract/secret.ts';
import type { OfferedConnection, StreamOpening } from '../../contract/tunnel.ts';
import type { Clock, Log } from '../pipeline/engine.ts';
import type { ExpectedGateway, OrganisationPolicy } from '../policy/organisation.ts';
import { endedStream, type MuxStream } from '../uplink/muxStream.ts';
import { PolicyFeed } from '../uplink/policyFeed.ts';
import type { SharedUplink } from '../uplink/sharedState.ts';
import { type AccessToken, Uplink } from '../uplink/uplink.ts';
import { type UplinkState, whyNot } from '../uplink/uplinkState.ts';

const NO_GATEWAY =
  'This connection is reached through a gateway, and this proxy is signed in to none. Sign in to the gateway with the Accounts menu of the editor.';

const NOBODY_TO_ASK = 'this machine is signed in to no gateway. Sign in to yours with the Accounts menu of the editor, then try again.';

const TokenPayload = z.object({ basis: z.string().max(128) });

export interface GatewayPartOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly changed: () => void;
  /** Whom to hand the organisation's policy to, and whom to tell which gateway it comes from. */
  readonly organisation: Pick<OrganisationPolicy, 'expect' | 'take'>;
}

export class GatewayPart implements SharedUplink {
  readonly #options: GatewayPartOptions;
  #uplink: Uplink | undefined;
  #feed: PolicyFeed | undefined;
  #url = '';
  #ca: string | undefined;
  #token: AccessToken | undefined;
  #stopping: Promise<void> = Promise.resolve();

  constructor(options: GatewayPartOptions) {
    this.#options = options;
  }

  /** @throws Problem `gateway-address` */
  put(given: PutGateway): void {
    if (given === null) {
      this.#replace(undefined, 'You signed out of the gateway.');
      return;
    }
    const { ca, token } = given;
    const url = addressOf(given.url);
    const next = token ? { token: new Secret(token.value), expiresAt: token.expiresAt } : undefined;
    if (this.#uplink && this.#url === url.href && this.#ca === ca) {
      // Every window hands over what it has: the one that lasts longest counts.
      if (next && this.#token && next.expiresAt < this.#token.expiresAt && this.#token.expiresAt > this.#options.clock.now()) return;
      this.#token = next;
      this.#expect();
      this.#uplink.tokenChanged();
      return;
    }
    const { changed, clock, env, log, organisation, version } = this.#options;
    const feed = new PolicyFeed({ open: (opening) => this.open(opening), take: (policy) => organisation.take(policy), log });
    this.#token = next;
    this.#ca = ca;
    this.#url = url.href;
    this.#replace(
      new Uplink({
        url,
        token: () => Promise.resolve(this.#token),
        version,
        env,
        ...(ca !== undefined && { ca }),
        clock,
        log,
        random: Math.random,
        changed,
        policy: (tag) => feed.offered(tag),
      }),
      'Another gateway was chosen.',
      feed,
    );
  }

  get state(): UplinkState {
    return this.#uplink?.state ?? { state: 'signed-out', sentence: NO_GATEWAY };
  }

  get offered(): readonly OfferedConnection[] {
    return this.#uplink?.offered ?? [];
  }

  get host(): string {
    return this.#uplink?.host ?? 'gateway';
  }

  get view(): GatewayView | undefined {
    const { state } = this;
    if (!this.#uplink) return undefined;
    return {
      url: this.#url.slice(0, 2000),
      state: state.state,
      ...(state.state === 'ready' && { person: state.person }),
      ...('sentence' in state && { problem: state.sentence.slice(0, 1000) }),
    };
  }

  open(opening: StreamOpening): MuxStream {
    if (this.#uplink) return this.#uplink.open(opening);
    return endedStream(opening.kind === 'ask' ? { code: 'gateway-none', sentence: NOBODY_TO_ASK } : whyNot(this.state));
  }

  openOnEach(opening: StreamOpening): readonly MuxStream[] {
    return this.#uplink?.openOnEach(opening) ?? [];
  }

  async stop(sentence: string): Promise<void> {
    this.#feed?.stop();
    await this.#uplink?.stop(sentence);
    await this.#stopping;
  }

  #expect(): void {
    const token = this.#token;
    const gateway: ExpectedGateway | undefined = this.#uplink && { url: this.#url, ...(token && { basis: basisOf(token.token) }) };
    this.#options.organisation.expect(gateway);
  }

  #replace(uplink: Uplink | undefined, sentence: string, feed?: PolicyFeed): void {
    const before = this.#uplink;
    this.#feed?.stop();
    this.#feed = feed;
    this.#uplink = uplink;
    if (!uplink) this.#token = undefined;
    this.#expect();
    if (before) this.#stopping = Promise.all([this.#stopping, before.stop(sentence)]).then(() => {});
    uplink?.start();
    this.#options.changed();
  }
}

/** What a token of a gateway stands on, as it says: read, not checked, for the editor handed it over. */
function basisOf(token: Secret): string {
  try {
    return TokenPayload.parse(JSON.parse(Buffer.from(token.reveal().split('.')[1] ?? '', 'base64url').toString('utf8'))).basis;
  } catch {
    return '';
  }
}

function addressOf(text: string): URL {
  try {
    const url = new URL(text);
    if ((url.protocol === 'https:' || url.protocol === 'http:') && url.username === '' && url.password === '') return url;
  } catch {
    // Said below.
  }
  throw new Problem('gateway-address', 'The gateway’s address cannot be read. Write https://HOST, without a login.');
}
