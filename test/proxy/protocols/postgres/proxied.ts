/** A real database behind a real proxied connection, and clients that speak to it. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { Client, type ClientConfig } from 'pg';
import { Secret } from '../../../../contract/secret.ts';
import type { PostgresConnection } from '../../../../proxy/policy/policy.ts';
import { FieldReader, FRONT, FrameReader, FrameWriter } from '../../../../proxy/protocols/postgres/frames.ts';
import { readDiagnostic } from '../../../../proxy/protocols/postgres/messages.ts';
import { postgres } from '../../../../proxy/protocols/postgres/serve.ts';
import type { ClientIdentity, Served } from '../../../../proxy/protocols/protocol.ts';
import { LOGIN, type TestEngine, testEngine } from '../../../support/engine.ts';
import { PASSWORD, SENSITIVE, SHOP, SUPERUSER, type TestDatabase, testDatabase } from '../../../support/postgres.ts';
import { soon, within } from '../../../support/soon.ts';

/** A policy under which everything is allowed: what is left is what the protocol itself does. */
export const ALLOW_ALL = `defaults: { write: allow, delete: allow, schema: allow, admin: allow, execute: allow, unknown: allow, send: allow }
rules:
  - { id: no-mass-change, match: { effect: [delete], bulk: true, connection: none }, verdict: deny }
  - { id: sensitive-conditions-ask, match: { connection: none }, verdict: ask }
  - { id: statistics-ask, match: { connection: none }, verdict: ask }
  - { id: after-sensitive-read-sends-ask, match: { connection: none }, verdict: ask }
`;

/** How long a busy machine may take to read a catalog, in milliseconds. */
export const READY_MS = 60_000;

export interface Proxied {
  readonly t: TestEngine;
  readonly db: TestDatabase;
  readonly served: Served;
  readonly port: number;
  policyText(rules: string, sensitive?: Readonly<Record<string, string>>): string;
  client(more?: ClientConfig): Promise<Client>;
  inside(identity?: Partial<ClientIdentity>): Promise<Client>;
  raw(parameters?: Readonly<Record<string, string>>, identity?: Partial<ClientIdentity>): Promise<RawClient>;
  psql(args: readonly string[], input?: string, env?: Readonly<Record<string, string>>): Promise<{ out: string; code: number }>;
  stop(): Promise<void>;
}

export async function proxied(
  rules = '',
  options: {
    readonly setup?: string;
    readonly sensitive?: Readonly<Record<string, string>>;
    readonly database?: TestDatabase;
    /** Every session logs in as a role of its own. */
    readonly minted?: boolean;
  } = {},
): Promise<Proxied> {
  const db = options.database ?? (await testDatabase(options.setup ?? SHOP));
  const policyText = (text: string, sensitive: Readonly<Record<string, string>> = options.sensitive ?? SENSITIVE): string => `version: 1
connections:
  orders:
    protocol: postgres
    upstream: postgres://127.0.0.1:${db.port}/${db.database}
    user: ${SUPERUSER}
    ${options.minted ? 'credential: { mint: postgres-role, admin: secret:upstream }' : 'password: secret:upstream'}
    tls: disable
    via: local
    sensitive: { ${Object.entries(sensitive)
      .map(([column, mask]) => `${column}: ${mask}`)
      .join(', ')} }
${text}`;
  const t = await testEngine(policyText(rules));
  t.secrets.set('upstream', new Secret(PASSWORD));
  const served = await postgres.serve(t.policy().connections.get('orders') as PostgresConnection, t.host);
  await soon(() => assert.notEqual(served.state.state, 'starting'), READY_MS);
  const port = served.environment?.port ?? 0;
  const open: { end?: () => unknown; destroy?: () => unknown }[] = [];
  const keep = <T extends { end?: () => unknown }>(client: T): T => {
    open.push(client);
    return client;
  };
  return {
    t,
    db,
    served,
    port,
    policyText,
    client: async (more = {}) => {
      const client = keep(new Client({ host: '127.0.0.1', port, database: db.database, user: LOGIN.user, password: LOGIN.password, ...more }));
      client.on('error', () => {});
      await client.connect();
      return client;
    },
    inside: async (identity = {}) => {
      const client = keep(new Client({ stream: () => served.connect?.(t.identity(identity)) as never, user: 'inside', database: db.database }));
      client.on('error', () => {});
      await client.connect();
      return client;
    },
    raw: async (parameters = {}, identity = {}) => {
      const client = new RawClient(served.connect?.(t.identity(identity)) as Duplex);
      open.push({ end: () => client.stream.destroy() });
      client.startup({ user: 'raw', database: db.database, ...parameters });
      const [last] = (await client.until('Z', 'E')).slice(-1);
      if (last?.type === 'E') throw new Error(`login refused: ${errorOf(last).get('M')}`);
      return client;
    },
    psql: (args, input = '', env = {}) =>
      new Promise((resolve) => {
        const child = execFile(
          'psql',
          ['-X', '-h', '127.0.0.1', '-p', String(port), '-U', LOGIN.user, '-d', db.database, ...args],
          { env: { ...process.env, PGPASSWORD: LOGIN.password, PGCONNECT_TIMEOUT: '60', ...env }, timeout: 120_000 },
          (error, stdout, stderr) => resolve({ out: stdout + stderr, code: typeof error?.code === 'number' ? error.code : 0 }),
        );
        child.stdin?.end(input);
      }),
    stop: async () => {
      for (const client of open) client.end?.();
      await served.stop('the test is over');
      await t.stop();
    },
  };
}

