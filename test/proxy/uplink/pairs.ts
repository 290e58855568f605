/** Two ends of a tunnel without a network: messages pass one at a time, in an order that a test decides. */
import { DATA_HEADER_BYTES } from '../../../contract/tunnel.ts';
import { Link, type Transport } from '../../../proxy/uplink/link.ts';
import { Mux, type MuxOptions } from '../../../proxy/uplink/mux.ts';
import type { MuxStream } from '../../../proxy/uplink/muxStream.ts';

/** A channel that hands each message over in a turn of its own. */
export function muxPair(
  onStream: NonNullable<MuxOptions['onStream']>,
  options: Partial<MuxOptions> = {},
): { client: Mux; server: Mux; messages: () => number } {
  let messages = 0;
  const to = (other: () => Mux) => ({
    ready: true,
    send: (message: Buffer) => {
      messages++;
      setImmediate(() => other().receive(message, DATA_HEADER_BYTES));
    },
  });
  const now = (): number => Date.now();
  const client: Mux = new Mux({ role: 'client', channel: to(() => server), now, ...options });
  const server: Mux = new Mux({ role: 'server', channel: to(() => client), onStream, now, ...options });
  return { client, server, messages: () => messages };
}

/** What is under way on one direction of a network that can be cut. */
class Wire implements Transport {
  buffered = 0;
  cut = false;
  readonly #queue: { message: Buffer; sent: () => void }[] = [];
  readonly #deliver: (message: Buffer) => void;
  readonly #pause: () => number;

  constructor(deliver: (message: Buffer) => void, pause: () => number) {
    this.#deliver = deliver;
    this.#pause = pause;
  }

  send(message: Buffer, sent: () => void): void {
    if (this.cut) return;
    this.buffered += message.length;
    // The link writes its acknowledgement into a message that is sent again: what is on the wire does not change.
    this.#queue.push({ message: Buffer.from(message), sent });
    if (this.#queue.length === 1) this.#next();
  }

  #next(): void {
    // Never within `send`: no network answers before what was said has been said whole.
    const pump = (left: number): void => void setImmediate(() => (left > 0 ? pump(left - 1) : this.#pass()));
    pump(this.#pause());
  }

  #pass(): void {
    const head = this.#queue[0];
    if (this.cut || !head) return;
    this.buffered -= head.message.length;
    this.#deliver(head.message);
    this.#queue.shift();
    head.sent();
    if (this.#queue.length > 0) this.#next();
  }

  close(): void {
    this.cut = true;
  }
}

export interface LinkedPair {
  readonly client: Mux;
  readonly server: Mux;
  /** Cuts the network: what is under way is lost. */
  cut(): void;
  /** A new network, over which both go on. */
  resume(): void;
  readonly broken: string[];
}

/** Two multiplexers over links that survive a cut. @param pause how many turns each message takes */
export function linkedPair(onStream: (opening: Buffer, stream: MuxStream) => void, pause: () => number = () => 0): LinkedPair {
  const broken: string[] = [];
  const now = (): number => Date.now();
  const clientLink: Link = new Link({ onFrames: (m, from) => client.receive(m, from), onReady: () => client.writable(), onBroken: (why) => broken.push(why) });
  const serverLink: Link = new Link({ onFrames: (m, from) => server.receive(m, from), onReady: () => server.writable(), onBroken: (why) => broken.push(why) });
  const client: Mux = new Mux({ role: 'client', channel: clientLink, now });
  const server: Mux = new Mux({ role: 'server', channel: serverLink, onStream, now });
  let wires: [Wire, Wire] | undefined;
  const resume = (): void => {
    const up = new Wire((m) => serverLink.receive(m), pause);
    const down = new Wire((m) => clientLink.receive(m), pause);
    wires = [up, down];
    const { received } = clientLink;
    clientLink.attach(up, serverLink.received);
    serverLink.attach(down, received);
  };
  resume();
  return {
    client,
    server,
    broken,
    resume,
    cut: () => {
      if (!wires) return;
      const [up, down] = wires;
      wires = undefined;
      up.close();
      down.close();
      clientLink.detach(up);
      serverLink.detach(down);
    },
  };
}
