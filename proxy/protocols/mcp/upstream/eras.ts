/** Finds out which era a server speaks, and lets whoever uses it speak the other. */
import { type Id, isObject, type Json, type JsonObject, type Message, type Reply } from '../message.ts';
import { withoutTasks } from '../taskShapes.ts';
import { Burst } from './burst.ts';
import { StatelessServer } from './stateless.ts';
import type { Channel, ChannelEvents, Era, Outgoing, Upstream, UpstreamEvents } from './upstream.ts';

/** How long a server may take to answer `server/discover`: one of the older era need not answer it at all, in milliseconds. */
const PROBE_MS = 5_000;
/** Messages that are taken from one server in one stretch of time. */
const MAX_BURST = 1_000;
/** What servers of the stateless era say to `initialize`. */
const NOT_SESSIONS: ReadonlySet<number> = new Set([-32_601, -32_602, -32_600, -32_020, -32_022]);

const STATELESS_VERSION = '2026-07-28';
const UNSUPPORTED_VERSION = -32_022;

/** What was found out about a server, kept by whoever outlives its sessions. */
export interface KnownEras {
  /** It has refused `initialize`; it has refused `server/discover`. A server may well speak both. */
  notSessions: boolean;
  notStateless: boolean;
}

type Request = Extract<Outgoing, { readonly id: Id; readonly method: string }>;

export class EraServer implements Upstream {
  readonly #events: UpstreamEvents;
  readonly #known: KnownEras;
  readonly #channel: Channel;
  #era: Era | undefined;
  #stateless: StatelessServer | undefined;
  readonly #burst: Burst;
  /** The request whose answer tells. */
  #probe: { readonly request: Request; readonly as: Era; readonly again: boolean; timer: NodeJS.Timeout | undefined } | undefined;

  constructor(events: UpstreamEvents, known: KnownEras, open: (on: ChannelEvents) => Channel) {
    this.#events = events;
    this.#known = known;
    this.#channel = open({
      onMessage: (message, about) => this.#received(message, about),
      ...(events.onStream && { onStream: events.onStream }),
      ...(events.onBreak && { onBreak: events.onBreak }),
      onExit: (why) => {
        clearTimeout(this.#probe?.timer);
        this.#stateless?.stop();
        events.onExit(why);
      },
    });
    this.#burst = new Burst(this.#channel, MAX_BURST);
  }

  get running(): boolean {
    return this.#channel.running;
  }

  get era(): Era | undefined {
    return this.#era;
  }

  send(message: Outgoing): void {
    if (this.#stateless) return this.#stateless.send(message);
    if (this.#era === undefined && 'method' in message && 'id' in message && !this.#probe) {
      if (message.method === 'initialize') return this.#known.notSessions ? this.#discover(message) : this.#initialize(message);
      if (message.method === 'server/discover') {
        if (!this.#known.notStateless) return this.#discover(message);
        return this.#answer(message.id, { error: { code: -32_601, message: 'Method not found' } });
      }
    }
    return this.#channel.send(message);
  }

  pause(): void {
    this.#channel.pause();
  }

  resume(): void {
    this.#channel.resume();
  }

  stop(): Promise<void> {
    clearTimeout(this.#probe?.timer);
    this.#burst.stop();
    this.#stateless?.stop();
    return this.#channel.stop();
  }

  #initialize(request: Request): void {
    this.#probe = { request, as: 'sessions', again: false, timer: undefined };
    this.#channel.send(request);
  }

  #discover(request: Request, again = false): void {
    const timer = setTimeout(() => this.#probed({ error: { code: -32_601, message: 'The server did not answer.' } }), PROBE_MS);
    this.#probe = { request, as: 'stateless', again, timer };
    const params = request.method === 'server/discover' ? request.params : { _meta: envelopeOf(request.params) };
    this.#channel.send({ id: request.id, method: 'server/discover', ...(params && { params }) });
  }

  #received(message: Message, about: Id | undefined): void {
    this.#burst.count();
    if (this.#stateless) return this.#stateless.received(message, about);
    if (message.kind === 'response' && this.#probe && message.id === this.#probe.request.id) return this.#probed(message.reply);
    return this.#events.onMessage(message, about);
  }

  #probed(reply: Reply): void {
    const probe = this.#probe;
    if (!probe) return undefined;
    clearTimeout(probe.timer);
    this.#probe = undefined;
    const { again, as, request } = probe;
    if (as === 'sessions') {
      if ('error' in reply && NOT_SESSIONS.has(reply.error.code) && !this.#known.notStateless) return this.#discover(request);
      if ('result' in reply) this.#era = 'sessions';
      return this.#answer(request.id, reply);
    }
    // It has refused the version and named it in one: it is asked once more before it is taken for one of the older era.
    if (!again && 'error' in reply && reply.error.code === UNSUPPORTED_VERSION && names(reply.error.data)) return this.#discover(request, true);
    const versions = 'result' in reply ? reply.result.supportedVersions : undefined;
    if (!('result' in reply) || !Array.isArray(versions) || !(versions as readonly Json[]).includes(STATELESS_VERSION)) {
      this.#known.notSessions = false;
      // What is not reached says nothing about itself.
      this.#known.notStateless = !('error' in reply) || reply.error.code !== -32_000;
      return this.#answer(request.id, 'error' in reply ? reply : { error: { code: -32_022, message: 'No version of the protocol is common to both sides.' } });
    }
    this.#era = 'stateless';
    const sessions = request.method === 'initialize';
    if (sessions) this.#known.notSessions = true;
    this.#stateless = new StatelessServer({
      events: this.#events,
      channel: this.#channel,
      capabilities: isObject(reply.result.capabilities) ? reply.result.capabilities : {},
      envelope: sessions ? envelopeOf(request.params) : envelopeIn(request.params),
      translate: sessions,
    });
    return this.#answer(request.id, sessions ? { result: initialized(request.params, reply.result) } : reply);
  }

  #answer(id: Id, reply: Reply): void {
    this.#events.onMessage({ kind: 'response', id, reply }, id);
  }
}

