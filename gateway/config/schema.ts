/** The shape of the gateway's configuration file. */
import { z } from 'zod';
import { Aws, Recordings } from './recordings.ts';
import { httpsUrl, name, SecretPlace, seconds, text } from './words.ts';

const listen = z.string().regex(/^([^\s/:]+|\[[0-9a-f:]+\]):\d{1,5}$/i, 'Write `HOST:PORT`, such as `0.0.0.0:8443`.');
/** Who: `group:NAME`, `user:SUBJECT`, or `*` for everyone who can sign in. */
const who = z.array(z.string().regex(/^(\*|(group|user):.{1,250})$/, 'Write `group:NAME`, `user:SUBJECT` or `*`.')).max(100);

const OidcProvider = z.strictObject({
  id: name,
  kind: z.literal('oidc'),
  title: text.optional(),
  issuer: httpsUrl,
  clientId: text,
  clientSecret: SecretPlace.optional(),
  scopes: z.array(text).max(30).default(['openid', 'profile', 'email']),
  claims: z.strictObject({ name: text.default('name'), email: text.default('email'), groups: text.default('groups') }).prefault({}),
  /** Algorithms that an ID token may be signed with. */
  algorithms: z
    .array(z.enum(['RS256', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']))
    .min(1)
    .default(['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519']),
  /** Asked for where policy wants a fresh login. */
  freshAcr: text.optional(),
});
export type OidcProvider = z.infer<typeof OidcProvider>;

const SamlProvider = z.strictObject({
  id: name,
  kind: z.literal('saml'),
  title: text.optional(),
  /** The provider's entity id, as it stands in its assertions. */
  issuer: text,
  entryPoint: httpsUrl,
  /** PEM, one or more certificates: a provider that changes its key has two for a while. */
  certificate: z.string().regex(/^file:\/.{1,1000}$/, 'Write `file:/absolute/path` of a PEM file.'),
  attributes: z.strictObject({ name: text.default('displayName'), email: text.default('email'), groups: text.default('groups') }).prefault({}),
});
export type SamlProvider = z.infer<typeof SamlProvider>;

const Workload = z.strictObject({
  id: name,
  issuer: httpsUrl,
  audience: text,
});

export const ConfigShape = z.strictObject({
  version: z.literal(1),
  listen: listen.default('127.0.0.1:8443'),
  /** How people and editors reach it: the issuer of its tokens, and where providers send people back to. */
  publicUrl: httpsUrl.transform((url) => url.replace(/\/+$/, '')),
  tls: z.union([z.literal('elsewhere'), z.strictObject({ certificate: text, key: text })]).optional(),
  /** Addresses of proxies in front whose X-Forwarded-For is believed. */
  trustedProxies: z.array(text).max(20).default([]),
  data: text.default('/var/lib/countersign'),
  database: z.union([z.literal('embedded'), SecretPlace]).optional(),
  key: SecretPlace.optional(),
  /** Keys that credentials were sealed with before: they still open, and seal nothing. */
  oldKeys: z.array(SecretPlace).max(10).default([]),
  vault: z
    .strictObject({
      address: httpsUrl,
      token: SecretPlace,
      namespace: text.optional(),
      /** Credentials are sealed with this key of its transit engine, instead of the gateway's. */
      transit: z
        .strictObject({
          mount: z
            .string()
            .regex(/^[\w-]+(\/[\w-]+)*$/)
            .default('transit'),
          key: z.string().regex(/^[\w.-]{1,100}$/),
        })
        .optional(),
    })
    .optional(),
  aws: Aws.prefault({}),
  recordings: Recordings.prefault({}),
  policy: z.strictObject({ file: text.optional(), validFor: seconds.max(7 * 86_400).default(86_400) }).prefault({}),
  metrics: z.strictObject({ token: SecretPlace.optional() }).prefault({}),
  identity: z
    .strictObject({
      providers: z
        .array(z.discriminatedUnion('kind', [OidcProvider, SamlProvider]))
        .max(20)
        .default([]),
      workloads: z.array(Workload).max(20).default([]),
      roles: z.strictObject({ developer: who.default(['*']), approver: who.default([]), auditor: who.default([]), admin: who.default([]) }).prefault({}),
      clockSkew: z.number().int().min(0).max(300).default(30),
      tokenLifetime: seconds.max(3_600).default(600),
      sessionLifetime: seconds.max(30 * 86_400).default(43_200),
      freshLoginWindow: seconds.max(600).default(120),
      /** URI schemes of editors that a login may return to, besides loopback addresses. */
      editorSchemes: z
        .array(z.string().regex(/^[a-z][a-z0-9+.-]{1,40}$/))
        .max(20)
        .default(['vscode', 'vscode-insiders', 'cursor', 'vscodium', 'code-oss']),
      /** Origins of editors that run in a browser, such as `https://code.example`: their pages receive their callbacks. */
      editorOrigins: z
        .array(z.string().regex(/^https:\/\/[^/?#]+$/, 'Write an origin: `https://HOST`.'))
        .max(20)
        .default([]),
    })
    .prefault({}),
  notify: z
    .array(z.strictObject({ id: name, kind: z.enum(['webhook', 'slack']), url: SecretPlace, secret: SecretPlace.optional() }))
    .max(10)
    .default([]),
  drainSeconds: seconds.max(3_600).default(30),
});
export type ConfigShape = z.infer<typeof ConfigShape>;
