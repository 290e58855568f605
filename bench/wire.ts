/** A client that costs next to nothing: sends statements as bytes and reads to the end of the answer, without looking into it. */
import { Socket } from 'node:net';
import { Secret } from '../contract/secret.ts';
import { openBackend } from '../proxy/protocols/postgres/backend.ts';
import type { Way } from './stage.ts';

export class WireClient {
  readonly #socket: Socket;
  #done: ((bytes: number) => void) | undefined;
  #failed: ((cause: Error) => void) | undefined;
  #bytes = 0;
  /** The last bytes that came, for a ReadyForQuery that is cut by a chunk's end. */
  #tail: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('close', () => this.#failed?.(new Error('the connection was closed')));
    socket.resume();
  }

  static async connect({ database, password, port, user }: Way): Promise<WireClient> {
    const connection = {
      name: 'bench',
      protocol: 'postgres' as const,
      via: 'local' as const,
      sensitive: new Map(),
      upstream: { host: '127.0.0.1', port, database, user },
      tls: { mode: 'disable' as const },
    };
    const { socket } = await openBackend(connection, new Secret(password), new Map(), AbortSignal.timeout(10_000));
    if (!(socket instanceof Socket)) throw new Error('no socket');
    return new WireClient(socket);
  }

  /** Runs one statement. @returns the bytes of its answer. */
  query(sql: string): Promise<number> {
    const text = Buffer.from(sql);
    const message = Buffer.alloc(text.length + 6);
    message[0] = 0x51;
    message.writeInt32BE(text.length + 5, 1);
    text.copy(message, 5);
    this.#bytes = 0;
    this.#tail = Buffer.alloc(0);
    return new Promise((resolve, reject) => {
      this.#done = resolve;
      this.#failed = reject;
      this.#socket.write(message);
    });
  }

  close(): Promise<void> {
    this.#failed = undefined;
    const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.end(Buffer.from([0x58, 0, 0, 0, 4]));
    return closed;
  }

  #take(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (chunk[0] === 0x45 && this.#bytes === chunk.length) this.#failed?.(new Error(`the statement failed: ${chunk.toString('latin1')}`));
    this.#tail = chunk.length >= 6 ? chunk.subarray(-6) : Buffer.concat([this.#tail, chunk]).subarray(-6);
    const tail = this.#tail;
    // ReadyForQuery, idle. Only one statement is ever out, so that nothing comes after it.
    if (tail.length === 6 && tail[0] === 0x5a && tail.readInt32BE(1) === 5 && tail[5] === 0x49) this.#done?.(this.#bytes);
  }
}

/** Statements of one connection in one round; the first round only warms up. */
const LOOKUPS = 2_000;

/** How long each of many look-ups of one row of `people` took, in milliseconds: one after another, the ways in turn. */
export async function timedLookups<Name extends string>(ways: Readonly<Record<Name, Way>>, rounds: number, rows: number): Promise<Record<Name, number[]>> {
  const names = Object.keys(ways) as Name[];
  const clients = await Promise.all(names.map((name) => WireClient.connect(ways[name])));
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < LOOKUPS; i++) {
      for (const [n, client] of clients.entries()) {
        const from = performance.now();
        await client.query(`SELECT city FROM people WHERE id = ${1 + ((i * 7919) % rows)}`);
        if (round > 0) samples[names[n] as Name].push(performance.now() - from);
      }
    }
  }
  await Promise.all(clients.map((client) => client.close()));
  return samples;
}
