/** Both sides of the opening of the control channel, over a socket. The rules are in contract/handshake.ts. */
import type { Socket } from 'node:net';
import { CONTROL_BANNER, HANDSHAKE_TIMEOUT_MS, MAX_HANDSHAKE_LINE, newNonce, proof, sameProof } from '../../contract/handshake.ts';
import type { Secret } from '../../contract/secret.ts';
import { readLine } from './line.ts';

const NONCE = /^[0-9a-f]{64}$/;

/** The proxy's side: true once the client has proved that it knows the secret. Says nothing about why it did not. */
export async function admit(socket: Socket, secret: Secret, timeoutMs: number = HANDSHAKE_TIMEOUT_MS): Promise<boolean> {
  const mine = newNonce();
  socket.write(`${CONTROL_BANNER} ${mine}\n`);
  const [theirs = '', theirProof = '', ...more] = ((await readHandshakeLine(socket, timeoutMs)) ?? '').split(' ');
  // The expected proof is computed in any case, so that a malformed answer takes as long as a wrong one.
  const expected = await proof(secret.reveal(), 'extension', mine, theirs);
  if (!NONCE.test(theirs) || more.length > 0 || !sameProof(expected, theirProof) || socket.destroyed) return false;
  // Nothing may be sent before the proxy has proved itself: what is there already was not meant for it alone.
  if (socket.readableLength > 0) return false;
  socket.write(`${await proof(secret.reveal(), 'proxy', mine, theirs)}\n`);
  return true;
}

/** The client's side: true once the proxy has proved that it knows the secret. The secret itself is never sent. */
export async function enter(socket: Socket, secret: Secret, timeoutMs: number = HANDSHAKE_TIMEOUT_MS): Promise<boolean> {
  const banner = (await readHandshakeLine(socket, timeoutMs)) ?? '';
  const theirs = banner.slice(CONTROL_BANNER.length + 1);
  if (!banner.startsWith(`${CONTROL_BANNER} `) || !NONCE.test(theirs)) return false;
  const mine = newNonce();
  socket.write(`${mine} ${await proof(secret.reveal(), 'extension', theirs, mine)}\n`);
  const answer = (await readHandshakeLine(socket, timeoutMs)) ?? '';
  return sameProof(await proof(secret.reveal(), 'proxy', theirs, mine), answer);
}

function readHandshakeLine(socket: Socket, timeoutMs: number): Promise<string | undefined> {
  return readLine(socket, MAX_HANDSHAKE_LINE, timeoutMs);
}
