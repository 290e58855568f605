/** Logs in to the database: TLS as the connection says, SCRAM or what else the server asks for, up to the first ReadyForQuery. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { userInfo } from 'node:os';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { Problem } from '../../../contract/problem.ts';
import { Secret } from '../../../contract/secret.ts';
import type { PostgresConnection } from '../../policy/policy.ts';
import type { Dial, Dialled } from '../protocol.ts';
import { BACK, CODE, FieldReader, FRONT, FrameReader, FrameWriter, IDLE, violation } from './frames.ts';
import { type Diagnostic, readDiagnostic, TERMINATE } from './messages.ts';
import { MECHANISM, ScramClient } from './scram.ts';

/** How long a connection and login may take, in milliseconds. */
const CONNECT_TIMEOUT_MS = 15_000;
/** Largest message during the login, in bytes. */
const MAX_LOGIN_FRAME = 65_536;
const KEEP_ALIVE_MS = 30_000;

/** A live, logged-in connection to the database; whoever holds it reads and writes the socket. */
export interface Backend {
  readonly socket: Duplex;
  /** What the server reported: `server_version`, `client_encoding`, … */
  readonly parameters: Map<string, string>;
  /** The body of BackendKeyData: what cancels a statement of this connection. */
  readonly cancelKey: Buffer;
  /** Notices of the login, as they came. */
  readonly notices: readonly Buffer[];
  /** How it was reached, where that was not straight from here. */
  readonly dial?: Dial | undefined;
  /** Why it ended, where that was not the server's doing. */
  readonly lost?: Dialled['lost'] | undefined;
}

/** The server's own refusal at login, so that a client gets it as it was. */
export class LoginRefused extends Problem {
  readonly diagnostic: Diagnostic;

  constructor(diagnostic: Diagnostic) {
    super('login-refused', diagnostic.get('M') ?? 'the database refused the login');
    this.diagnostic = diagnostic;
  }
}

export function upstreamUser(connection: PostgresConnection): string {
  return connection.upstream.user ?? userInfo().username;
}

/**
 * @param startup further start-up parameters (`application_name`, …)
 * @throws Problem `unreachable`, `tls`, `login`; LoginRefused with the server's words
 */
