/** The organisation's policy as the gateway hands it out: signed, so that a copy on a disk cannot be changed, and dated, so that it ends. */
import { z } from 'zod';
import { Person } from '../actor.ts';
import { PolicyProblem } from '../control.ts';

/** Longest policy text, in UTF-16 units; the same as a policy file's. */
export const MAX_POLICY_TEXT = 262_144;

/** What is signed: these fields as canonical JSON (RFC 8785) behind `POLICY_DOMAIN`. */
export const PolicyStatement = z.object({
  v: z.literal(1),
  /** The gateway that says so: its public URL. */
  issuer: z.string().max(2000),
  /** 1, 2, 3, …: a lower one than was seen before is refused. */
  version: z.number().int().positive(),
  /** Cut to what a laptop needs (`gateway/policy/laptopText.ts`). */
  text: z.string().max(MAX_POLICY_TEXT),
  /** When the version was put in force, epoch milliseconds. */
  since: z.number(),
  /** Whom it was cut for, and who they are to its rules: the laptop's own user has no groups. */
  person: Person,
  /** Epoch milliseconds. */
  issuedAt: z.number(),
  expiresAt: z.number(),
});
export type PolicyStatement = z.infer<typeof PolicyStatement>;

export const SignedPolicy = z.object({
  statement: PolicyStatement,
  /** Id of the key, as in `PolicyKeys`. */
  kid: z.string().max(128),
  /** Ed25519, base64url. */
  signature: z.string().max(200),
});
export type SignedPolicy = z.infer<typeof SignedPolicy>;

/** Keeps a signature from meaning anything elsewhere. */
export const POLICY_DOMAIN = 'countersign organisation policy 1\n';

/** The keys that policies may be signed with now. Fetched over TLS at sign-in. */
export const PolicyKeys = z.object({ keys: z.array(z.object({ kid: z.string().max(128), /** SPKI, PEM. */ publicKey: z.string().max(2000) })).max(20) });
export type PolicyKeys = z.infer<typeof PolicyKeys>;

/** Keeps a signature over keys from meaning anything elsewhere. */
export const POLICY_KEYS_DOMAIN = 'countersign policy keys 1\n';

/** The same keys, vouched for by each of them: whoever knows one that was made earlier can believe the later ones. */
export const SignedPolicyKeys = z.object({
  statement: z.object({ v: z.literal(1), issuer: z.string().max(2000), keys: PolicyKeys.shape.keys, issuedAt: z.number() }),
  signatures: z.array(z.object({ kid: z.string().max(128), signature: z.string().max(200) })).max(20),
});
export type SignedPolicyKeys = z.infer<typeof SignedPolicyKeys>;

/** What a laptop is handed; `policy: null` where the organisation has none yet. */
export const LaptopPolicy = z.object({ keys: SignedPolicyKeys, policy: SignedPolicy.nullable() });
export type LaptopPolicy = z.infer<typeof LaptopPolicy>;
/** Largest one, in bytes of JSON. */
export const MAX_LAPTOP_POLICY_BYTES = 4 * 1024 * 1024;

export const PolicyVersion = z.object({
  version: z.number().int().positive(),
  digest: z.string().max(128),
  author: Person,
  comment: z.string().max(2000),
  /** `api`, or `file` where it came from the file that the configuration names. */
  source: z.enum(['api', 'file']),
  createdAt: z.number(),
});
export type PolicyVersion = z.infer<typeof PolicyVersion>;

export const PolicyVersionDetail = PolicyVersion.extend({
  text: z.string().max(MAX_POLICY_TEXT),
  /** Against the version before, as a unified diff. */
  diff: z.string().max(4 * MAX_POLICY_TEXT),
});
export type PolicyVersionDetail = z.infer<typeof PolicyVersionDetail>;

export const PutPolicy = z.object({
  text: z.string().max(MAX_POLICY_TEXT),
  comment: z.string().min(1).max(2000),
  /** The version that it was written over; 0 for none. Another one is in force by now: refused. */
  over: z.number().int().nonnegative(),
});
export type PutPolicy = z.infer<typeof PutPolicy>;

/** What a policy text would mean, without putting it in force. */
export const PolicyCheck = z.object({ ok: z.boolean(), problems: z.array(PolicyProblem).max(100), warnings: z.array(PolicyProblem).max(100) });
export type PolicyCheck = z.infer<typeof PolicyCheck>;

/** A connection as its users see it: no address of what is behind it, and no login. */
export const SharedConnection = z.object({
  name: z.string().max(200),
  protocol: z.string().max(40),
  /** Column → mask. */
  sensitive: z.record(z.string(), z.string()),
  /** PostgreSQL: the database's name, which clients must send. */
  database: z.string().max(200).optional(),
});
export type SharedConnection = z.infer<typeof SharedConnection>;
