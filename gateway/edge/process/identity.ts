/**
 * Who an edge is: an Ed25519 key that it made itself, which never leaves its folder; the gateway has the public half. Joined
 * once with a token, proved anew at each connect, changed now and then.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { z } from 'zod';
import { EDGE_NAME, EDGE_TOKEN_SECONDS, EDGE_TOKEN_TYPE, JOIN_DOMAIN, JOIN_PATH, JoinedEdge, ROTATE_PATH } from '../../../contract/gateway/edges.ts';
import { Problem } from '../../../contract/problem.ts';
import { Secret } from '../../../contract/secret.ts';
import { readSmallFile, writePrivateFile } from '../../../proxy/daemon/privateFile.ts';
import type { Log } from '../../../proxy/pipeline/engine.ts';
import type { AccessToken } from '../../../proxy/uplink/uplink.ts';

const FILE = 'edge.json';
const MAX_FILE_BYTES = 16_384;
/** A key is changed when it is older than this, in milliseconds. */
const KEY_LIFE_MS = 30 * 86_400_000;
/** How long a token says that it is good for; the gateway says how long the link that it opens lives. */
const CLAIMED_MS = 24 * 3_600_000;

const Kept = z.object({
  version: z.literal(1),
  edge: z.string().regex(EDGE_NAME),
  /** The gateway that it joined, as that calls itself: what its proofs are for. */
  issuer: z.string().max(2000),
  id: z.string().max(128),
  /** PKCS #8, PEM. */
  key: z.string().max(2000),
  since: z.number(),
  /** Hash of the token that it joined with: with another one it joins anew. */
  joinedWith: z.string().max(128),
  /** A key that is being put in this one's place. */
  next: z.string().max(2000).optional(),
});
type Kept = z.infer<typeof Kept>;

/** Sends JSON to the gateway. @throws Problem: the gateway's refusal under its code, or why it could not be reached */
export type Post = (path: string, body: object) => Promise<unknown>;

export interface EdgeIdentityOptions {
  readonly data: string;
  /** Path of the file with the join token. */
  readonly token: string | undefined;
  readonly post: Post;
  /** The gateway's address, as the edge was given it. */
  readonly gateway: URL;
  readonly log: Log;
  readonly now?: () => number;
}

export class EdgeIdentity {
  readonly #options: EdgeIdentityOptions;
  #kept: Kept;
  #key: KeyObject;

  /** Joins where that has not been done. @throws Problem with a sentence for whoever started it */
  static async open(options: EdgeIdentityOptions): Promise<EdgeIdentity> {
    const kept = read(options.data);
    const token = options.token === undefined ? undefined : readSmallFile(options.token, 4096)?.trim();
    if (kept && (token === undefined || token === '' || hashOf(token) === kept.joinedWith)) return new EdgeIdentity(options, kept);
    if (token === undefined || token === '') {
      throw new Problem(
        'edge-not-joined',
        options.token === undefined
          ? 'This edge has not joined a gateway yet. Make a token with `countersign gateway edge add NAME`, put it into a file, and name that with --token-file.'
          : `The file ${options.token} holds no join token. Make one with \`countersign gateway edge add NAME\`.`,
      );
    }
    return new EdgeIdentity(options, await joined(options, token));
  }

  private constructor(options: EdgeIdentityOptions, kept: Kept) {
    this.#options = options;
    this.#kept = kept;
    this.#key = createPrivateKey(kept.key);
  }

  get edge(): string {
    return this.#kept.edge;
  }

  get keyId(): string {
    return this.#kept.id;
  }

