/** The organisation's policy from a gateway: believed only with its signature, for its time, and never an older one than before. */
import { createPublicKey, verify } from 'node:crypto';
import {
  POLICY_DOMAIN,
  POLICY_KEYS_DOMAIN,
  type PolicyKeys,
  type PolicyStatement,
  SignedPolicy,
  type SignedPolicyKeys,
} from '../../contract/gateway/policy.ts';
import { canonical } from '../recording/canonical.ts';

export type SignedPolicyCheck = { readonly ok: true; readonly statement: PolicyStatement } | { readonly ok: false; readonly why: string };

export interface SignedPolicyTerms {
  /** The gateway's public URL, as the person signed in to it. */
  readonly issuer: string;
  readonly keys: PolicyKeys;
  /** Epoch milliseconds. */
  readonly now: number;
  /** The highest version that was seen before; 0 for none. */
  readonly seen: number;
}

export function checkSignedPolicy(value: unknown, { issuer, keys, now, seen }: SignedPolicyTerms): SignedPolicyCheck {
  const parsed = SignedPolicy.safeParse(value);
  if (!parsed.success) return bad('it is not a signed policy');
  const { statement, kid, signature } = parsed.data;
  const key = keys.keys.find((one) => one.kid === kid);
  if (!key) return bad('it is signed with a key that this gateway does not have');
  if (!holds(POLICY_DOMAIN, statement, key.publicKey, signature)) return bad('its signature does not hold');
  if (!sameGateway(statement.issuer, issuer)) return bad('it is another gateway’s');
  if (statement.version < seen) return bad('it is older than one that was in force before');
  if (statement.expiresAt <= now) return bad('its time is over');
  return { ok: true, statement };
}

/**
 * Whether one of these keys vouches for a set of keys. With the set's own keys: whether it is what its maker made.
 * Each later set is believed because a key of an earlier one signed it, back to the sign-in.
 */
export function vouchedFor({ statement, signatures }: SignedPolicyKeys, issuer: string, by: PolicyKeys['keys']): boolean {
  return (
    sameGateway(statement.issuer, issuer) &&
    signatures.some(({ kid, signature }) => by.some((key) => key.kid === kid && holds(POLICY_KEYS_DOMAIN, statement, key.publicKey, signature)))
  );
}

function sameGateway(a: string, b: string): boolean {
  return a.replace(/\/+$/, '') === b.replace(/\/+$/, '');
}

function holds(domain: string, statement: object, pem: string, signature: string): boolean {
  try {
    const publicKey = createPublicKey(pem);
    return (
      publicKey.asymmetricKeyType === 'ed25519' && verify(null, Buffer.from(domain + canonical(statement)), publicKey, Buffer.from(signature, 'base64url'))
    );
  } catch {
    return false;
  }
}

function bad(why: string): SignedPolicyCheck {
  return { ok: false, why };
}
