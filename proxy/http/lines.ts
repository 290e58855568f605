/**
 * A client's messages as lines instead of requests: one connection, switched to by an ordinary request at the same address, with the
 * same checks and the same bearer. For bridges, whose client writes lines as well: nothing has to be taken apart on the way.
 */
import type { Duplex } from 'node:stream';

/** What the `Upgrade` header names. */
export const LINES = 'countersign-lines';
/** How often a bearer that has been let in is looked at again, in milliseconds: a stream ends soon after its login. */
const LOOK_AGAIN_MS = 60_000;

/** Answers the request that asks for it. @param still whether its bearer would be let in now */
export function acceptLines(socket: Duplex, still: () => boolean): Duplex {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${LINES}\r\n\r\n`);
  const timer = setInterval(() => !still() && socket.destroy(), LOOK_AGAIN_MS);
  timer.unref();
  socket.once('close', () => clearInterval(timer));
  return socket;
}

export function refuseLines(socket: Duplex): void {
  socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  socket.destroy();
}
