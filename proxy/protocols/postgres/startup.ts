/** The front leg up to the login: SSLRequest, GSSENCRequest, CancelRequest, StartupMessage, SCRAM. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type SecureContext, TLSSocket } from 'node:tls';
import { Problem } from '../../../contract/problem.ts';
import type { ClientIdentity, Clients } from '../protocol.ts';
import { ByteSource, ClientGone } from './byteSource.ts';
import { BACK, CODE, FieldReader, FRONT, FrameWriter, MAX_STARTUP_BYTES, PROTOCOL_MAJOR, violation } from './frames.ts';
import { type OwnError, SQLSTATE } from './messages.ts';
import { MECHANISM, ScramServer } from './scram.ts';

/** Most start-up parameters that a client may send. */
const MAX_PARAMETERS = 64;
/** Largest SASL message, in bytes. */
const MAX_SASL_BYTES = 4096;

/** A login that is refused with an error of PostgreSQL's kind. */
export class Refused extends Problem {
  readonly error: OwnError;

  constructor(error: OwnError) {
    super('refused', error.message);
    this.error = { severity: 'FATAL', ...error };
  }
}

export type Greeting =
  | { readonly kind: 'cancel'; readonly body: FieldReader }
  | { readonly kind: 'startup'; readonly stream: Duplex; readonly parameters: ReadonlyMap<string, string>; readonly source: ByteSource };

/** @param tls undefined where there is no socket to encrypt: inside the process */
export async function greet(raw: Duplex, tls: (() => SecureContext) | undefined, signal: AbortSignal): Promise<Greeting> {
  let stream = raw;
  let source = new ByteSource(stream, signal);
  let askedTls = false;
  let askedGss = false;
  for (;;) {
    const size = (await source.take(4)).readInt32BE(0);
    if (size < 8 || size > MAX_STARTUP_BYTES) throw violation(`a start-up packet of ${size} bytes`);
    const packet = await source.take(size - 4);
    const body = new FieldReader(packet, 0, packet.length);
    const code = body.int32();
    if (code === CODE.ssl) {
      if (askedTls) throw violation('a second SSLRequest');
      askedTls = true;
      if (!tls || !(raw instanceof Socket)) {
        stream.write('N');
        continue;
      }
      // Bytes sent in clear before TLS must not be read as if they had come through it (CVE-2021-23214).
      if (source.release().length > 0) throw violation('bytes between SSLRequest and TLS');
      raw.write('S');
      stream = await encrypt(raw, tls(), signal);
      source = new ByteSource(stream, signal);
    } else if (code === CODE.gss) {
      if (askedGss) throw violation('a second GSSENCRequest');
      askedGss = true;
      stream.write('N');
    } else if (code === CODE.cancel) {
      return { kind: 'cancel', body };
    } else if (code >>> 16 === PROTOCOL_MAJOR) {
      const parameters = readParameters(body);
      const minor = code & 0xffff;
      const unknown = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'));
      if (minor > 0 || unknown.length > 0) {
        const writer = new FrameWriter()
          .begin(BACK.negotiate)
          .int32(PROTOCOL_MAJOR << 16)
          .int32(unknown.length);
        for (const name of unknown) writer.text(name);
        stream.write(writer.end().take());
      }
      for (const name of unknown) parameters.delete(name);
      return { kind: 'startup', stream, parameters, source };
    } else {
      throw new Refused({
        code: SQLSTATE.featureNotSupported,
        message: `unsupported frontend protocol ${code >>> 16}.${code & 0xffff}: this address speaks PostgreSQL protocol 3.0`,
      });
    }
  }
}

function encrypt(raw: Socket, secureContext: SecureContext, signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secure = new TLSSocket(raw, { isServer: true, secureContext });
    const gone = (): void => reject(new ClientGone('the client gave up on TLS'));
    secure.on('error', gone).once('close', gone);
    signal.addEventListener('abort', gone, { once: true });
    secure.once('secure', () => {
      signal.removeEventListener('abort', gone);
      resolve(secure);
    });
  });
}

function readParameters(body: FieldReader): Map<string, string> {
  const parameters = new Map<string, string>();
  while (body.left > 1) {
    const name = body.text();
    if (name === '') throw violation('a start-up parameter without a name');
    if (parameters.size >= MAX_PARAMETERS) throw violation('too many start-up parameters');
    if (parameters.has(name)) throw violation(`start-up parameter ${JSON.stringify(name.slice(0, 40))} given twice`);
    parameters.set(name, body.text());
  }
  if (body.left !== 1 || body.byte() !== 0) throw violation('a start-up packet without an end');
  return parameters;
}

/** SCRAM with one of the logins that agents' clients get. Throws `Refused` with 28P01, the same for every way to be wrong. */
export async function authenticate(stream: Duplex, source: ByteSource, user: string, clients: Clients): Promise<ClientIdentity> {
  const login = clients.login(user);
  const wrong = new Refused({
    code: SQLSTATE.invalidPassword,
    message: `password authentication failed for user "${printable(user)}"`,
    hint: 'Logins to Countersign are short-lived: open a new terminal in the editor, or copy the connection again.',
  });
  const scram = new ScramServer(user, login?.secret);
  stream.write(new FrameWriter().begin(BACK.authentication).int32(10).text(MECHANISM).byte(0).end().take());

  const initial = await saslMessage(source);
  if (initial.text() !== MECHANISM) throw wrong;
  const length = initial.int32();
  if (length < 0) throw wrong;
  let serverFirst: string;
  try {
    serverFirst = await scram.first(initial.bytes(length).toString());
  } catch (cause) {
    if (cause instanceof Problem && cause.code === 'scram') throw wrong;
    throw cause;
  }
  stream.write(new FrameWriter().begin(BACK.authentication).int32(11).bytes(Buffer.from(serverFirst)).end().take());

  const final = await saslMessage(source);
  const serverFinal = scram.final(final.bytes(final.left).toString());
  if (serverFinal === undefined || !login) throw wrong;
  stream.write(new FrameWriter().begin(BACK.authentication).int32(12).bytes(Buffer.from(serverFinal)).end().take());
  return login.identity;
}

async function saslMessage(source: ByteSource): Promise<FieldReader> {
  const head = await source.take(5);
  const size = head.readInt32BE(1);
  if (head[0] !== FRONT.password || size < 4 || size > MAX_SASL_BYTES) throw violation('something else than a SASL message during the login');
  const body = await source.take(size - 4);
  return new FieldReader(body, 0, body.length);
}

/** Text of a stranger for an error message: short, and without control characters. */
export function printable(text: string): string {
  return text.slice(0, 63).replace(/[^\x20-\x7e]/g, '?');
}
