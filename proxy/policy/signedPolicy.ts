/** The organisation's policy from a gateway: believed only with its signature, for its time, and never an older one than before. */
import { createPublicKey, verify } from 'node:crypto';
import { POLICY_DOMAIN, type PolicyKeys, type PolicyStatement, SignedPolicy } from '../../contract/gateway/policy.ts';
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
  let holds = false;
  try {
    const publicKey = createPublicKey(key.publicKey);
    holds =
      publicKey.asymmetricKeyType === 'ed25519' &&
      verify(null, Buffer.from(POLICY_DOMAIN + canonical(statement)), publicKey, Buffer.from(signature, 'base64url'));
  } catch {
    holds = false;
  }
  if (!holds) return bad('its signature does not hold');
  if (statement.issuer !== issuer) return bad('it is another gateway’s');
  if (statement.version < seen) return bad('it is older than one that was in force before');
  if (statement.expiresAt <= now) return bad('its time is over');
  return { ok: true, statement };
}

function bad(why: string): SignedPolicyCheck {
  return { ok: false, why };
}
