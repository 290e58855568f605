/** How an operation on a server ended: for its client, for the record, and when it was refused. */
import type { Answer } from '../../../contract/response.ts';
import { MAX_ANSWER_CHARS } from '../../../contract/response.ts';
import type { SessionMasking } from '../../masking/masking.ts';
import type { Outcome } from '../../pipeline/operation.ts';
import { CANCELLED } from './exchanges.ts';
import { type MaskedPlace, maskJson, readableText } from './maskJson.ts';
import type { JsonObject, Reply, RpcError } from './message.ts';

export interface MaskedReply {
  readonly reply: Reply;
  readonly masked: number;
  readonly places: readonly MaskedPlace[];
}

export function maskReply(reply: Reply, masking: SessionMasking): MaskedReply {
  if ('result' in reply) {
    const { value, masked, places } = maskJson(reply.result, masking);
    return { reply: { result: value }, masked, places };
  }
  const { value, masked, places } = maskJson(reply.error as unknown as JsonObject, masking);
  return { reply: { error: { ...(value as unknown as RpcError), code: reply.error.code } }, masked, places };
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
  const text = 'result' in raw ? readableText(raw.result) : '';
  const shown = answer(text, masking);
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
  const cut = text.slice(0, MAX_ANSWER_CHARS);
  const { text: masked, findings } = masking.scrub(cut);
  return { kind: 'text', text: masked, truncated: cut.length < text.length, findings: findings.slice(0, 5000) };
}
