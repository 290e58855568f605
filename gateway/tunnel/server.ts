/**
 * The gateway's end of the tunnel: accepts WebSockets from proxies, keeps a link for each, lets it be resumed for a while,
 * and cuts it when its token runs out or is taken back. What is done with a stream is decided elsewhere.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
import { personLabel } from '../../contract/actor.ts';
import { Problem } from '../../contract/problem.ts';
import { MAX_MESSAGE_BYTES, type OfferedConnection, RESUME_MS, StreamOpening, ToGateway, TUNNEL_PATH, TUNNEL_PROTOCOL } from '../../contract/tunnel.ts';
import type { Clock, Log } from '../../proxy/pipeline/engine.ts';
import { Carrier, readControl, sayOn } from '../../proxy/uplink/carrier.ts';
import { TunnelViolation } from '../../proxy/uplink/frames.ts';
import type { MuxStream } from '../../proxy/uplink/muxStream.ts';
import type { EdgeLink, EdgeLinks } from '../edge/edgeLinks.ts';
import { samePrincipal, type TunnelPrincipal } from './principal.ts';

/** How long a client may take to say hello, in milliseconds. */
const HELLO_MS = 10_000;
/** Links of one person, and of all, at once. */
const MAX_LINKS_EACH = 50;
const MAX_LINKS = 10_000;
/** How long an edge's link may be without a connection, in milliseconds: sessions on it hang for as long. */
const EDGE_RESUME_MS = 10_000;
/** A token may be late by this much, for clocks that differ, in milliseconds. */
const LEEWAY_MS = 2_000;
const MAX_TIMER_MS = 24 * 3_600_000;
const BEARER = /^Bearer ([A-Za-z0-9._~+/-]{1,16384}=*)$/i;

const EXPIRED = { code: 'token-expired', sentence: 'Your sign-in to the gateway has expired. Sign in again, then connect again.' } as const;

export interface TunnelOptions {
  /** @throws Problem whose sentence says why the token is not good */
  readonly authenticate: (token: string) => Promise<TunnelPrincipal>;
  /** What this person is offered now. */
  readonly offered: (principal: TunnelPrincipal) => readonly OfferedConnection[];
  /** What the policy for this person is called now: another name, another policy. */
  readonly policyTag?: (principal: TunnelPrincipal) => string;
  readonly onStream: (link: TunnelLink, opening: StreamOpening, stream: MuxStream) => void;
  /** Who is told of edges; absent: none are let in. */
  readonly edges?: Pick<EdgeLinks, 'came' | 'gone' | 'heard'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Shorter ones are for tests. */
  readonly resumeMs?: number;
}

export interface TunnelLink {
  /** Changes when the token is renewed: groups may be others. */
  readonly principal: TunnelPrincipal;
}

interface Live extends EdgeLink {
  principal: TunnelPrincipal;
  readonly secret: string;
  readonly carrier: Carrier;
  expiry: NodeJS.Timeout | undefined;
  giveUp: NodeJS.Timeout | undefined;
  /** What its proxy understands besides. */
  accepts: readonly string[];
}

