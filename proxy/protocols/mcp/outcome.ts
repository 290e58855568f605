/** How an operation on a server ended: for its client, for the record, and when it was refused. */
import type { Answer } from '../../../contract/response.ts';
import { MAX_ANSWER_CHARS } from '../../../contract/response.ts';
import type { SessionMasking } from '../../masking/masking.ts';
import type { Outcome } from '../../pipeline/operation.ts';
import { CANCELLED } from './exchanges.ts';
import { type MaskedJson, type MaskedPlace, maskJsonInTurns, readableText, textsOf } from './maskJson.ts';
import type { JsonObject, Reply, RpcError } from './message.ts';

/** Longest piece of a value that is cut off with it, in characters, and findings that are kept of one answer. */
const LONGEST_CUT = 16_384;
const MAX_FINDINGS = 5_000;

export interface MaskedReply {
  readonly reply: Reply;
  readonly masked: number;
  readonly places: readonly MaskedPlace[];
  /** Some of it was left out, because it would have taken too long to look through. */
  readonly unread: boolean;
}

/** For the agent, in place of an answer that was not looked through to its end. */
export const TOO_DEAR =
  'Withheld: more in this answer could be personal data or secrets than can be looked through at once. Ask for less of it: fewer rows, fewer fields, one page.';

/** At once where it takes a few milliseconds, else in turns with everything else. */
export function maskReply(reply: Reply, masking: SessionMasking): MaskedReply | Promise<MaskedReply> {
  const masked = maskJsonInTurns(wordsOf(reply), masking);
  return masked instanceof Promise ? masked.then((done) => replyOf(reply, done)) : replyOf(reply, masked);
}

function wordsOf(reply: Reply): JsonObject {
  return 'result' in reply ? reply.result : (reply.error as unknown as JsonObject);
}

function replyOf(reply: Reply, { value, ...rest }: MaskedJson<JsonObject>): MaskedReply {
  if ('result' in reply) return { reply: { result: value }, ...rest };
  const { code } = reply.error;
  const { message, ...words } = value as unknown as RpcError;
  return { reply: { error: { ...words, code, message: typeof message === 'string' ? message : TOO_DEAR } }, ...rest };
}

/** A refusal as each request's client can read it: a tool's result for the model, an error for the rest. */
export function refusal(method: string, sentence: string): Reply {
  if (method === 'tools/call') return { result: { content: [{ type: 'text', text: sentence }], isError: true } };
  return { error: { code: -32_000, message: sentence } };
}

export function outcomeOf(raw: Reply, masked: MaskedReply, masking: SessionMasking): Outcome {
  if (raw === CANCELLED) return { outcome: 'cancelled', masked: 0 };
  if ('error' in masked.reply) {
    const { code, message } = masked.reply.error;
    return { outcome: 'failed', masked: masked.masked, error: { code: String(code).slice(0, 40), message: message.slice(0, 4000) } };
  }
  if (masked.unread) return { outcome: 'failed', masked: masked.masked, error: { code: 'too-dear', message: TOO_DEAR } };
  const texts = 'result' in raw ? textsOf(raw.result) : [];
  // Where it has none, what is shown is what its client gets: a value whose name gives it away can stand far from it.
  const shown = texts.length > 0 ? answer(texts.join('\n'), masking) : cutTo(JSON.stringify(masked.reply.result, null, 2));
  const text = 'result' in raw ? readableText(raw.result) : '';
  const whole: Answer = { kind: 'text', text: text.slice(0, MAX_ANSWER_CHARS), truncated: text.length > MAX_ANSWER_CHARS, findings: [] };
  const failed = masked.reply.result.isError === true;
  return {
    outcome: failed ? 'failed' : 'done',
    masked: masked.masked,
    answer: shown,
    raw: whole,
    ...(failed && { error: { code: 'tool-error', message: shown.kind === 'text' ? shown.text.slice(0, 4000) : '' } }),
  };
}

function answer(text: string, masking: SessionMasking): Answer {
  if (text.length <= MAX_ANSWER_CHARS) {
    const { text: masked, findings } = masking.scrub(text);
    return { kind: 'text', text: masked, truncated: false, findings: findings.slice(0, MAX_FINDINGS) };
  }
  // A value that is cut looks like none: what could be one is cut off with it.
  const { text: masked, findings } = masking.scrub(text.slice(0, MAX_ANSWER_CHARS + LONGEST_CUT));
  const end = Math.min(MAX_ANSWER_CHARS, masked.length - LONGEST_CUT);
  return { kind: 'text', text: masked.slice(0, end), truncated: true, findings: findings.filter(({ at }) => at[1] <= end).slice(0, MAX_FINDINGS) };
}

/** Of what has been masked. */
function cutTo(text: string): Answer {
  return { kind: 'text', text: text.slice(0, MAX_ANSWER_CHARS), truncated: text.length > MAX_ANSWER_CHARS, findings: [] };
}
