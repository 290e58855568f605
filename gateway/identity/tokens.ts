/** The gateway's own access tokens: short-lived, for this gateway alone, and only as good as what they stand on. */
import { randomBytes } from 'node:crypto';
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { Agent } from '../../contract/actor.ts';
import { Problem } from '../../contract/problem.ts';
import type { GatewayConfig } from '../config/load.ts';
import type { KeyRing } from './keys.ts';

const TYPE = 'at+jwt';
const ALGORITHM = 'EdDSA';
/** Longest token that is looked at, in characters. */
const MAX_TOKEN_CHARS = 8_192;

/** What stands in a token of ours. */
const Claims = z.object({
  sub: z.string().max(128),
  exp: z.number(),
  iat: z.number(),
  jti: z.string().max(64),
  kind: z.enum(['person', 'service', 'run']),
  /** The login or the service account that it stands on. */
  basis: z.string().max(128),
  /** For a run: who acts (RFC 8693). */
  act: z.object({ sub: z.string().max(128), agent: Agent }).optional(),
  /** For a run: whether it acts for a person or a service account. */
  for: z.enum(['person', 'service']).optional(),
  /** Of a service account: how often it had been switched on again. */
  generation: z.number().int().optional(),
  /** The connections that it may use; absent: all that policy gives. */
  connections: z.array(z.string().max(200)).max(200).optional(),
});
export type TokenClaims = z.infer<typeof Claims>;

export type NewToken = Omit<TokenClaims, 'exp' | 'iat' | 'jti'>;

export class Tokens {
  readonly #config: GatewayConfig;
  readonly #keys: KeyRing;

  constructor(config: GatewayConfig, keys: KeyRing) {
    this.#config = config;
    this.#keys = keys;
  }

  async issue(claims: NewToken, seconds: number): Promise<{ readonly token: string; readonly expiresIn: number }> {
    const { kid, key } = this.#keys.signing('token');
    const expiresIn = Math.max(1, Math.floor(seconds));
    const token = await new SignJWT(claims as JWTPayload)
      .setProtectedHeader({ alg: ALGORITHM, kid, typ: TYPE })
      .setIssuer(this.#config.publicUrl)
      .setAudience(this.#config.publicUrl)
      .setIssuedAt()
      .setExpirationTime(`${expiresIn}s`)
      .setJti(randomBytes(12).toString('base64url'))
      .sign(key);
    return { token, expiresIn };
  }

  /** @throws `Problem` `bad-token`: which check failed is for the log, not for whoever brought it */
  async verify(token: string): Promise<TokenClaims> {
    try {
      if (token.length > MAX_TOKEN_CHARS) throw new Error('too long');
      const { kid } = decodeProtectedHeader(token);
      let key = this.#keys.verifying('token').get(kid ?? '');
      if (!key && kid?.startsWith('token-')) {
        // Another replica may have made one a moment ago.
        await this.#keys.renewed();
        key = this.#keys.verifying('token').get(kid);
      }
      if (!key) throw new Error('unknown key');
      const { payload } = await jwtVerify(token, key, {
        issuer: this.#config.publicUrl,
        audience: this.#config.publicUrl,
        algorithms: [ALGORITHM],
        typ: TYPE,
        requiredClaims: ['exp', 'iat', 'sub', 'jti'],
        clockTolerance: this.#config.identity.clockSkew,
      });
      return Claims.parse(payload);
    } catch (cause) {
      if (cause instanceof errors.JWTExpired) throw new Problem('bad-token', 'Your sign-in has run out. Sign in again.', { cause });
      throw new Problem('bad-token', 'This token is not one of this gateway’s. Sign in again.', { cause });
    }
  }

  get jwks(): { keys: object[] } {
    return { keys: [...this.#keys.verifying('token')].map(([kid, key]) => ({ ...key.export({ format: 'jwk' }), kid, alg: ALGORITHM, use: 'sig' })) };
  }
}
