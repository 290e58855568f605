/**
 * The edges that are connected to this replica, and the ways that are opened through them. A way is opened where the engine
 * asks for one, which is after the permit; nothing of a client's reaches an edge as an address.
 */
import type { Duplex } from 'node:stream';
import { Problem } from '../../contract/problem.ts';
import { DIALLED, type EdgeOpening, type EdgeTarget, type FromGateway, type ToGateway } from '../../contract/tunnel.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { ConnectionConfig } from '../../proxy/policy/policy.ts';
import type { Dial, Dialled } from '../../proxy/protocols/protocol.ts';
import { type MuxStream, StreamEnded } from '../../proxy/uplink/muxStream.ts';
import type { TunnelPrincipal } from '../tunnel/principal.ts';

/** How long a session waits for an edge that was there a moment ago, or is at another replica, in milliseconds. */
const WAIT_MS = 5_000;
/** An edge that went longer ago than this is not waited for, in milliseconds. */
const RECENT_MS = 10_000;
/** How many of an edge's processes are asked for one way. */
const MAX_TRIES = 3;

/** An edge's end of a tunnel, as the tunnel's server hands it over. */
export interface EdgeLink {
  readonly id: string;
  readonly principal: TunnelPrincipal;
  /** What its hello said. */
  readonly version: string;
  /** Its WebSocket is there now. */
  readonly attached: boolean;
  readonly streams: number;
  dial(opening: EdgeOpening): MuxStream;
  say(control: Extract<FromGateway, { type: 'edge' }>): boolean;
}

type Said = Extract<ToGateway, { type: 'edge' }>;

interface Known {
  readonly link: EdgeLink;
  readonly edge: string;
  readonly since: number;
  said: Said | undefined;
}

export interface EdgeLinkView {
  readonly id: string;
  readonly edge: string;
  readonly key: string;
  readonly host: string;
  readonly version: string;
  readonly since: number;
  readonly draining: boolean;
}

export interface EdgeLinksOptions {
  /** What the edges are told: the replicas that run, this one among them. */
  readonly replicas: () => { readonly self: string; readonly all: readonly string[] };
  readonly connections: () => Iterable<ConnectionConfig>;
  /** Whether another replica has a link to it. */
  readonly elsewhere: (edge: string) => boolean;
  /** An edge has come, gone, or said how it stands. */
  readonly changed: (edge: string) => void;
  readonly log: Log;
  /** Shorter ones are for tests. */
  readonly waitMs?: number;
}

export class EdgeLinks {
  readonly #options: EdgeLinksOptions;
  readonly #links = new Map<string, Known>();
  readonly #goneAt = new Map<string, number>();
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(options: EdgeLinksOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#links.size;
  }

