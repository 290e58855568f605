/** Signing in at a SAML 2.0 provider: begun by us, answered by a signed assertion for us, which counts once. */
import { readFileSync } from 'node:fs';
import { type CacheProvider, type Profile, SAML, ValidateInResponseTo } from '@node-saml/node-saml';
import { z } from 'zod';
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { SamlProvider as Settings } from '../config/schema.ts';
import { hashOf } from '../sealed.ts';
import { type Database, one } from '../store/database.ts';
import type { SignedIn } from './oidc.ts';

/** How long someone may take to sign in, in milliseconds. */
const ATTEMPT_MS = 10 * 60_000;
/** An assertion that was used is remembered for this long at least, in milliseconds. */
const REMEMBER_MS = 24 * 60 * 60_000;
const MAX_SUBJECT_CHARS = 256;
const TRANSIENT = 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient';

export interface SamlOptions {
  readonly settings: Settings;
  /** Public address below which this provider's routes lie. */
  readonly base: string;
  readonly entityId: string;
  readonly clockSkew: number;
  readonly db: Database;
  readonly log: Log;
}

export class SamlLogin {
  readonly id: string;
  readonly title: string;
  readonly kind = 'saml';
  readonly settings: Settings;
  readonly #options: SamlOptions;

  constructor(options: SamlOptions) {
    this.#options = options;
    this.settings = options.settings;
    this.id = options.settings.id;
    this.title = options.settings.title ?? options.settings.id;
  }

  async begin(fresh: boolean, relayState: string): Promise<string> {
    return await this.#saml(fresh).getAuthorizeUrlAsync(relayState, undefined, {});
  }

  metadata(): string {
    return this.#saml(false).generateServiceProviderMetadata(null);
  }

  /** @param fresh whether the login had to be made anew, not before `startedAt`. @throws `Problem` `bad-token` */
  async finish(response: string, fresh: boolean, startedAt: number): Promise<SignedIn> {
    const { settings, clockSkew, log } = this.#options;
    try {
      const { profile } = await this.#saml(fresh).validatePostResponseAsync({ SAMLResponse: response });
      if (!profile) throw new Error('a response without a person');
      if (profile.issuer !== settings.issuer) throw new Error('another issuer');
      if (!profile.nameID || profile.nameID.length > MAX_SUBJECT_CHARS) throw new Error('no subject, or too long a one');
      // Another name at each sign-in would make somebody else of the same person each time: they could approve what they asked.
      if (profile.nameIDFormat === TRANSIENT) throw new Error('a subject that is called so this once: have the provider send a persistent name');
      const authTime = instantOf(profile);
      // Whoever asks for a new login may be shown an old one: what does not say when it was made is none.
      if (fresh && (authTime === undefined || authTime < startedAt - clockSkew * 1000)) throw new Error('the login is older than it must be');
      const name = textOf(profile[settings.attributes.name]);
      const email = textOf(profile[settings.attributes.email]);
      return {
        claimed: {
          issuer: settings.issuer,
          subject: profile.nameID,
          ...(name !== undefined && { name }),
          ...(email !== undefined && { email }),
          groups: listOf(profile[settings.attributes.groups]),
        },
        authTime: authTime ?? Date.now(),
        ...(profile.sessionIndex !== undefined && { providerSession: profile.sessionIndex }),
        proof: { id: `${settings.id} ${hashOf(profile.getAssertionXml?.() ?? response)}`, expiresAt: Date.now() + REMEMBER_MS },
      };
    } catch (cause) {
      log.warn('identity.refused', { provider: this.id, cause, why: cause instanceof Error ? cause.message.slice(0, 200) : '' });
      throw new Problem(
        'bad-token',
        'What the identity provider answered could not be accepted. Sign in again; if it happens again, ask whoever runs this gateway.',
        { cause },
      );
    }
  }

  /** Made for each use: certificates are read again, so that a provider can change its key. */
  #saml(fresh: boolean): SAML {
    const { settings, base, entityId, clockSkew, db } = this.#options;
    return new SAML({
      callbackUrl: `${base}/acs`,
      entryPoint: settings.entryPoint,
      issuer: entityId,
      audience: entityId,
      idpIssuer: settings.issuer,
      idpCert: certificates(settings.certificate.slice('file:'.length)),
      wantAssertionsSigned: true,
      wantAuthnResponseSigned: false,
      acceptedClockSkewMs: clockSkew * 1000,
      maxAssertionAgeMs: ATTEMPT_MS,
      requestIdExpirationPeriodMs: ATTEMPT_MS,
      validateInResponseTo: ValidateInResponseTo.always,
      cacheProvider: requestsInStore(db),
      disableRequestedAuthnContext: true,
      identifierFormat: null,
      forceAuthn: fresh,
    });
  }
}

/** Requests that were sent and not answered yet; a response must name one, and the first that does uses it up. */
function requestsInStore(db: Database): CacheProvider {
  const key = (id: string): string => hashOf(`saml ${id}`);
  return {
    saveAsync: async (id, value) => {
      await db.query(
        "INSERT INTO login_attempts (state_hash, provider, sealed, expires_at) VALUES ($1, 'saml request', $2, ms() + $3::bigint) ON CONFLICT DO NOTHING",
        [key(id), value, ATTEMPT_MS],
      );
      return { value, createdAt: Date.now() };
    },
    getAsync: async (id) =>
      (await one<{ sealed: string }>(db, 'SELECT sealed FROM login_attempts WHERE state_hash = $1 AND expires_at > ms()', [key(id)]))?.sealed ?? null,
    removeAsync: async (id) => {
      if (id === null) return null;
      return (await one<{ sealed: string }>(db, 'DELETE FROM login_attempts WHERE state_hash = $1 RETURNING sealed', [key(id)]))?.sealed ?? null;
    },
  };
}

function certificates(file: string): string[] {
  const pem = readFileSync(file, 'utf8').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (!pem) throw new Problem('provider-down', 'The certificate of the SAML provider cannot be read. Ask whoever runs this gateway.');
  return pem;
}

const Statements = z.object({
  Assertion: z.object({ AuthnStatement: z.array(z.object({ $: z.object({ AuthnInstant: z.iso.datetime({ offset: true }) }) })).min(1) }),
});

/** `AuthnInstant`: when the provider saw the person; the earliest, where it says several. */
function instantOf(profile: Profile): number | undefined {
  const said = Statements.safeParse(profile.getAssertion?.());
  return said.success ? Math.min(...said.data.Assertion.AuthnStatement.map(({ $ }) => Date.parse($.AuthnInstant))) : undefined;
}

function textOf(value: unknown): string | undefined {
  const text = Array.isArray(value) ? value[0] : value;
  return typeof text === 'string' && text !== '' ? text.slice(0, 256) : undefined;
}

function listOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).filter((one): one is string => typeof one === 'string' && one !== '').slice(0, 200);
}
