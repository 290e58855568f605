/**
 * Opens the control channel: both sides prove that they know the start-up secret without sending it, so neither a
 * squatter on the socket learns it nor a stranger gets in. Three lines, then JSON-RPC.
 *
 *   proxy     → `countersign-control 1 <nonce>`
 *   extension → `<nonce> <proof("extension")>`
 *   proxy     → `<proof("proxy")>`
 *
 * A proof is HMAC-SHA-256(secret, role LF proxy-nonce LF extension-nonce), hex. Web Crypto only, so that both the
 * extension and the proxy can share this file.
 */
const encoder = new TextEncoder();

export const CONTROL_BANNER = 'countersign-control 1';
/** Longest handshake line, in characters. */
export const MAX_HANDSHAKE_LINE = 256;
/** How long either side waits for the other's line, in milliseconds. */
export const HANDSHAKE_TIMEOUT_MS = 5_000;

export type Role = 'extension' | 'proxy';

export function newNonce(): string {
  return hex(crypto.getRandomValues(new Uint8Array(32)));
}

export async function proof(secret: string, role: Role, proxyNonce: string, extensionNonce: string): Promise<string> {
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return hex(new Uint8Array(await crypto.subtle.sign('HMAC', key, encoder.encode(`${role}\n${proxyNonce}\n${extensionNonce}`))));
}

/** Compares two hex proofs in time that does not depend on where they differ. */
export function sameProof(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}
