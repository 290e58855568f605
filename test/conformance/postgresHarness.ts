import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Client } from 'pg';
import { Secret } from '../../contract/secret.ts';
import type { PostgresConnection } from '../../proxy/policy/policy.ts';
import { postgres } from '../../proxy/protocols/postgres/serve.ts';
import { describe, front, RawClient, startupPacket } from '../proxy/protocols/postgres/proxied.ts';
import { LOGIN, testEngine } from '../support/engine.ts';
import { PASSWORD, SUPERUSER, testDatabase } from '../support/postgres.ts';
import { CANARY_VALUE, type Decision, type Harness } from './harness.ts';

/** Stands before the database: sees every byte that reaches it, and can cut what it answers into pieces. */
class Tap {
  seen = '';
  pieces = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(port: number) {
    this.#server = createServer({ noDelay: true }, (near) => {
      const far = connect({ port, host: '127.0.0.1', noDelay: true });
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket
          .on('error', () => {})
          .on('close', () => {
            this.#sockets.delete(socket);
            near.destroy();
            far.destroy();
          });
      }
      near.on('data', (chunk: Buffer) => {
        this.seen += chunk.toString('latin1');
        far.write(chunk);
      });
      far.on('data', (chunk: Buffer) => void this.#cut(chunk, near));
    });
  }

  #queue = Promise.resolve();

  #cut(chunk: Buffer, to: Socket): Promise<void> {
    // As it is now: it may be another, or none, before the chunk's turn comes.
    const size = this.pieces;
    if (size === 0) {
      to.write(chunk);
      return this.#queue;
    }
    this.#queue = this.#queue.then(async () => {
      for (let at = 0; at < chunk.length; at += size) {
        to.write(chunk.subarray(at, at + size));
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    return this.#queue;
  }

  listen(): Promise<number> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () => {
        const address = this.#server.address();
        resolve(typeof address === 'object' && address ? address.port : 0);
      });
    });
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const SETUP = `CREATE TABLE people (id int, card text); INSERT INTO people VALUES (1, 'card ${CANARY_VALUE} of Ann'); CREATE TABLE log (line text);`;

export const postgresHarness: Harness = {
  protocol: 'postgres',
  async start(write) {
    const db = await testDatabase(SETUP);
    const tap = new Tap(db.port);
    const port = await tap.listen();
    const policy = (decision: Decision): string => `version: 1
defaults: { write: ${decision} }
connections:
  main: { protocol: postgres, upstream: 'postgres://127.0.0.1:${port}/${db.database}', user: ${SUPERUSER}, password: 'secret:upstream', tls: disable, via: local }
`;
    const t = await testEngine(policy(write));
    t.secrets.set('upstream', new Secret(PASSWORD));
    const served = await postgres.serve(t.policy().connections.get('main') as PostgresConnection, t.host);
    const clients: Client[] = [];
    return {
      t,
      decideWrites: (decision) => t.setPolicy(policy(decision)),
      upstream: async () => tap.seen,
      client: async () => {
        const client = new Client({
          host: '127.0.0.1',
          port: served.environment?.port ?? 0,
          database: db.database,
          user: LOGIN.user,
          password: LOGIN.password,
        });
        client.on('error', () => {});
        clients.push(client);
        await client.connect();
        const { processID } = client as unknown as { processID: number };
        const text = (work: Promise<{ rows: unknown[]; command: string }>): Promise<string> =>
          work.then(({ command, rows }) => `${command} ${JSON.stringify(rows)}`);
        return {
          read: (marker) => text(client.query(`SELECT 1 AS one /* ${marker} */`)),
          readSecret: () => text(client.query('SELECT * FROM people')),
          write: (marker, signal) => {
            signal?.addEventListener('abort', () => {
              const { host, port: to } = client;
              const socket = connect(to, host);
              const bytes = Buffer.alloc(16);
              bytes.writeInt32BE(16, 0);
              bytes.writeInt32BE(80877102, 4);
              bytes.writeInt32BE(processID, 8);
              bytes.writeInt32BE((client as unknown as { secretKey: number }).secretKey, 12);
              socket.on('error', () => {}).end(bytes);
            });
            return text(client.query(`INSERT INTO log VALUES ('${marker}')`));
          },
          prepare: async (marker) => {
            const raw = new RawClient(served.connect?.(t.identity()) as Duplex);
            raw.startup({ user: 'raw' });
            await raw.until('Z');
            raw.send(front.parse('later', `INSERT INTO log VALUES ($1 || '${marker}')`), front.describe('S', 'later'), front.sync());
            await raw.until('Z');
            return async () => {
              raw.send(front.bind('', 'later', ['executed ']), front.execute(), front.sync());
              const answer = describe(await raw.until('Z'));
              if (answer.includes('E:')) throw new Error(answer);
              return answer;
            };
          },
          vanish: () => (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy(),
          close: () => client.end(),
        };
      },
      cutEverywhere: async () => {
        const got: { where: string; got: string }[] = [];
        const request = Buffer.concat([
          front.query("SELECT id, card, 'x' || id AS x FROM people; SELECT 2"),
          front.parse('', 'SELECT card FROM people WHERE id = $1'),
          front.bind('', '', ['1']),
          front.describe('P', ''),
          front.execute(),
          front.sync(),
          front.query('SELECT 1 / 0'),
          front.query(`COPY (SELECT card FROM people) TO STDOUT`),
        ]);
        const answer = async (raw: RawClient): Promise<string> => {
          const messages = [];
          for (let i = 0; i < 4; i++) messages.push(...(await raw.until('Z')));
          return messages.map(({ body, type }) => `${type}${body.toString('latin1')}`).join('|');
        };
        const open = async (): Promise<RawClient> => {
          const raw = new RawClient(served.connect?.(t.identity()) as Duplex);
          raw.startup({ user: 'raw' });
          await raw.until('Z');
          return raw;
        };
        const raw = await open();
        for (let at = 0; at < request.length; at++) {
          raw.send(request.subarray(0, at));
          await new Promise((resolve) => setImmediate(resolve));
          raw.send(request.subarray(at));
          got.push({ where: `request cut at ${at}`, got: await answer(raw) });
        }
        raw.stream.destroy();
        for (const size of [1, 2, 3, 5, 7, 11, 64]) {
          const cut = await open();
          tap.pieces = size;
          cut.send(request);
          got.push({ where: `answer in pieces of ${size}`, got: await answer(cut) });
          tap.pieces = 0;
          cut.stream.destroy();
        }
        const login = startupPacket({ user: 'raw' });
        for (let at = 1; at < login.length; at++) {
          const late = new RawClient(served.connect?.(t.identity()) as Duplex);
          late.send(login.subarray(0, at));
          await new Promise((resolve) => setImmediate(resolve));
          late.send(login.subarray(at), request);
          await late.until('Z');
          got.push({ where: `start-up packet cut at ${at}`, got: await answer(late) });
          late.stream.destroy();
        }
        return got;
      },
      stop: async () => {
        for (const client of clients) await client.end().catch(() => {});
        await served.stop('the test is over');
        await tap.close();
        await t.stop();
      },
    };
  },
};
