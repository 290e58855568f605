/**
 * Keys that a client may cancel its session by. The secret is ours, not the server's: whoever reads one can do no more
 * than withdraw what that one session is doing, and it dies with the session. The process number is the server's own, as
 * clients compare it with `pg_backend_pid()` and with the sender of a notification.
 */
import { randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import { FieldReader } from './frames.ts';

export interface CancelKey {
  /** The body of BackendKeyData. */
  readonly bytes: Buffer;
  dispose(): void;
}

export class CancelKeys {
  readonly #sessions = new Map<number, { readonly secret: Buffer; readonly cancel: () => Promise<void> | undefined }>();

  /** @param upstream the server's process number; another is made up where two servers behind one address give the same */
  add(upstream: number, cancel: () => Promise<void> | undefined): CancelKey {
    let pid = upstream;
    while (this.#sessions.has(pid)) pid = randomInt(1, 0x7fffffff);
    const secret = randomBytes(4);
    this.#sessions.set(pid, { secret, cancel });
    const bytes = Buffer.alloc(8);
    bytes.writeInt32BE(pid, 0);
    secret.copy(bytes, 4);
    return { bytes, dispose: () => void this.#sessions.delete(pid) };
  }

  /**
   * @param body of a CancelRequest, after the code. A wrong key does nothing and says nothing, as with the server.
   * @returns until the server has been told
   */
  async cancel(body: FieldReader): Promise<void> {
    if (body.left !== 8) return;
    const session = this.#sessions.get(body.int32());
    if (session && timingSafeEqual(session.secret, body.bytes(4))) await session.cancel();
  }
}
