/**
 * The head of a request in the one form that every reader reads the same way (RFC 9112): each line ended by CRLF and in its plain
 * form, each name once, a length in digits and no other framing. What is written in any other way is not refused here; it is not
 * read here at all.
 */
import type { IncomingHttpHeaders } from 'node:http';

const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Longer bodies than this are longer than any that is taken. */
const LENGTH = /^\d{1,9}$/;
const POST = /^POST (\/[\x21-\x7e]*) HTTP\/1\.1$/;
/** What would be framed, spoken or answered in another way. */
const OTHERWISE: ReadonlySet<string> = new Set(['transfer-encoding', 'te', 'trailer', 'upgrade', 'expect', 'http2-settings', 'proxy-connection', 'keep-alive']);

export interface RequestHead {
  readonly method: 'POST';
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Names as they were written, and values, in turn. */
  readonly rawHeaders: string[];
  /** Of the body, in bytes. */
  readonly length: number;
}

/** @param text all before the empty line, as Latin-1; @returns undefined where it is of another form */
export function readRequestHead(text: string, maxHeaders: number): RequestHead | undefined {
  const lines = text.split('\r\n');
  const url = POST.exec(lines[0] ?? '')?.[1];
  if (url === undefined || lines.length - 1 > maxHeaders) return undefined;
  const headers = Object.create(null) as Record<string, string>;
  const rawHeaders: string[] = [];
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i] as string;
    const colon = line.indexOf(':');
    const written = line.slice(0, Math.max(0, colon));
    const value = line.slice(colon + 1).replace(/^[\t ]+|[\t ]+$/g, '');
    const name = written.toLowerCase();
    if (!NAME.test(written) || !VALUE.test(value) || name in headers || OTHERWISE.has(name)) return undefined;
    headers[name] = value;
    rawHeaders.push(written, value);
  }
  const { connection = 'keep-alive', 'content-length': length = '' } = headers;
  if (connection.toLowerCase() !== 'keep-alive' || !LENGTH.test(length)) return undefined;
  return { method: 'POST', url, headers, rawHeaders, length: Number(length) };
}