/** Why psql cannot be used here; false where it can. */
export const NO_PSQL = spawnSync('psql', ['--version']).status === 0 ? false : 'this machine has no psql';

export interface Message {
  readonly type: string;
  readonly body: Buffer;
}

/** Speaks the protocol by hand: any bytes, in any order. */
export class RawClient {
  readonly stream: Duplex;
  readonly received: Message[] = [];
  readonly #reader = new FrameReader();
  #taken = 0;
  #wake: (() => void) | undefined;
  closed = false;

  constructor(stream: Duplex) {
    this.stream = stream;
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => {
      this.#reader.push(chunk);
      while (this.#reader.next()) {
        const { buffer, end, start, type } = this.#reader;
        this.received.push({ type: String.fromCharCode(type), body: Buffer.from(buffer.subarray(start + 5, end)) });
      }
      this.#wake?.();
    });
    const gone = (): void => {
      this.closed = true;
      this.#wake?.();
    };
    stream.on('end', gone).on('close', gone);
  }

  static async tcp(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new RawClient(socket);
  }

  send(...parts: readonly Buffer[]): void {
    this.stream.write(Buffer.concat(parts));
  }

  startup(parameters: Readonly<Record<string, string>>, version = 3 << 16): void {
    this.send(startupPacket(parameters, version));
  }

  /** All messages up to one of these types, in order; throws when the connection ends before. */
  async until(...types: readonly string[]): Promise<Message[]> {
    const from = this.#taken;
    for (;;) {
      while (this.#taken < this.received.length) {
        const message = this.received[this.#taken++];
        if (message && types.includes(message.type)) return this.received.slice(from, this.#taken);
      }
      if (this.closed) throw new Error(`the connection ended before ${types.join(' or ')}: ${describe(this.received.slice(from))}`);
      await this.#more(types.join(' or '));
    }
  }

  async ended(): Promise<void> {
    while (!this.closed) await this.#more('the end of the connection');
  }

  #more(what: string): Promise<void> {
    return within(what, new Promise<void>((resolve) => (this.#wake = resolve)));
  }
}

export function startupPacket(parameters: Readonly<Record<string, string>>, version = 3 << 16): Buffer {
  const writer = new FrameWriter().int32(0).int32(version);
  for (const [name, value] of Object.entries(parameters)) writer.text(name).text(value);
  writer.byte(0);
  writer.patch(0, writer.length);
  return writer.take();
}

/** What a client is told on a machine, or a disk, that takes its time. */
const HELD = 'Countersign holds this statement';

/** Messages in short: `C:SELECT 1 E:42501 Z:I`; without the notice that a statement is held. */
export function describe(messages: readonly Message[]): string {
  return messages
    .filter(({ body, type }) => type !== 'N' || !body.includes(HELD))
    .map(({ body, type }) => {
      if (type === 'C') return `C:${body.toString('utf8', 0, body.length - 1)}`;
      if (type === 'Z') return `Z:${body.toString()}`;
      if (type === 'E') return `E:${errorOf({ type, body }).get('C')}`;
      return type;
    })
    .join(' ');
}

export function errorOf({ body }: Message): ReadonlyMap<string, string> {
  const frame = Buffer.concat([Buffer.from('E\0\0\0\0'), body]);
  return readDiagnostic(frame, 0, frame.length);
}

/** The fields of a DataRow as text. */
export function row({ body }: Message): (string | null)[] {
  const reader = new FieldReader(body, 0, body.length);
  return Array.from({ length: reader.uint16() }, () => {
    const length = reader.int32();
    return length < 0 ? null : reader.bytes(length).toString();
  });
}

export const front = {
  query: (sql: string) => new FrameWriter().begin(FRONT.query).text(sql).end().take(),
  parse: (name: string, sql: string, types: readonly number[] = []) => {
    const writer = new FrameWriter().begin(FRONT.parse).text(name).text(sql).int16(types.length);
    for (const type of types) writer.int32(type);
    return writer.end().take();
  },
  bind: (portal: string, statement: string, params: readonly (string | null)[] = [], formats: readonly number[] = []) => {
    const writer = new FrameWriter().begin(FRONT.bind).text(portal).text(statement).int16(0).int16(params.length);
    for (const param of params) writer.field(param);
    writer.int16(formats.length);
    for (const format of formats) writer.int16(format);
    return writer.end().take();
  },
  describe: (kind: 'S' | 'P', name: string) => new FrameWriter().begin(FRONT.describe).byte(kind.charCodeAt(0)).text(name).end().take(),
  execute: (portal = '', rows = 0) => new FrameWriter().begin(FRONT.execute).text(portal).int32(rows).end().take(),
  close: (kind: 'S' | 'P', name: string) => new FrameWriter().begin(FRONT.close).byte(kind.charCodeAt(0)).text(name).end().take(),
  sync: () => new FrameWriter().begin(FRONT.sync).end().take(),
  flush: () => new FrameWriter().begin(FRONT.flush).end().take(),
  terminate: () => new FrameWriter().begin(FRONT.terminate).end().take(),
  copyData: (text: string) => new FrameWriter().begin(FRONT.copyData).bytes(Buffer.from(text)).end().take(),
  copyDone: () => new FrameWriter().begin(FRONT.copyDone).end().take(),
  functionCall: () => new FrameWriter().begin(FRONT.functionCall).int32(2).int16(0).int16(0).int16(0).end().take(),
};
