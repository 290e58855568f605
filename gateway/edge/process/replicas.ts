/**
 * The links of an edge to its gateway: one for each replica, so that a session finds the edge wherever it arrives. All
 * replicas have one address; which one answers is for the load balancer. So it is dialled again until each has been met.
 */
import type { EdgeTarget } from '../../../contract/tunnel.ts';
import type { Clock, Log } from '../../../proxy/pipeline/engine.ts';
import type { Environment } from '../../../proxy/uplink/httpProxy.ts';
import type { MuxStream } from '../../../proxy/uplink/muxStream.ts';
import { type AccessToken, Uplink } from '../../../proxy/uplink/uplink.ts';

/** The first wait before a replica that was not met is looked for again, and the longest, in milliseconds. */
const FIRST_LOOK_MS = 100;
const MAX_LOOK_MS = 5_000;
/** How soon an edge that the gateway turned away asks again, in milliseconds: its clock may be right by then. */
const TURNED_AWAY_MS = 30_000;
/** How long a link whose network is gone is kept, in milliseconds. As in the gateway. */
const RESUME_MS = 10_000;
/** More than any gateway has. */
const MAX_LINKS = 50;

interface Line {
  readonly uplink: Uplink;
  /** The replica at the other end, once it has said so. */
  replica: string | undefined;
  targets: readonly EdgeTarget[];
  readonly since: number;
  again: NodeJS.Timeout | undefined;
}

export interface ReplicasOptions {
  readonly url: URL;
  readonly edge: string;
  readonly token: () => Promise<AccessToken>;
  readonly version: string;
  readonly env: Environment;
  readonly ca?: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly onStream: (opening: Buffer, stream: MuxStream, targets: readonly EdgeTarget[]) => void;
  /** What a gateway's process is told of how this edge stands. */
  readonly standing: (targets: readonly EdgeTarget[]) => { readonly host: string; readonly draining: boolean; readonly problems: Record<string, string> };
  readonly changed: () => void;
}

export class Replicas {
  readonly #options: ReplicasOptions;
  readonly #lines = new Set<Line>();
  /** Those that run, as was heard last. */
  #known: readonly string[] = [];
  #misses = 0;
  #looking: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: ReplicasOptions) {
    this.#options = options;
  }

  start(): void {
    this.#add();
  }

  /** Replicas that it is connected to, and that there are. */
  get counts(): { readonly connected: number; readonly known: number } {
    return { connected: new Set(this.#met).size, known: this.#known.length };
  }

  get streams(): number {
    let streams = 0;
    for (const { uplink } of this.#lines) streams += uplink.streams;
    return streams;
  }

  /** Why it is not connected at all, in a sentence. */
  get problem(): string | undefined {
    if (this.#met.length > 0) return undefined;
    for (const { uplink } of this.#lines) if ('sentence' in uplink.state) return uplink.state.sentence;
    return 'The gateway is being connected to.';
  }

  /** Tells every replica how this edge stands. */
  say(): void {
    for (const line of this.#lines) this.#say(line);
  }

  async stop(sentence: string): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#looking);
    await Promise.all([...this.#lines].map((line) => this.#drop(line, sentence)));
  }

  get #met(): string[] {
    return [...this.#lines].flatMap(({ replica, uplink }) => (replica !== undefined && uplink.state.state === 'ready' ? [replica] : []));
  }

  #add(): void {
    const { changed: _changed, edge, onStream, standing: _standing, token, ca, ...rest } = this.#options;
    const line: Line = {
      replica: undefined,
      targets: [],
      since: Date.now(),
      again: undefined,
      uplink: new Uplink({
        ...rest,
        ...(ca !== undefined && { ca }),
        token,
        random: Math.random,
        resumeMs: RESUME_MS,
        changed: () => this.#changed(line),
        edge: {
          name: edge,
          onStream: (opening, stream) => onStream(opening, stream, line.targets),
          heard: ({ replica, replicas, targets }) => {
            line.replica = replica;
            line.targets = targets;
            this.#known = replicas;
            this.#settle();
            // Nothing is opened on a link before this is said: one that is let go of at once ends no session.
            if (this.#lines.has(line)) this.#say(line);
          },
        },
      }),
    };
    this.#lines.add(line);
    line.uplink.start();
  }

  #say({ targets, uplink }: Line): void {
    uplink.say({ type: 'edge', ...this.#options.standing(targets) });
  }

  #changed(line: Line): void {
    const { state } = line.uplink.state;
    if (state !== 'ready' && state !== 'resuming') line.replica = undefined;
    clearTimeout(line.again);
    // Signed out means turned away: it is asked again by and by, for what is wrong may be mended at the gateway.
    if (state === 'signed-out') line.again = setTimeout(() => line.uplink.tokenChanged(), TURNED_AWAY_MS).unref();
    this.#settle();
  }

  /** Lets go of links that are one too many, and looks for replicas that were not met. */
  #settle(): void {
    if (this.#stopped) return;
    const met = new Set<string>();
    for (const line of [...this.#lines].toSorted((a, b) => b.uplink.streams - a.uplink.streams || a.since - b.since)) {
      if (line.replica === undefined || line.uplink.state.state !== 'ready') continue;
      if (met.has(line.replica) && line.uplink.streams === 0) {
        this.#misses++;
        void this.#drop(line, 'This replica is connected already.');
      } else met.add(line.replica);
    }
    // One that is still being connected may meet any of them.
    const wanted = Math.max(1, this.#known.filter((replica) => !met.has(replica)).length + met.size);
    const idle = [...this.#lines].filter((line) => line.replica === undefined || line.uplink.state.state !== 'ready');
    for (const line of idle.slice(Math.max(0, wanted - met.size))) if (line.uplink.streams === 0) void this.#drop(line, 'This link is not needed.');
    const missing = Math.min(wanted, MAX_LINKS) - this.#lines.size;
    if (this.#known.every((replica) => met.has(replica))) this.#misses = 0;
    if (missing > 0 && this.#looking === undefined) {
      const wait = Math.min(MAX_LOOK_MS, FIRST_LOOK_MS * 2 ** Math.min(this.#misses, 10));
      this.#looking = setTimeout(
        () => {
          this.#looking = undefined;
          if (this.#stopped) return;
          this.#add();
          this.#settle();
        },
        wait / 2 + (Math.random() * wait) / 2,
      ).unref();
    }
    this.#options.changed();
  }

  async #drop(line: Line, sentence: string): Promise<void> {
    clearTimeout(line.again);
    this.#lines.delete(line);
    await line.uplink.stop(sentence);
  }
}