  /** A fresh proof, good for one use within a minute. */
  async token(): Promise<AccessToken> {
    return { token: await this.#assertion(), expiresAt: this.#now() + CLAIMED_MS };
  }

  /** Puts a new key in the old one's place when that has grown old, or was begun before. False where there was nothing to do. */
  async rotate(always = false): Promise<boolean> {
    const { data, log, post } = this.#options;
    if (!always && this.#kept.next === undefined && this.#now() - this.#kept.since < KEY_LIFE_MS) return false;
    // On the disk before the gateway hears of it: whichever of the two it knows afterwards is there.
    const next = this.#kept.next ?? newKey();
    this.#kept = { ...this.#kept, next };
    try {
      write(data, this.#kept);
    } catch (cause) {
      // A key that is handed to it from outside is changed from outside.
      log.info('edge.key-not-changed', { cause });
      return false;
    }
    const assertion = (await this.#assertion()).reveal();
    const { key, publicKey, proof } = proved(next, this.#kept.issuer, assertion);
    const { key: id } = JoinedEdge.parse(await post(ROTATE_PATH, { assertion, publicKey, proof, host: hostname() }));
    const { next: _done, ...kept } = this.#kept;
    this.#kept = { ...kept, id, key: next, since: this.#now() };
    this.#key = key;
    write(data, this.#kept);
    log.info('edge.key-changed', { key: id });
    return true;
  }

  #now(): number {
    return this.#options.now?.() ?? Date.now();
  }

  async #assertion(): Promise<Secret> {
    const { id, issuer } = this.#kept;
    const now = Math.floor(this.#now() / 1000);
    const token = await new SignJWT({})
      .setProtectedHeader({ alg: 'EdDSA', kid: id, typ: EDGE_TOKEN_TYPE })
      .setIssuer(id)
      .setSubject(id)
      .setAudience(issuer)
      .setIssuedAt(now)
      .setExpirationTime(now + EDGE_TOKEN_SECONDS)
      .setJti(randomBytes(16).toString('base64url'))
      .sign(this.#key);
    return new Secret(token);
  }
}

async function joined({ data, gateway, log, now = Date.now, post }: EdgeIdentityOptions, token: string): Promise<Kept> {
  const issuer = gateway.href.replace(/\/+$/, '');
  // The key is kept before it is sent: an answer that is lost on the way is asked for again with the same one.
  const begun = join(data, 'edge.joining');
  const pem = readSmallFile(begun, MAX_FILE_BYTES) ?? newKey();
  try {
    mkdirSync(data, { recursive: true, mode: 0o700 });
    writePrivateFile(begun, pem);
  } catch (cause) {
    throw new Problem(
      'edge-data',
      `The folder ${data} cannot be written (${(cause as NodeJS.ErrnoException).code ?? 'unknown'}). Name another with \`data\`.`,
      {
        cause,
      },
    );
  }
  const { proof, publicKey } = proved(pem, issuer, token);
  const answer = JoinedEdge.parse(await post(JOIN_PATH, { token, publicKey, proof, host: hostname() }));
  const kept: Kept = { version: 1, edge: answer.edge, issuer: answer.issuer, id: answer.key, key: pem, since: now(), joinedWith: hashOf(token) };
  write(data, kept);
  rmSync(begun, { force: true });
  log.info('edge.joined', { edge: kept.edge, key: kept.id });
  return kept;
}

function proved(pem: string, issuer: string, over: string): { readonly key: KeyObject; readonly publicKey: string; readonly proof: string } {
  const key = createPrivateKey(pem);
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
  return { key, publicKey, proof: sign(null, Buffer.from(`${JOIN_DOMAIN}${issuer}\n${over}`), key).toString('base64url') };
}

function read(data: string): Kept | undefined {
  const file = join(data, FILE);
  try {
    const text = readSmallFile(file, MAX_FILE_BYTES);
    return text === undefined ? undefined : Kept.parse(JSON.parse(text));
  } catch (cause) {
    throw new Problem('edge-data', `The file ${file} cannot be read, or is damaged. Put it back from a copy; or remove it, and join again with a new token.`, {
      cause,
    });
  }
}

function write(data: string, kept: Kept): void {
  writePrivateFile(join(data, FILE), `${JSON.stringify(kept)}\n`);
}

function newKey(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('base64url');
}
