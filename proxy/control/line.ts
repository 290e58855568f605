/** One line off a socket, capped and with a deadline: all that is read before the other side has proved itself. */
import type { Socket } from 'node:net';

const LINE_FEED = 10;

/**
 * The text up to the next line feed, without it; what follows stays in the socket. Undefined where the line is too long,
 * is not printable ASCII, does not come in time, or the socket ends first.
 */
export function readLine(socket: Socket, maxChars: number, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    let held = Buffer.alloc(0);
    const timer = setTimeout(() => done(undefined), timeoutMs);
    const done = (line: string | undefined): void => {
      clearTimeout(timer);
      socket.off('readable', read);
      socket.off('end', gone);
      socket.off('close', gone);
      socket.off('error', gone);
      resolve(line);
    };
    const gone = (): void => done(undefined);
    const read = (): void => {
      for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
        held = Buffer.concat([held, chunk]);
        const end = held.indexOf(LINE_FEED);
        if (end > maxChars || (end < 0 && held.length > maxChars)) return done(undefined);
        if (end < 0) continue;
        const line = held.toString('latin1', 0, end);
        const rest = held.subarray(end + 1);
        done(/^[\x20-\x7e]*$/.test(line) ? line : undefined);
        if (rest.length > 0) socket.unshift(rest);
        return undefined;
      }
      return undefined;
    };
    socket.on('readable', read);
    socket.once('end', gone);
    socket.once('close', gone);
    socket.once('error', gone);
    read();
  });
}