export async function openBackend(
  connection: PostgresConnection,
  password: Secret | undefined,
  startup: ReadonlyMap<string, string>,
  signal: AbortSignal,
  dial?: Dial,
): Promise<Backend> {
  const timeout = AbortSignal.timeout(CONNECT_TIMEOUT_MS);
  const either = AbortSignal.any([signal, timeout]);
  const { lost, socket } = await reach(connection, either, dial);
  try {
    return { ...(await logIn(socket, connection, password, startup, either)), dial, lost };
  } catch (cause) {
    socket.destroy();
    const why = lost?.();
    if (why !== undefined) throw new Problem('unreachable', `${connection.name}: ${why}`, { cause });
    if (timeout.aborted && !signal.aborted) throw unreachable(connection, new Error(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`));
    throw cause;
  }
}

/** Asks the server, on a connection of its own, to cancel what a session is doing. Resolves when it was handed over. */
export async function cancelBackend(
  connection: PostgresConnection,
  { cancelKey, dial }: Pick<Backend, 'cancelKey' | 'dial'>,
  signal: AbortSignal,
): Promise<void> {
  const { socket } = await reach(connection, AbortSignal.any([signal, AbortSignal.timeout(CONNECT_TIMEOUT_MS)]), dial);
  const request = new FrameWriter(16)
    .int32(8 + cancelKey.length)
    .int32(CODE.cancel)
    .bytes(cancelKey)
    .take();
  await new Promise<void>((resolve) => {
    socket.on('error', () => resolve());
    socket.on('close', () => resolve());
    socket.on('data', () => {});
    socket.end(request);
    const late = setTimeout(() => socket.destroy(), CONNECT_TIMEOUT_MS).unref();
    socket.once('close', () => clearTimeout(late));
  });
}

function unreachable(connection: PostgresConnection, cause: unknown): Problem {
  const { host, port } = connection.upstream;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new Problem('unreachable', `${connection.name}: no connection to the database at ${host}:${port} (${why}). Check that it runs and can be reached.`, {
    cause,
  });
}

interface Reached {
  readonly socket: Duplex;
  readonly lost: Dialled['lost'] | undefined;
}

/** A socket to the database, encrypted where the connection says so, before any message but SSLRequest. */
async function reach(connection: PostgresConnection, signal: AbortSignal, dial: Dial | undefined): Promise<Reached> {
  const dialled = await dial?.(connection.upstream, signal);
  const socket = dialled?.stream ?? (await straight(connection, signal));
  if (connection.tls.mode === 'disable') return { socket, lost: dialled?.lost };
  try {
    return { socket: await encrypt(socket, connection, signal), lost: dialled?.lost };
  } catch (cause) {
    socket.destroy();
    if (cause instanceof Problem) throw cause;
    const why = dialled?.lost() ?? (cause instanceof Error ? cause.message : String(cause));
    throw new Problem('tls', `${connection.name}: the connection to the database could not be encrypted as sslmode=${connection.tls.mode} demands (${why}).`, {
      cause,
    });
  }
}

async function straight(connection: PostgresConnection, signal: AbortSignal): Promise<Socket> {
  const { host, port } = connection.upstream;
  // A folder is where a Unix socket lies, as in libpq.
  const socket = host.startsWith('/') ? connectTcp({ path: `${host}/.s.PGSQL.${port}` }) : connectTcp({ host, port });
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  // An error between two waits has no other listener; the close that follows it is what counts.
  socket.on('error', () => {});
  try {
    await once(socket, 'connect', signal);
  } catch (cause) {
    socket.destroy();
    throw unreachable(connection, cause);
  }
  return socket;
}

async function encrypt(socket: Duplex, connection: PostgresConnection, signal: AbortSignal): Promise<TLSSocket> {
  const { host } = connection.upstream;
  socket.write(new FrameWriter(8).int32(8).int32(CODE.ssl).take());
  const answer = await firstBytes(socket, signal);
  // One unframed byte. More of them before TLS were put there by someone in between (CVE-2021-23222).
  if (answer.length !== 1) throw violation('bytes between the answer to SSLRequest and TLS');
  if (answer[0] !== 0x53) {
    throw new Problem(
      'tls',
      `${connection.name}: the database does not offer TLS, and sslmode=${connection.tls.mode} demands it. Switch TLS on at the server, or set sslmode=disable for a network that you trust.`,
    );
  }
  const verify = connection.tls.mode === 'verify-full';
  const secure = connectTls({
    socket,
    rejectUnauthorized: verify,
    ...(isIP(host) === 0 && !host.startsWith('/') && { servername: host }),
    ...(verify && { host }),
    ...(connection.tls.ca !== undefined && { ca: readFileSync(connection.tls.ca) }),
  });
  secure.on('error', () => {});
  await once(secure, 'secureConnect', signal);
  return secure;
}

function firstBytes(socket: Duplex, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      socket.off('data', onData).off('close', onClose).off('error', reject);
      signal.removeEventListener('abort', onAbort);
      socket.pause();
    };
    const onData = (chunk: Buffer): void => {
      done();
      resolve(chunk);
    };
    const onClose = (): void => {
      done();
      reject(new Error('it closed the connection'));
    };
    const onAbort = (): void => {
      done();
      reject(new Error('it took too long'));
    };
    socket.on('data', onData).on('close', onClose).on('error', reject);
    signal.addEventListener('abort', onAbort);
    if (socket.destroyed) onClose();
    else if (signal.aborted) onAbort();
    else socket.resume();
  });
}

function once(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      socket.off(event, onEvent).off('error', onError).off('close', onClose);
      signal.removeEventListener('abort', onAbort);
    };
    const onEvent = (): void => {
      done();
      resolve();
    };
    const onError = (cause: Error): void => {
      done();
      reject(cause);
    };
    const onClose = (): void => onError(new Error('it closed the connection'));
    const onAbort = (): void => onError(new Error('it took too long, or was given up'));
    socket.on(event, onEvent).on('error', onError).on('close', onClose);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
  });
}

async function logIn(
  socket: Duplex,
  connection: PostgresConnection,
  password: Secret | undefined,
  startup: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<Backend> {
  const user = upstreamUser(connection);
  const writer = new FrameWriter().int32(0).int32(3 << 16);
  writer.text('user').text(user).text('database').text(connection.upstream.database);
  for (const [name, value] of startup) writer.text(name).text(value);
  writer.byte(0);
  writer.patch(0, writer.length);
  socket.write(writer.take());

  const reader = new FrameReader(MAX_LOGIN_FRAME);
  const frames = messages(reader, socket, signal);
  const parameters = new Map<string, string>();
  const notices: Buffer[] = [];
  let cancelKey: Buffer | undefined;
  let scram: ScramClient | undefined;
  let proved = false;
  const secret = (): Secret => {
    if (password) return password;
    throw new Problem('login', `${connection.name}: the database asks for a password for ${user}, and none is configured. Add "password:" to the connection.`);
  };
  for await (const { type, body } of frames) {
    switch (type) {
      case BACK.authentication: {
        const kind = body.int32();
        if (kind === 0) {
          // A server that skips its own proof after SCRAM began is not the one that knows the password.
          if (scram && !proved) throw violation('a login that ended before the server proved itself');
        } else if (kind === 10) {
          const offered: string[] = [];
          while (body.left > 1) offered.push(body.text());
          if (!offered.includes(MECHANISM))
            throw new Problem('login', `${connection.name}: the database offers only ${offered.join(', ')}; ${MECHANISM} is needed.`);
          scram = new ScramClient(secret());
          const first = Buffer.from(scram.first());
          socket.write(new FrameWriter().begin(FRONT.password).text(MECHANISM).int32(first.length).bytes(first).end().take());
        } else if (kind === 11 && scram) {
          const final = await scram.final(body.bytes(body.left).toString());
          socket.write(new FrameWriter().begin(FRONT.password).bytes(Buffer.from(final)).end().take());
        } else if (kind === 12 && scram) {
          scram.verify(body.bytes(body.left).toString());
          proved = true;
        } else if (kind === 5) {
          // MD5 gives the hash away to who listens; still better than to refuse an old server on a link that is encrypted or local.
          const salt = body.bytes(4);
          const inner = createHash('md5')
            .update(secret().reveal() + user)
            .digest('hex');
          const outer = createHash('md5').update(inner).update(salt).digest('hex');
          socket.write(new FrameWriter().begin(FRONT.password).text(`md5${outer}`).end().take());
        } else if (kind === 3) {
          if (connection.tls.mode === 'disable' && !isLocal(connection.upstream.host)) {
            throw new Problem(
              'login',
              `${connection.name}: the database asks for the password in clear text on a connection that is not encrypted. Set sslmode=verify-full.`,
            );
          }
          socket.write(new FrameWriter().begin(FRONT.password).text(secret().reveal()).end().take());
        } else {
          throw new Problem('login', `${connection.name}: the database asks for a way to log in that is not supported (${kind}). Let it use scram-sha-256.`);
        }
        break;
      }
      case BACK.parameterStatus:
        parameters.set(body.text(), body.text());
        break;
      case BACK.backendKey:
        cancelKey = Buffer.from(body.bytes(body.left));
        break;
      case BACK.notice:
        notices.push(Buffer.from(body.buffer.subarray(body.at - 5, body.end)));
        break;
      case BACK.negotiate:
        break;
      case BACK.error:
        throw new LoginRefused(readDiagnostic(body.buffer, body.at - 5, body.end));
      case BACK.ready:
        if (body.byte() !== IDLE || !cancelKey) throw violation('a login that ends in a transaction, or without a key to cancel by');
        if (reader.pending > 0) throw violation('messages after the login that nobody asked for');
        return { socket, parameters, cancelKey, notices };
      default:
        throw violation(`message ${String.fromCharCode(type)} during the login`);
    }
  }
  throw new Problem('unreachable', `${connection.name}: the database closed the connection during the login.`);
}

function isLocal(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.') || host.startsWith('/');
}

/** The messages of the login, one at a time; leaves the socket paused and without listeners. */
async function* messages(reader: FrameReader, socket: Duplex, signal: AbortSignal): AsyncGenerator<{ type: number; body: FieldReader }> {
  for (;;) {
    while (reader.next()) yield { type: reader.type, body: FieldReader.body(reader.buffer, reader.start, reader.end) };
    reader.push(await firstBytes(socket, signal));
  }
}

/** Says goodbye and lets go of the socket, or of the stream that took its place. */
export function closeBackend({ socket }: { readonly socket: Duplex }): void {
  if (socket.destroyed) return;
  socket.removeAllListeners('data');
  socket.on('error', () => {});
  socket.end(TERMINATE);
  socket.resume();
  const late = setTimeout(() => socket.destroy(), CONNECT_TIMEOUT_MS).unref();
  socket.once('close', () => clearTimeout(late));
}