/** What each request of the stateless era says of its client, from what one of the older era said once. */
function envelopeOf(initialize: JsonObject | undefined): JsonObject {
  return {
    'io.modelcontextprotocol/protocolVersion': STATELESS_VERSION,
    'io.modelcontextprotocol/clientInfo': isObject(initialize?.clientInfo) ? initialize.clientInfo : { name: 'countersign', version: '1.0.0' },
    'io.modelcontextprotocol/clientCapabilities': isObject(initialize?.capabilities) ? withoutTasks(initialize.capabilities) : {},
  };
}

/** Whether a server that refuses the version says that it speaks it. */
function names(data: Json | undefined): boolean {
  return isObject(data) && Array.isArray(data.supported) && (data.supported as readonly Json[]).includes(STATELESS_VERSION);
}

const ENVELOPE = ['protocolVersion', 'clientInfo', 'clientCapabilities'].map((name) => `io.modelcontextprotocol/${name}`);

function envelopeIn(params: JsonObject | undefined): JsonObject {
  return Object.fromEntries(Object.entries(isObject(params?._meta) ? params._meta : {}).filter(([name]) => ENVELOPE.includes(name)));
}

/** Capabilities that mean the same in both eras; tasks do not. */
const COMMON = ['tools', 'prompts', 'resources', 'completions', 'logging', 'experimental'];
const NEWEST_SESSIONS = '2025-11-25';
const SESSIONS_VERSIONS: readonly Json[] = ['2024-11-05', '2025-03-26', '2025-06-18', NEWEST_SESSIONS];

/** The answer to `initialize` that a server of the stateless era would have given. */
function initialized(params: JsonObject | undefined, discovered: JsonObject): JsonObject {
  const capabilities = isObject(discovered.capabilities) ? discovered.capabilities : {};
  const meta = isObject(discovered._meta) ? discovered._meta : {};
  const { 'io.modelcontextprotocol/serverInfo': serverInfo, ...rest } = meta;
  return {
    protocolVersion: SESSIONS_VERSIONS.includes(params?.protocolVersion ?? null) ? (params?.protocolVersion ?? NEWEST_SESSIONS) : NEWEST_SESSIONS,
    capabilities: Object.fromEntries(Object.entries(capabilities).filter(([name]) => COMMON.includes(name))),
    serverInfo: isObject(serverInfo) ? serverInfo : { name: 'server', version: '0' },
    ...(typeof discovered.instructions === 'string' && { instructions: discovered.instructions }),
    ...(Object.keys(rest).length > 0 && { _meta: rest }),
  };
}
