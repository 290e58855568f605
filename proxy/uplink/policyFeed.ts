/** Fetches the organisation's policy over the tunnel: when the gateway says that there is another, and now and then besides. */
import { MAX_LAPTOP_POLICY_BYTES } from '../../contract/gateway/policy.ts';
import type { StreamOpening } from '../../contract/tunnel.ts';
import type { Log } from '../pipeline/engine.ts';
import type { MuxStream } from './muxStream.ts';

/** How often it is asked for without a word of the gateway's, in milliseconds: what was said can be missed, and what there is ends. */
const POLL_MS = 60_000;
/** How long one fetch may take, in milliseconds. */
const FETCH_MS = 20_000;

const OPENING: StreamOpening = {
  connection: 'policy',
  kind: 'policy',
  surface: 'proxy',
  agent: { kind: 'unknown', name: 'the proxy itself' },
  conversation: 'policy',
};

export interface PolicyFeedOptions {
  readonly open: (opening: StreamOpening) => MuxStream;
  /** @returns why it was not taken */
  readonly take: (given: unknown) => string | undefined;
  readonly log: Log;
}

export class PolicyFeed {
  readonly #options: PolicyFeedOptions;
  readonly #timer: NodeJS.Timeout;
  /** What the gateway calls what was fetched last; undefined: it is to be fetched, whatever it is called. */
  #tag: string | undefined;
  #wanted: string | undefined;
  #fetching = false;
  #stopped = false;

  constructor(options: PolicyFeedOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      // A gateway that never said so does not hand one over.
      if (this.#wanted !== undefined) void this.#fetch();
    }, POLL_MS);
    this.#timer.unref();
  }

  /** The gateway's policy for this person is called so now. */
  offered(tag: string): void {
    this.#wanted = tag;
    if (tag !== this.#tag) void this.#fetch();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  async #fetch(): Promise<void> {
    if (this.#fetching || this.#stopped) return;
    this.#fetching = true;
    try {
      for (;;) {
        const tag = this.#wanted;
        const given = JSON.parse((await whole(this.#options.open(OPENING))).toString('utf8')) as unknown;
        if (this.#stopped) return;
        // One that is not taken is asked for again: by the clock, not at once.
        this.#options.take(given);
        this.#tag = tag;
        if (tag === this.#wanted) return;
      }
    } catch (cause) {
      this.#options.log.info('organisation-policy.not-fetched', { cause });
      this.#tag = undefined;
    } finally {
      this.#fetching = false;
    }
  }
}

function whole(stream: MuxStream): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const late = setTimeout(() => stream.reset('late', 'The policy did not come in time.'), FETCH_MS);
    stream.on('data', (chunk: Buffer) => {
      length += chunk.length;
      chunks.push(chunk);
      if (length > MAX_LAPTOP_POLICY_BYTES) stream.reset('too-large', 'The policy is too large.');
    });
    stream.once('end', () => resolve(Buffer.concat(chunks)));
    stream.once('error', reject);
    stream.once('close', () => {
      clearTimeout(late);
      reject(stream.errored ?? new Error('the stream ended early'));
    });
    stream.end();
  });
}