export class TunnelServer {
  readonly #options: TunnelOptions;
  readonly #links = new Map<string, Live>();
  /** WebSockets that were let in and have not said hello, with whose they are: cut and counted as links are. */
  readonly #strangers = new Map<WebSocket, TunnelPrincipal>();
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    clientTracking: false,
    skipUTF8Validation: true,
  });
  #draining: string | undefined;

  constructor(options: TunnelOptions) {
    this.#options = options;
  }

  /** Links that are open now. */
  get size(): number {
    return this.#links.size;
  }

  /** Streams in all links. */
  get streams(): number {
    let streams = 0;
    for (const { carrier } of this.#links.values()) streams += carrier.mux.size;
    return streams;
  }

  /** Takes over an upgrade of the HTTPS server. False where the path is not the tunnel's. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    if (request.url !== TUNNEL_PATH) return false;
    socket.on('error', () => socket.destroy());
    this.#admit(request).then(
      (principal) => {
        if (socket.destroyed) return;
        // Now, and not before it was looked at who it is: many who come at once are many.
        const full = this.#full(principal);
        if (full) return refuse(socket, full);
        this.#server.handleUpgrade(request, socket, head, (websocket) => this.#greet(websocket, principal));
      },
      (cause: unknown) => {
        const problem = cause instanceof Refused ? cause : new Refused(503, 'The gateway could not check who you are. Try again in a moment.');
        if (!(cause instanceof Refused)) this.#options.log.error('tunnel.not-admitted', { cause });
        refuse(socket, problem);
      },
    );
    return true;
  }

  /** Cuts every link of whom it is true, with a sentence: a token was revoked, a person locked out. */
  cut(whose: (principal: TunnelPrincipal) => boolean, code: string, sentence: string): number {
    let cut = 0;
    for (const [socket, principal] of this.#strangers) {
      if (!whose(principal)) continue;
      sayOn(socket, { type: 'bye', code, sentence });
      this.#strangers.delete(socket);
      socket.close();
      cut++;
    }
    for (const link of this.#links.values()) {
      if (!whose(link.principal)) continue;
      this.#end(link, code, sentence);
      cut++;
    }
    return cut;
  }

  /** Policy, or the state of a connection, has changed: everyone is told what they have now. */
  offersChanged(): void {
    for (const link of this.#links.values()) this.#offer(link);
  }

  /** Asks everyone to go elsewhere. Resolves when they have, or the time is over. */
  async drain(sentence: string, graceMs: number): Promise<void> {
    this.#draining = sentence;
    for (const { carrier } of this.#links.values()) carrier.say({ type: 'drain', sentence, graceMs });
    const until = performance.now() + graceMs;
    while (this.#links.size > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, Math.min(50, graceMs)));
  }

  stop(sentence: string): void {
    this.#draining ??= sentence;
    this.cut(() => true, 'draining', sentence);
    this.#server.close();
  }

  async #admit(request: IncomingMessage): Promise<TunnelPrincipal> {
    if (this.#draining !== undefined) throw new Refused(503, this.#draining);
    // No page in a browser has business here; and a browser always says where a WebSocket comes from.
    if (request.headers.origin !== undefined) throw new Refused(403, 'Web pages may not open a tunnel.');
    if (request.headers['sec-websocket-protocol'] !== TUNNEL_PROTOCOL) throw new Refused(400, otherVersion(request.headers['sec-websocket-protocol']));
    const token = BEARER.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) throw new Refused(401, 'You are not signed in to the gateway. Sign in, then connect again.');
    const principal = await this.#authenticate(token);
    return principal;
  }

  #full(principal: TunnelPrincipal): Refused | undefined {
    if (this.#links.size + this.#strangers.size >= MAX_LINKS) return new Refused(503, 'The gateway serves as many tunnels as it can. Try again in a moment.');
    let mine = 0;
    for (const link of this.#links.values()) if (samePrincipal(link.principal, principal)) mine++;
    for (const other of this.#strangers.values()) if (samePrincipal(other, principal)) mine++;
    return mine >= MAX_LINKS_EACH ? new Refused(429, `You have ${mine} tunnels to this gateway already. Close some editors, then try again.`) : undefined;
  }

  async #authenticate(token: string): Promise<TunnelPrincipal> {
    let principal: TunnelPrincipal;
    try {
      principal = await this.#options.authenticate(token);
    } catch (cause) {
      // A store or a provider that is away is not the person's fault, and passes.
      if (cause instanceof Problem && /^(store|idp|provider)-/.test(cause.code)) throw new Refused(503, cause.message);
      if (cause instanceof Problem) throw new Refused(401, cause.message);
      throw cause;
    }
    if (principal.expiresAt + LEEWAY_MS <= this.#options.clock.now()) throw new Refused(401, EXPIRED.sentence);
    return principal;
  }

  #greet(socket: WebSocket, principal: TunnelPrincipal): void {
    socket.on('error', () => socket.terminate());
    this.#strangers.set(socket, principal);
    const late = setTimeout(() => socket.terminate(), HELLO_MS);
    socket.once('close', () => {
      clearTimeout(late);
      this.#strangers.delete(socket);
    });
    socket.once('message', (data: Buffer) => {
      clearTimeout(late);
      // It was cut before it said anything: the sign-in that it came with was ended.
      if (!this.#strangers.delete(socket)) return socket.close();
      try {
        const hello = ToGateway.parse(readControl(data));
        if (hello.type !== 'hello') throw new TunnelViolation('no hello');
        if ((hello.edge ?? undefined) !== principal.edge || (principal.edge !== undefined && !this.#options.edges)) {
          sayOn(socket, {
            type: 'bye',
            code: 'refused',
            sentence: principal.edge === undefined ? 'This sign-in is not an edge’s.' : `This sign-in is for the edge ${principal.edge} alone.`,
          });
          return socket.close();
        }
        const known = hello.resume && this.#resumable(hello.resume, principal);
        const link = known ?? this.#newLink(principal, hello.version);
        const { carrier, id, secret } = link;
        link.accepts = hello.accepts ?? [];
        clearTimeout(link.giveUp);
        link.giveUp = undefined;
        sayOn(socket, {
          type: 'welcome',
          link: { id, secret, received: carrier.received },
          resumed: known !== undefined,
          person: personLabel(principal.person).slice(0, 600),
          expiresAt: principal.expiresAt,
        });
        this.#holds(link, principal);
        carrier.bind(socket, known ? (hello.resume?.received ?? 0) : 0);
        if (carrier.closed) return undefined;
        this.#offer(link);
        if (principal.edge !== undefined) this.#options.edges?.came(link);
        this.#options.log.info('tunnel.opened', { person: principal.person.subject, link: id, resumed: known !== undefined });
      } catch (cause) {
        this.#options.log.info('tunnel.not-greeted', { cause });
        socket.close(1002);
      }
      return undefined;
    });
  }

  /** A link is resumed by whoever holds its secret *and* a token of the same person. */
  #resumable(place: { readonly id: string; readonly secret: string }, principal: TunnelPrincipal): Live | undefined {
    const link = this.#links.get(place.id);
    if (!link || !samePrincipal(link.principal, principal)) return undefined;
    const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
    return timingSafeEqual(digest(link.secret), digest(place.secret)) ? link : undefined;
  }

  #newLink(principal: TunnelPrincipal, version: string): Live {
    const { clock, log, onStream } = this.#options;
    const isEdge = principal.edge !== undefined;
    const resumeMs = this.#options.resumeMs ?? (isEdge ? EDGE_RESUME_MS : RESUME_MS);
    const id = randomBytes(12).toString('base64url');
    const carrier: Carrier = new Carrier({
      role: 'server',
      now: () => clock.now(),
      log,
      // An edge is asked, and asks for nothing: one that opens a stream is cut.
      ...(!isEdge && { onStream: (opening: Buffer, stream: MuxStream) => onStream(link, readOpening(opening), stream) }),
      onControl: (said) => this.#heard(link, said),
      onDetached: () => {
        link.giveUp = setTimeout(() => this.#end(link, 'lost', `The connection to the ${isEdge ? 'edge' : 'proxy'} was lost.`), resumeMs);
        link.giveUp.unref();
      },
      onBroken: () => this.#forget(link),
    });
    const link: Live = {
      principal,
      id,
      version,
      secret: randomBytes(32).toString('base64url'),
      carrier,
      expiry: undefined,
      giveUp: undefined,
      accepts: [],
      get attached() {
        return carrier.attached;
      },
      get streams() {
        return carrier.mux.size;
      },
      dial: (opening) => carrier.mux.open(opening),
      say: (control) => carrier.say(control),
    };
    this.#links.set(id, link);
    return link;
  }

  #heard(link: Live, said: unknown): void {
    const parsed = ToGateway.safeParse(said);
    if (!parsed.success || parsed.data.type === 'hello') throw new TunnelViolation('a control message that is none');
    if (parsed.data.type === 'bye') return this.#end(link, 'closed', parsed.data.sentence);
    if (parsed.data.type === 'edge') {
      if (link.principal.edge === undefined) throw new TunnelViolation('what an edge says, by who is none');
      this.#options.edges?.heard(link, parsed.data);
      return;
    }
    this.#authenticate(parsed.data.token).then(
      (principal) => {
        if (link.carrier.closed) return;
        if (!samePrincipal(link.principal, principal)) return this.#end(link, 'revoked', 'Another person signed in. Connect again.');
        link.carrier.say({ type: 'token', expiresAt: principal.expiresAt });
        this.#holds(link, principal);
        this.#offer(link);
      },
      // The token before it still holds, until it expires.
      (cause: unknown) => this.#options.log.info('tunnel.token-refused', { link: link.id, cause }),
    );
  }

  /** The link lives as long as this token. */
  #holds(link: Live, principal: TunnelPrincipal): void {
    link.principal = principal;
    clearTimeout(link.expiry);
    const left = principal.expiresAt + LEEWAY_MS - this.#options.clock.now();
    link.expiry = setTimeout(
      () => {
        if (left > MAX_TIMER_MS) this.#holds(link, principal);
        else this.#end(link, EXPIRED.code, EXPIRED.sentence);
      },
      Math.max(0, Math.min(left, MAX_TIMER_MS)),
    );
    link.expiry.unref();
  }

  #offer(link: Live): void {
    if (link.principal.edge !== undefined) return;
    const { offered, policyTag } = this.#options;
    // First: what is offered then is served under it.
    if (policyTag && link.accepts.includes('policy')) link.carrier.say({ type: 'policy', tag: policyTag(link.principal) });
    link.carrier.say({ type: 'connections', connections: offered(link.principal) });
  }

  #end(link: Live, code: string, sentence: string): void {
    link.carrier.say({ type: 'bye', code, sentence });
    link.carrier.close(code, sentence);
    this.#forget(link);
  }

  #forget(link: Live): void {
    clearTimeout(link.expiry);
    clearTimeout(link.giveUp);
    if (!this.#links.delete(link.id)) return;
    if (link.principal.edge !== undefined) this.#options.edges?.gone(link);
    this.#options.log.info('tunnel.closed', { person: link.principal.person.subject, link: link.id });
  }
}

/** Which side is behind, so that the one who reads it knows whose update helps. */
function otherVersion(offered: string | undefined): string {
  const [theirs, ours] = [offered, TUNNEL_PROTOCOL].map((protocol) => Number(/^countersign\.tunnel\.(\d{1,6})$/.exec(protocol ?? '')?.[1]));
  if (theirs === undefined || ours === undefined || Number.isNaN(theirs)) return 'This address takes tunnels of Countersign alone.';
  return theirs > ours
    ? `This gateway is older than your Countersign, and does not know its tunnel (version ${theirs}; the gateway knows ${ours}). Ask whoever runs the gateway to update it.`
    : `This gateway is newer than your Countersign, and does not know its tunnel any more (version ${theirs}; the gateway knows ${ours}). Update Countersign here.`;
}

class Refused extends Error {
  readonly status: number;

  constructor(status: number, sentence: string) {
    super(sentence);
    this.status = status;
  }
}

function refuse(socket: Duplex, { status, message }: Refused): void {
  const body = JSON.stringify({ error: message });
  socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
}

function readOpening(payload: Buffer): StreamOpening {
  try {
    return StreamOpening.parse(JSON.parse(payload.toString()));
  } catch {
    throw new TunnelViolation('an opening that is none');
  }
}
