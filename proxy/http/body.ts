/** Reads a JSON body once, strictly, up to a cap. */
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { Problem } from '../../contract/problem.ts';
import { parseStrict } from './strictJson.ts';

/** Largest request body, in bytes. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;

const BYTE_ORDER_MARK = 0xfeff;

export type Body = { readonly json: unknown } | { readonly refused: 400 | 413 | 415; readonly why?: string };

/** Resolves when the body is there, or as soon as it cannot be taken. Rejects where the client goes away in the middle. */
export function readJson(request: IncomingMessage): Promise<Body> {
  // A compressed body can be small on the way and huge once unpacked; no client of ours sends one.
  if (request.headers['content-encoding'] !== undefined) return Promise.resolve({ refused: 415 });
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return Promise.resolve({ refused: 413 });
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const take = (chunk: Buffer): void => {
      length += chunk.length;
      if (length <= MAX_BODY_BYTES) return void chunks.push(chunk);
      request.off('data', take);
      request.pause();
      return resolve({ refused: 413 });
    };
    request.on('data', take);
    request.once('end', () => resolve(parseBody(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks))));
    request.once('error', reject);
    request.once('close', () => reject(new Error('the client went away')));
  });
}

export function parseBody(bytes: Buffer): Body {
  if (!isUtf8(bytes)) return { refused: 400 };
  const text = bytes.toString();
  try {
    return { json: parseStrict(text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text) };
  } catch (cause) {
    return { refused: 400, ...(cause instanceof Problem && cause.code === 'ambiguous-json' && { why: cause.message }) };
  }
}
