/** Frames of the tunnel ⇄ bytes. No I/O, no state. */
import { FRAME, FRAME_HEADER_BYTES, MAX_CREDIT_BYTES, MAX_DATA_BYTES, MAX_OPENING_BYTES, MAX_RESET_BYTES } from '../../contract/tunnel.ts';

/** The peer broke the rules of the tunnel. The link ends: nothing that follows can be trusted to mean what it says. */
export class TunnelViolation extends Error {
  override readonly name = 'TunnelViolation';
}

export interface Frame {
  readonly type: number;
  readonly stream: number;
  /** A view into the message. */
  readonly payload: Buffer;
}

/** Largest payload by frame type, in bytes; a type that is not here is unknown. */
const MAX_PAYLOAD: ReadonlyMap<number, number> = new Map([
  [FRAME.open, MAX_OPENING_BYTES],
  [FRAME.data, MAX_DATA_BYTES],
  [FRAME.credit, 4],
  [FRAME.end, 0],
  [FRAME.reset, MAX_RESET_BYTES],
]);

/** Calls back for each frame of a message. @throws TunnelViolation where the bytes are none */
export function readFrames(message: Buffer, from: number, take: (frame: Frame) => void): void {
  let at = from;
  while (at < message.length) {
    if (message.length - at < FRAME_HEADER_BYTES) throw new TunnelViolation('a frame without a whole header');
    const type = message[at] ?? 0;
    const stream = message.readUInt32BE(at + 1);
    const length = message.readUInt32BE(at + 5);
    const most = MAX_PAYLOAD.get(type);
    if (most === undefined) throw new TunnelViolation(`a frame of unknown type ${type}`);
    if (length > most) throw new TunnelViolation(`a frame of type ${type} with ${length} bytes`);
    if (type === FRAME.data && length === 0) throw new TunnelViolation('a data frame without data');
    const end = at + FRAME_HEADER_BYTES + length;
    if (end > message.length) throw new TunnelViolation('a frame longer than its message');
    take({ type, stream, payload: message.subarray(at + FRAME_HEADER_BYTES, end) });
    at = end;
  }
}

export function writeFrameHeader(target: Buffer, at: number, type: number, stream: number, length: number): void {
  target[at] = type;
  target.writeUInt32BE(stream, at + 1);
  target.writeUInt32BE(length, at + 5);
}

export function creditPayload(bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt32BE(bytes, 0);
  return payload;
}

export function readCredit(payload: Buffer): number {
  if (payload.length !== 4) throw new TunnelViolation('a grant without an amount');
  const bytes = payload.readUInt32BE(0);
  if (bytes === 0 || bytes > MAX_CREDIT_BYTES) throw new TunnelViolation(`a grant of ${bytes} bytes`);
  return bytes;
}
