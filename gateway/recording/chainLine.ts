/** A line of a chain, as the proxy's files have it: the same bytes, so that the same code verifies them. */
import { hash } from 'node:crypto';

export interface ChainLine {
  readonly seq: number;
  readonly line: string;
  readonly hash: string;
}

/** @param at RFC 3339. @param body canonical JSON. @param session absent for the audit */
export function chainLine(at: string, body: string, prev: string, seq: number, session: string | undefined): ChainLine {
  const tail = session === undefined ? '' : `,"session":${JSON.stringify(session)}`;
  const line = `{"at":"${at}","body":${body},"prev":"${prev}","seq":${seq}${tail},"v":1}`;
  return { seq, line, hash: hash('sha256', line, 'hex') };
}