  get all(): readonly EdgeLinkView[] {
    return [...this.#links.values()].map(({ edge, link, said, since }) => ({
      id: link.id,
      edge,
      key: link.principal.basis,
      host: said?.host ?? '',
      version: link.version,
      since,
      draining: said?.draining ?? false,
    }));
  }

  // ── from the tunnel ────────────────────────────────────────────────────────────────────────────────────────────────

  /** A link was opened, or goes on over a new connection. */
  came(link: EdgeLink): void {
    const { edge } = link.principal;
    if (edge === undefined) throw new Error('a link of no edge');
    if (!this.#links.has(link.id)) {
      this.#links.set(link.id, { link, edge, since: Date.now(), said: undefined });
      this.#options.log.info('edge.connected', { edge, link: link.id, key: link.principal.basis });
    }
    this.#announceTo(link, edge);
    this.#goneAt.delete(edge);
    this.#options.changed(edge);
  }

  gone(link: EdgeLink): void {
    const known = this.#links.get(link.id);
    if (!known) return;
    this.#links.delete(link.id);
    // One that said that it leaves is not waited for.
    if (known.said?.draining !== true) {
      this.#goneAt.set(known.edge, Date.now());
      setTimeout(() => this.#options.changed(known.edge), RECENT_MS + 50).unref();
    }
    this.#options.log.info('edge.gone', { edge: known.edge, link: link.id });
    this.#options.changed(known.edge);
  }

  heard(link: EdgeLink, said: Said): void {
    const known = this.#links.get(link.id);
    if (!known) return;
    known.said = said;
    for (const wake of this.#waiting.get(known.edge) ?? []) wake();
    for (const [connection, why] of Object.entries(said.problems)) this.#options.log.warn('edge.will-not-dial', { edge: known.edge, connection, why });
    this.#options.changed(known.edge);
  }

  /** Replicas or connections are others now: every edge is told. */
  announce(): void {
    for (const { edge, link } of this.#links.values()) this.#announceTo(link, edge);
  }

  #announceTo(link: EdgeLink, edge: string): void {
    const { self, all } = this.#options.replicas();
    link.say({ type: 'edge', replica: self, replicas: [...all].slice(0, 200), targets: targetsOf(edge, this.#options.connections()) });
  }

  // ── for sessions ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Why a connection that names this edge cannot be served now, in a sentence; undefined: it can, or may in a moment. */
  problem(edge: string, connection: string): string | undefined {
    const usable = this.#usable(edge);
    if (usable.length === 0) return this.#awaited(edge) ? undefined : away(edge, connection);
    const problems = usable.map(({ said }) => said?.problems[connection]);
    return problems.every((problem) => problem !== undefined) ? problems[0] : undefined;
  }

  /** How one connection is reached through its edge. */
  through(edge: string, connection: string): Dial {
    return async ({ host, port }, signal) => await this.#dial(edge, { kind: 'dial', connection, host, port }, signal);
  }

  async #dial(edge: string, opening: EdgeOpening, signal: AbortSignal): Promise<Dialled> {
    const { connection } = opening;
    let links = this.#usable(edge);
    if (links.length === 0 && this.#awaited(edge)) {
      await this.#come(edge, signal);
      links = this.#usable(edge);
    }
    let why: Problem | undefined;
    for (const { link } of links.slice(0, MAX_TRIES)) {
      const stream = link.dial(opening);
      try {
        await answered(stream, signal);
        return { stream, lost: () => lostBecause(edge, stream) };
      } catch (cause) {
        if (signal.aborted)
          throw why ?? new Problem('unreachable', `The edge ${edge} did not open the way to ${connection} in time. Check that it runs.`, { cause });
        why = refusal(edge, connection, cause);
        this.#options.log.warn('edge.not-dialled', { edge, link: link.id, connection, host: opening.host, port: opening.port, why: why.message });
      }
    }
    throw why ?? new Problem('edge-away', away(edge, connection));
  }

  /** Those that take new streams, the least busy first. One that has not said how it stands may be about to leave: it has met this replica before. */
  #usable(edge: string): Known[] {
    return [...this.#links.values()]
      .filter((known) => known.edge === edge && known.link.attached && known.said?.draining === false)
      .toSorted((a, b) => a.link.streams - b.link.streams);
  }

  /** Whether it is worth waiting for: its network broke a moment ago, or another replica has it and so this one will. */
  #awaited(edge: string): boolean {
    return (
      Date.now() - (this.#goneAt.get(edge) ?? 0) < RECENT_MS || this.#options.elsewhere(edge) || [...this.#links.values()].some((known) => known.edge === edge)
    );
  }

  async #come(edge: string, signal: AbortSignal): Promise<void> {
    const waiting = this.#waiting.get(edge) ?? new Set();
    this.#waiting.set(edge, waiting);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(this.#options.waitMs ?? WAIT_MS)]);
    let wake = (): void => {};
    await new Promise<void>((resolve) => {
      wake = resolve;
      waiting.add(wake);
      limit.addEventListener('abort', wake, { once: true });
    });
    limit.removeEventListener('abort', wake);
    waiting.delete(wake);
    if (waiting.size === 0) this.#waiting.delete(edge);
  }
}

/** The addresses behind the connections that name an edge: all that it may be asked for. */
function targetsOf(edge: string, connections: Iterable<ConnectionConfig>): EdgeTarget[] {
  const targets: EdgeTarget[] = [];
  for (const connection of connections) {
    if (connection.edge !== edge || connection.via !== 'gateway') continue;
    if (connection.protocol === 'postgres') {
      const { host, port } = connection.upstream;
      targets.push({ connection: connection.name, host, port });
    } else if (connection.upstream.transport !== 'stdio') {
      const url = new URL(connection.upstream.url);
      const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
      targets.push({ connection: connection.name, host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port });
    }
  }
  return targets.slice(0, 500);
}

/** Resolves when the edge has said that it is connected; what comes after that stays in the stream. */
function answered(stream: Duplex, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      stream.off('data', onData).off('end', onEnd).off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      stream.pause();
    };
    const fail = (cause: unknown): void => {
      done();
      stream.destroy();
      reject(cause);
    };
    const onData = (chunk: Buffer): void => {
      if (chunk[0] !== DIALLED) return fail(new StreamEnded('edge-odd', 'it gave an answer that is none'));
      done();
      if (chunk.length > 1) stream.unshift(chunk.subarray(1));
      return resolve();
    };
    const onEnd = (): void => fail(new StreamEnded('edge-odd', 'it hung up'));
    const onClose = (): void => fail(stream.errored ?? new StreamEnded('edge-odd', 'it hung up'));
    const onAbort = (): void => fail(new Error('it took too long, or was given up'));
    stream.on('data', onData).once('end', onEnd).once('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
    if (stream.destroyed) onClose();
    else if (signal.aborted) onAbort();
  });
}

function away(edge: string, connection: string): string {
  return `${connection} is behind the edge ${edge}, and no edge of that name is connected to the gateway. It works again when the edge is back; whoever runs it can say why it is not.`;
}

/** The address stays out of it: clients read this. */
function refusal(edge: string, connection: string, cause: unknown): Problem {
  const code = cause instanceof StreamEnded ? cause.code : '';
  switch (code) {
    case 'edge-refused':
      return new Problem(
        'edge-refused',
        `The edge ${edge} does not let itself be led to where ${connection} is: its own configuration does not allow it. Whoever runs the edge can add the address to its \`allow\`.`,
      );
    case 'edge-unreachable':
      return new Problem('unreachable', `The edge ${edge} cannot reach ${connection} (${(cause as Error).message.slice(0, 100)}). Check that it runs.`);
    case 'edge-draining':
      return new Problem('edge-away', `The edge ${edge} is shutting down. Connect again.`);
    default:
      return new Problem('edge-away', `The edge ${edge}, through which ${connection} is reached, was lost. Connect again.`);
  }
}

function lostBecause(edge: string, stream: Duplex): string | undefined {
  const cause = stream.errored;
  if (!(cause instanceof StreamEnded) || cause.code === 'closed') return undefined;
  switch (cause.code) {
    // Whoever is at the other end hung up.
    case 'edge-upstream':
      return undefined;
    case 'edge-draining':
      return `The edge ${edge}, through which this connection was reached, was shut down. Connect again.`;
    case 'revoked':
    case 'token-expired':
      return `The edge ${edge}, through which this connection was reached, is not let in any more. Ask whoever runs the gateway.`;
    default:
      return `The edge ${edge}, through which this connection was reached, was lost. Connect again.`;
  }
}
