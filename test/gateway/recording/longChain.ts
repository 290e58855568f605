/** The lines of a session with many operations, as a recorder writes them. */
import { hash } from 'node:crypto';
import type { EntryBody } from '../../../contract/recording.ts';
import { header, intent, outcome } from './recordings.ts';

/** @param change what is written instead of a body */
export function longChain(id: string, operations: number, change: (body: EntryBody, seq: number) => EntryBody = (body) => body): string[] {
  const { session, ...opened } = header(id);
  const bodies = [
    { type: 'session.open', ...opened } as EntryBody,
    ...Array.from({ length: operations }, (_, i) => [intent(`op_${i}`), outcome(`op_${i}`)]).flat(),
  ];
  let prev = '0'.repeat(64);
  return bodies.map((body, seq) => {
    const line = JSON.stringify({ at: new Date(seq).toISOString(), body: sound(change(body, seq)), prev, seq, session, v: 1 });
    prev = hash('sha256', line, 'hex');
    return line;
  });
}

/** As the contract wants it whole. */
function sound(body: EntryBody): EntryBody {
  if (body.type !== 'operation.intent') return body;
  const facts = { effect: 'read', verb: 'SELECT', targets: [], bulk: false, sensitive: [], headline: 'SELECT', notes: [] };
  const rule = { id: 'r', layer: 'user' };
  return {
    ...body,
    facts,
    verdict: { decision: 'allow', rule, because: 'b', policyVersion: 'v', approvers: [], quorum: 1, expiresMs: 1, preview: 'none' },
  } as EntryBody;
}
