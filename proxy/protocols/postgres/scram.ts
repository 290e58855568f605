/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides, without channel binding: a proxy that ends TLS cannot pass the `-PLUS`
 * form through, so it is neither offered nor taken.
 */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { Problem } from '../../../contract/problem.ts';
import type { Secret } from '../../../contract/secret.ts';

export const MECHANISM = 'SCRAM-SHA-256';
const ITERATIONS = 4096;
/** Most rounds that a server may ask of us: beyond it, it wants our time, not our proof. */
const MAX_ITERATIONS = 1_000_000;
/** Longest SCRAM message, in characters. */
const MAX_MESSAGE = 4096;
const SALT_BYTES = 16;
const NONCE_BYTES = 18;

const derive = promisify(pbkdf2);
const hmac = (key: Uint8Array, text: string | Uint8Array): Buffer => createHmac('sha256', key).update(text).digest();
const hash = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  return Buffer.from(a.map((byte, i) => byte ^ (b[i] ?? 0)));
}

/** SASLprep (RFC 4013) as far as NFKC; PostgreSQL too takes a password as it is where the full preparation fails. */
function prepared(password: string): string {
  return password.normalize('NFKC');
}

function failed(what: string, code = 'scram'): Problem {
  return new Problem(code, what);
}

/** `r=…,s=…,i=…` as a map. Values may hold `=`. */
function attributes(message: string): ReadonlyMap<string, string> {
  if (message.length > MAX_MESSAGE) throw failed('a SCRAM message is too long');
  return new Map(message.split(',').map((part) => [part.slice(0, 1), part.slice(2)]));
}

/** What a server keeps of a password. */
interface Verifier {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

async function verifierOf(password: string, salt: Buffer, iterations: number): Promise<Verifier> {
  const salted = await derive(prepared(password), salt, iterations, 32, 'sha256');
  return { salt, iterations, storedKey: hash(hmac(salted, 'Client Key')), serverKey: hmac(salted, 'Server Key') };
}

/** What `CREATE ROLE … PASSWORD` takes in place of a password, so that the server never sees one. */
export async function scramVerifier(password: Secret): Promise<string> {
  const { iterations, salt, serverKey, storedKey } = await verifierOf(password.reveal(), randomBytes(SALT_BYTES), ITERATIONS);
  return `${MECHANISM}$${iterations}:${salt.toString('base64')}$${storedKey.toString('base64')}:${serverKey.toString('base64')}`;
}

/** One derivation a secret: logins are many, and each costs milliseconds. */
const verifiers = new WeakMap<Secret, Promise<Verifier>>();
/** For logins that do not exist: the same steps, so that their time and answers tell nothing. */
const mockKey = randomBytes(32);

function verifierFor(secret: Secret | undefined, user: string): Promise<Verifier> {
  if (!secret) return verifierOf(hmac(mockKey, `password ${user}`).toString('hex'), hmac(mockKey, user).subarray(0, SALT_BYTES), ITERATIONS);
  let verifier = verifiers.get(secret);
  if (!verifier) {
    verifier = verifierOf(secret.reveal(), randomBytes(SALT_BYTES), ITERATIONS);
    verifiers.set(secret, verifier);
  }
  return verifier;
}

/** The server's side of one login. */
export class ScramServer {
  readonly #user: string;
  readonly #secret: Secret | undefined;
  #verifier: Verifier | undefined;
  #clientFirstBare = '';
  #serverFirst = '';
  #gs2 = '';
  #nonce = '';

  /** @param secret undefined for a login that does not exist: it fails at the end, as a wrong one does */
  constructor(user: string, secret: Secret | undefined) {
    this.#user = user;
    this.#secret = secret;
  }

  /** Client-first → server-first. */
  async first(message: string): Promise<string> {
    if (message.length > MAX_MESSAGE) throw failed('a SCRAM message is too long');
    // `p=` asks for channel binding, which was not offered. `y` says that we did not offer it, which is so.
    const header = /^([ny]),(a=[^,]*)?,/.exec(message);
    if (!header) throw failed('the client asked for channel binding, which was not offered');
    this.#gs2 = header[0];
    this.#clientFirstBare = message.slice(header[0].length);
    const clientNonce = attributes(this.#clientFirstBare).get('r');
    if (!clientNonce || !/^[\x21-\x7e]+$/.test(clientNonce)) throw failed('the client sent no nonce');
    this.#nonce = clientNonce + randomBytes(NONCE_BYTES).toString('base64');
    this.#verifier = await verifierFor(this.#secret, this.#user);
    this.#serverFirst = `r=${this.#nonce},s=${this.#verifier.salt.toString('base64')},i=${this.#verifier.iterations}`;
    return this.#serverFirst;
  }

  /** Client-final → server-final; undefined where the proof is wrong. */
  final(message: string): string | undefined {
    const verifier = this.#verifier;
    const fields = attributes(message);
    const proof = Buffer.from(fields.get('p') ?? '', 'base64');
    const withoutProof = message.slice(0, message.lastIndexOf(',p='));
    if (!verifier || fields.get('r') !== this.#nonce || proof.length !== 32) return undefined;
    if (fields.get('c') !== Buffer.from(this.#gs2).toString('base64')) return undefined;
    const auth = `${this.#clientFirstBare},${this.#serverFirst},${withoutProof}`;
    const clientKey = xor(proof, hmac(verifier.storedKey, auth));
    const right = timingSafeEqual(hash(clientKey), verifier.storedKey);
    if (!right || !this.#secret) return undefined;
    return `v=${hmac(verifier.serverKey, auth).toString('base64')}`;
  }
}

/** The client's side of one login: what the proxy does upstream. */
export class ScramClient {
  readonly #password: Secret;
  readonly #nonce = randomBytes(NONCE_BYTES).toString('base64');
  #signature: Buffer | undefined;

  constructor(password: Secret) {
    this.#password = password;
  }

  /** PostgreSQL takes the user from the start-up packet; the name here stays empty. */
  first(): string {
    return `n,,n=,r=${this.#nonce}`;
  }

  /** Server-first → client-final. */
  async final(serverFirst: string): Promise<string> {
    const fields = attributes(serverFirst);
    const nonce = fields.get('r') ?? '';
    const salt = Buffer.from(fields.get('s') ?? '', 'base64');
    const iterations = Number(fields.get('i'));
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) throw failed('the server sent another nonce than ours');
    if (salt.length === 0 || !Number.isInteger(iterations) || iterations < 1 || iterations > MAX_ITERATIONS) throw failed('the server sent no usable salt');
    const salted = await derive(prepared(this.#password.reveal()), salt, iterations, 32, 'sha256');
    const clientKey = hmac(salted, 'Client Key');
    const withoutProof = `c=biws,r=${nonce}`;
    const auth = `n=,r=${this.#nonce},${serverFirst},${withoutProof}`;
    this.#signature = hmac(hmac(salted, 'Server Key'), auth);
    return `${withoutProof},p=${xor(clientKey, hmac(hash(clientKey), auth)).toString('base64')}`;
  }

  /** Server-final: throws unless the server proved that it knows the password too. */
  verify(serverFinal: string): void {
    const given = Buffer.from(attributes(serverFinal).get('v') ?? '', 'base64');
    if (!this.#signature || given.length !== this.#signature.length || !timingSafeEqual(given, this.#signature)) {
      throw failed('the server did not prove that it knows the password');
    }
  }
}
