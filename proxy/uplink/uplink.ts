/**
 * The proxy's end of the tunnel: keeps one link to the gateway, tries again when it is gone, and says how it stands. Streams
 * that are open go on over a new connection where it comes soon, and end with a sentence where it does not.
 */
import { Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';
import { FromGateway, type OfferedConnection, RESUME_MS, type StreamOpening, type ToGateway } from '../../contract/tunnel.ts';
import type { Clock, Log } from '../pipeline/engine.ts';
import { Carrier } from './carrier.ts';
import { TunnelViolation } from './frames.ts';
import { greetGateway, type Welcome } from './greeting.ts';
import type { Environment } from './httpProxy.ts';
import { endedStream, type MuxStream } from './muxStream.ts';
import { SIGNED_OUT, type UplinkState, whyNot } from './uplinkState.ts';

/** The first wait before another try, and the longest, in milliseconds; each is jittered by half. */
const FIRST_WAIT_MS = 200;
const MAX_WAIT_MS = 15_000;
/** How long before a token expires the next one is asked for, in milliseconds. */
const RENEW_BEFORE_MS = 60_000;
/** Longest timer that is set, in milliseconds: `setTimeout` knows none beyond 2^31. */
const MAX_TIMER_MS = 24 * 3_600_000;

export interface AccessToken {
  readonly token: Secret;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

export interface UplinkOptions {
  /** The gateway's base address. */
  readonly url: URL;
  /** The person's access token now, refreshed by whoever keeps it; undefined where nobody is signed in. */
  readonly token: () => Promise<AccessToken | undefined>;
  readonly version: string;
  readonly env: Environment;
  readonly ca?: string;
  readonly clock: Clock;
  readonly log: Log;
  /** 0 ≤ n < 1. */
  readonly random: () => number;
  /** State or offered connections are other ones now. */
  readonly changed: () => void;
  /** The organisation's policy is another one now: `tag` names it. Absent: it is of no interest. */
  readonly policy?: (tag: string) => void;
  /** An edge: the gateway opens streams here. */
  readonly edge?: {
    readonly name: string;
    readonly onStream: (opening: Buffer, stream: MuxStream) => void;
    /** Where the gateway is, and what may be asked for. */
    readonly heard: (said: Extract<FromGateway, { type: 'edge' }>) => void;
  };
  /** Shorter ones are for tests. */
  readonly resumeMs?: number;
  readonly firstWaitMs?: number;
}

interface Current {
  readonly carrier: Carrier;
  place: Welcome['link'];
  expiresAt: number;
  renewal: NodeJS.Timeout | undefined;
  /** Set while its WebSocket is gone. */
  giveUp: NodeJS.Timeout | undefined;
  /** The gateway has asked for new streams to go elsewhere, or has said that it is over. */
  leaving: boolean;
}

export class Uplink {
  readonly #options: UplinkOptions;
  readonly #stop = new AbortController();
  readonly #draining = new Set<Current>();
  #current: Current | undefined;
  #state: UplinkState = { state: 'connecting' };
  #offered: readonly OfferedConnection[] = [];
  #wake: (() => void) | undefined;
  #woken = false;
  #handOver: (() => void) | undefined;
  #loop: Promise<void> | undefined;
  /** Why the last link ended for good, until there is another. */
  #bye: { readonly code: string; readonly sentence: string } | undefined;

  constructor(options: UplinkOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  get state(): UplinkState {
    return this.#state;
  }

  /** What the gateway offers this person, as it said last. */
  get offered(): readonly OfferedConnection[] {
    return this.#offered;
  }

  get host(): string {
    return this.#options.url.host;
  }

  /** A stream to the gateway. Where there can be none it comes destroyed, with the code and the sentence that say why. */
  open(opening: StreamOpening): MuxStream {
    if (this.#current) return this.#current.carrier.mux.open(opening);
    return endedStream(whyNot(this.#state));
  }

  /** Streams on links that are being left, too: a request to cancel goes to wherever its session lives. */
  openOnEach(opening: StreamOpening): readonly MuxStream[] {
    const links = [...(this.#current ? [this.#current] : []), ...this.#draining];
    return links.map(({ carrier }) => carrier.mux.open(opening));
  }

  /** Says something of its own to the gateway. False where it cannot be said now. */
  say(control: Extract<ToGateway, { type: 'edge' }>): boolean {
    return this.#current?.carrier.say(control) ?? false;
  }

  /** Streams that are open, on links that are being left as well. */
  get streams(): number {
    let streams = this.#current?.carrier.mux.size ?? 0;
    for (const { carrier } of this.#draining) streams += carrier.mux.size;
    return streams;
  }

  /** A token came, changed or went: use it now. */
  tokenChanged(): void {
    if (this.#current?.carrier.attached) void this.#renew(this.#current, true);
    else this.#wakeUp();
  }

  /** Ends every stream with a sentence. */
  async stop(sentence: string): Promise<void> {
    this.#stop.abort();
    this.#wakeUp();
    for (const link of [...(this.#current ? [this.#current] : []), ...this.#draining]) {
      link.carrier.say({ type: 'bye', sentence });
      this.#close(link, 'gateway-stopped', sentence);
    }
    this.#set({ state: 'stopped', sentence });
    await this.#loop;
  }

  // ── the loop ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      try {
        const token = await this.#options.token();
        if (!token || token.expiresAt <= this.#options.clock.now()) {
          this.#endCurrent('gateway-signed-out', this.#bye?.sentence ?? SIGNED_OUT);
          this.#set({ state: 'signed-out', sentence: this.#bye?.sentence ?? SIGNED_OUT });
          await this.#sleep(undefined);
          continue;
        }
        const { gone } = await this.#connect(token);
        failures = 0;
        await Promise.race([gone, new Promise<void>((resolve) => (this.#handOver = resolve))]);
        if (this.#stop.signal.aborted) return;
        // Whoever cut us off meant it: with the same token there is no use in coming back.
        if (this.#bye?.code === 'token-expired' || this.#bye?.code === 'revoked') {
          this.#set({ state: 'signed-out', sentence: this.#bye.sentence });
          await this.#sleep(undefined);
          continue;
        }
        this.#set(this.#current ? { state: 'resuming' } : { state: 'connecting' });
      } catch (cause) {
        if (this.#stop.signal.aborted) return;
        const problem =
          cause instanceof Problem ? cause : new Problem('gateway-unreachable', 'The gateway cannot be reached because of a fault in Countersign.', { cause });
        this.#options.log[cause instanceof Problem ? 'info' : 'error']('uplink.not-connected', { code: problem.code, why: problem.message });
        this.#failed(problem);
        if (problem.code === 'gateway-signed-out') {
          await this.#sleep(undefined);
          continue;
        }
        failures++;
      }
      await this.#sleep(this.#wait(failures));
    }
  }

  #failed({ code, message: sentence }: Problem): void {
    if (code === 'gateway-signed-out' || code === 'gateway-refused') this.#endCurrent(code, sentence);
    if (code === 'gateway-signed-out') this.#set({ state: 'signed-out', sentence });
    else if (code === 'gateway-refused' || code === 'gateway-address' || code === 'gateway-proxy') this.#set({ state: 'refused', sentence });
    else if (code === 'gateway-certificate') this.#set({ state: 'certificate', sentence });
    // While the link may still be resumed, what is open waits, and so may what is new.
    else if (!this.#current) this.#set({ state: 'unreachable', sentence });
    else this.#set({ state: 'resuming' });
  }

  async #connect({ token }: AccessToken): Promise<{ readonly gone: Promise<void> }> {
    const { url, env, ca, edge, version } = this.#options;
    const before = this.#current;
    const resume = before && { ...before.place, received: before.carrier.received };
    const accepts = this.#options.policy && { accepts: ['policy'] };
    const hello = { type: 'hello', version, ...(resume && { resume }), ...(edge && { edge: edge.name }), ...accepts } as const;
    return greetGateway({
      url,
      env,
      ...(ca !== undefined && { ca }),
      token,
      hello,
      signal: this.#stop.signal,
      welcomed: (socket, welcome) => {
        this.#bye = undefined;
        let link = this.#current;
        if (!link || !welcome.resumed || link !== before) {
          this.#endCurrent('gateway-lost', 'The connection to the gateway was lost for too long, or another gateway answered. Connect again.');
          link = this.#newLink(welcome);
        }
        clearTimeout(link.giveUp);
        link.giveUp = undefined;
        link.place = welcome.link;
        this.#current = link;
        this.#expires(link, welcome.expiresAt);
        link.carrier.bind(socket, welcome.link.received);
        this.#options.log.info('uplink.connected', { gateway: url.host, resumed: welcome.resumed });
        this.#set({ state: 'ready', person: welcome.person });
      },
    });
  }

  #newLink(welcome: Welcome): Current {
    const { clock, edge, log } = this.#options;
    const link: Current = {
      carrier: new Carrier({
        role: 'client',
        now: () => clock.now(),
        log,
        ...(edge && { onStream: edge.onStream }),
        onCount: (streams) => {
          if (streams === 0 && this.#draining.has(link)) this.#leave(link);
        },
        onControl: (said) => this.#heard(link, said),
        onDetached: () => this.#detached(link),
        onBroken: (sentence) => this.#close(link, 'tunnel-broken', sentence),
      }),
      place: welcome.link,
      expiresAt: welcome.expiresAt,
      renewal: undefined,
      giveUp: undefined,
      leaving: false,
    };
    return link;
  }

  #heard(link: Current, said: unknown): void {
    const parsed = FromGateway.safeParse(said);
    if (!parsed.success) throw new TunnelViolation('a control message that this version does not know');
    switch (parsed.data.type) {
      case 'connections':
        if (link !== this.#current) return;
        this.#offered = parsed.data.connections;
        this.#options.changed();
        return;
      case 'policy':
        if (link === this.#current) this.#options.policy?.(parsed.data.tag);
        return;
      case 'token':
        this.#expires(link, parsed.data.expiresAt);
        return;
      case 'edge':
        return this.#options.edge?.heard(parsed.data);
      case 'drain':
        this.#options.log.info('uplink.drained', { why: parsed.data.sentence });
        return this.#drain(link);
      case 'bye':
        this.#bye = parsed.data;
        return this.#close(link, `gateway-${parsed.data.code}`, parsed.data.sentence);
      case 'welcome':
        throw new TunnelViolation('a second welcome');
    }
  }

  /** New streams go to another gateway; what is open here goes on until it ends or is cut. */
  #drain(link: Current): void {
    if (link !== this.#current) return;
    link.leaving = true;
    this.#current = undefined;
    this.#draining.add(link);
    this.#set({ state: 'connecting' });
    if (link.carrier.mux.size === 0) this.#leave(link);
    // The loop waits for this WebSocket's end, which may be far; the next is due now.
    this.#wakeUp();
    this.#handOver?.();
  }

  #leave(link: Current): void {
    link.carrier.say({ type: 'bye', sentence: 'All sessions have ended.' });
    this.#close(link, 'gateway-draining', 'The gateway is shutting down. Connect again.');
  }

  #detached(link: Current): void {
    if (this.#draining.has(link)) return this.#close(link, 'gateway-draining', 'The gateway shut down. Connect again.');
    if (link !== this.#current) return;
    link.giveUp = setTimeout(() => {
      this.#close(link, 'gateway-lost', 'The gateway could not be reached for too long. Connect again when it is back.');
      this.#set({ state: 'unreachable', sentence: `The gateway at ${this.host} cannot be reached. Check the network; it is tried again by itself.` });
    }, this.#options.resumeMs ?? RESUME_MS);
    link.giveUp.unref();
  }

  #endCurrent(code: string, sentence: string): void {
    if (this.#current) this.#close(this.#current, code, sentence);
  }

  #close(link: Current, code: string, sentence: string): void {
    clearTimeout(link.giveUp);
    clearTimeout(link.renewal);
    this.#draining.delete(link);
    // What was offered is remembered: ports stay, and whoever connects is told why it does not work.
    if (this.#current === link) this.#current = undefined;
    link.carrier.close(code, sentence);
  }

  // ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #expires(link: Current, expiresAt: number): void {
    link.expiresAt = expiresAt;
    clearTimeout(link.renewal);
    const left = expiresAt - this.#options.clock.now();
    // Short-lived tokens are renewed when half their life is left.
    const wait = Math.min(MAX_TIMER_MS, Math.max(left - RENEW_BEFORE_MS, left / 2, 0));
    link.renewal = setTimeout(() => void this.#renew(link, false), wait);
    link.renewal.unref();
  }

  async #renew(link: Current, told: boolean): Promise<void> {
    try {
      const token = await this.#options.token();
      if (token && token.expiresAt > link.expiresAt) link.carrier.say({ type: 'token', token: token.token.reveal() });
      else if (!token && told) {
        this.#bye = undefined;
        // What was asked there is taken back now, not when the gateway has waited for us in vain.
        link.carrier.say({ type: 'bye', sentence: 'Signed out.' });
        this.#close(link, 'gateway-signed-out', 'You signed out of the gateway.');
        this.#wakeUp();
      } else if (token) this.#expiresUnchanged(link);
    } catch (cause) {
      this.#options.log.warn('uplink.not-renewed', { cause });
      this.#expiresUnchanged(link);
    }
  }

  /** No newer token yet: asked again when half of what is left has passed. */
  #expiresUnchanged(link: Current): void {
    const left = link.expiresAt - this.#options.clock.now();
    if (left < 1_000 || link.carrier.closed) return;
    clearTimeout(link.renewal);
    link.renewal = setTimeout(() => void this.#renew(link, false), left / 2);
    link.renewal.unref();
  }

  // ── waiting ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #wait(failures: number): number {
    const first = this.#options.firstWaitMs ?? FIRST_WAIT_MS;
    const full = Math.min(MAX_WAIT_MS, first * 2 ** Math.min(failures, 20));
    return full / 2 + (this.#options.random() * full) / 2;
  }

  /** @param ms absent: until somebody wakes it */
  async #sleep(ms: number | undefined): Promise<void> {
    if (!this.#woken && !this.#stop.signal.aborted) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (ms !== undefined) timer = setTimeout(resolve, ms);
      });
      clearTimeout(timer);
    }
    this.#woken = false;
    this.#wake = undefined;
  }

  #wakeUp(): void {
    this.#woken = true;
    this.#wake?.();
  }

  #set(state: UplinkState): void {
    if (this.#state.state === 'stopped' || JSON.stringify(state) === JSON.stringify(this.#state)) return;
    this.#state = state;
    this.#options.changed();
  }
}
