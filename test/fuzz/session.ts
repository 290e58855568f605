/**
 * A client's bytes, whatever they are, into a real session before a server that answers as other bytes say. Under a policy
 * that denies everything, nothing that could run may come out at the far side; and whatever comes, the session is over when
 * its client has gone.
 */
import { rmSync } from 'node:fs';
import { type Duplex, duplexPair } from 'node:stream';
import { Session } from '../../proxy/pipeline/session.ts';
import type { PostgresConnection } from '../../proxy/policy/policy.ts';
import { FieldReader, FRONT, FrameReader, FrameWriter } from '../../proxy/protocols/postgres/frames.ts';
import type { Ground } from '../../proxy/protocols/postgres/ground.ts';
import { ClientSession, type SessionParts } from '../../proxy/protocols/postgres/session.ts';
import { READ_ALL, READ_PATH } from '../../proxy/protocols/postgres/sessionNames.ts';
import type { Catalog } from '../../proxy/protocols/postgres/sql/catalog.ts';
import type { SqlClassifier } from '../../proxy/protocols/postgres/sql/classifier.ts';
import { type TestEngine, testEngine } from '../support/engine.ts';

const DENY_ALL = `version: 1
defaults: { read: deny, write: deny, delete: deny, schema: deny, admin: deny, execute: deny, unknown: deny, send: deny }
connections:
  main: { protocol: postgres, upstream: 'postgres://nobody@127.0.0.1:1/none', password: 'secret:none', sensitive: { customers.email: redact } }
`;
/** Longest that a session may take to end once its client has gone, in milliseconds. */
const END_MS = 20_000;
/** Types that may go upstream without a permit of their own, besides queries of ours and the Execute that fails on purpose. */
const HARMLESS: ReadonlySet<number> = new Set([FRONT.sync, FRONT.flush, FRONT.describe, FRONT.close, FRONT.terminate]);
const ABORT_PORTAL = /^countersign [0-9a-f]{24}$/;

export async function sessionTarget(classifier: SqlClassifier, catalog: Catalog): Promise<(data: Buffer) => Promise<void>> {
  const t = await testEngine(DENY_ALL);
  // A fuzzer has no end of its own at which to tidy up.
  process.once('exit', () => rmSync(t.directory, { recursive: true, force: true }));
  const connection = t.policy().connections.get('main') as PostgresConnection;
  const reading = { catalog, plan: t.policy().maskPlan('main'), searchPath: ['public'] };
  const catalogs = { current: catalog, fresh: () => Promise.resolve(catalog), stale: () => {}, ageOut: () => {}, olderThan: () => false };
  const ground = { engine: t.engine, connection, classifier, catalogs, reading: () => reading, follow: () => {} } as unknown as Ground;
  return (data) => oneSession(t, ground, data);
}

async function oneSession(t: TestEngine, ground: Ground, data: Buffer): Promise<void> {
  const record = await Session.open(t.engine, { ...t.identity(), connection: 'main', protocol: 'postgres' });
  const [client, near] = duplexPair();
  const [socket, server] = duplexPair();
  for (const stream of [client, near, socket, server]) stream.on('error', () => {});
  client.resume();
  const wrong: string[] = [];
  scripted(server, data, wrong);
  const closed = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the session did not end')), END_MS);
    const parts = {
      ground,
      identity: t.identity(),
      record,
      client: near,
      backend: { socket, parameters: new Map(), cancelKey: Buffer.alloc(8), notices: [] },
      searchPath: ['public'],
      dryRunLogin: undefined,
      onClosed: () => {
        clearTimeout(timer);
        resolve();
      },
    } as unknown as SessionParts;
    new ClientSession(parts).start(Buffer.alloc(0));
  });
  // Cut in two where the bytes say: each half is a chunk of its own.
  const cut = data.length === 0 ? 0 : (data[0] ?? 0) % data.length;
  client.write(data.subarray(0, cut));
  await new Promise((resolve) => setImmediate(resolve));
  client.end(data.subarray(cut));
  await closed;
  server.destroy();
  const fault = t.logged.splice(0).find(({ level }) => level === 'error');
  if (fault) throw new Error(`a fault of ours: ${fault.event}`, { cause: (fault.fields as { cause?: unknown }).cause });
  if (wrong.length > 0) throw new Error(`forwarded without a permit: ${wrong.join(', ')}`);
}

const message = (type: string, body = ''): Buffer => {
  const writer = new FrameWriter().begin(type.charCodeAt(0)).bytes(Buffer.from(body, 'latin1'));
  return writer.end().take();
};
const READY = message('Z', 'I');
const ERROR = message('E', 'SERROR\0C42601\0Mno\0\0');

const ANSWERS = '123ACDEGHINSTWVZKRcdnstv';

/** A frame of any type that a server has, with any body. */
function anyAnswer(data: Buffer, turn: number): Buffer {
  const from = turn % Math.max(1, data.length);
  return message(ANSWERS.charAt(turn % ANSWERS.length), data.toString('latin1', from, from + (turn % 90)));
}

/** Looks at each frame that arrives; answers well or badly, as the bytes of the run decide. */
function scripted(server: Duplex, data: Buffer, wrong: string[]): void {
  const reader = new FrameReader();
  let turn = 0;
  let failed = false;
  // Every fourth run the server keeps to nothing.
  const wild = (data.at(-1) ?? 0) % 4 === 3;
  const whim = (): number => (data.length === 0 ? 0 : (data[(turn += 7) % data.length] ?? 0));
  server.on('data', (chunk: Buffer) => {
    reader.push(chunk);
    while (reader.next()) {
      const { buffer, end, start, type } = reader;
      const ours = type === FRONT.query && [READ_ALL, READ_PATH].includes(FieldReader.body(buffer, start, end).text());
      const abort = type === FRONT.execute && ABORT_PORTAL.test(FieldReader.body(buffer, start, end).text());
      if (!ours && !abort && !HARMLESS.has(type)) wrong.push(`${String.fromCharCode(type)} ${buffer.toString('latin1', start + 5, end)}`);
      if (type === FRONT.terminate) server.end();
      else if (type === FRONT.sync || type === FRONT.query) {
        failed = false;
        server.write(READY);
      } else if (!failed && type !== FRONT.flush) {
        failed = abort || whim() % 3 === 0;
        const good = type === FRONT.close ? message('3') : buffer[start + 5] === 0x53 ? Buffer.concat([message('t', '\0\0'), message('n')]) : message('n');
        server.write(wild ? anyAnswer(data, turn) : failed ? ERROR : good);
      }
    }
  });
}
