/** One request on its way through the pipeline: what policy sees, what a person sees, what is recorded, and what is sent. */
import { type Facts, mergeFacts } from '../../../contract/facts.ts';
import type { SessionMasking } from '../../masking/masking.ts';
import type { McpConnection } from '../../policy/policy.ts';
import { canonical } from '../../recording/canonical.ts';
import type { ArgumentTokens } from './argumentTokens.ts';
import { type Classified, classify, type Ground, MAX_URI_CHARS, taskFacts } from './classify.ts';
import { maskJson } from './maskJson.ts';
import { isObject, type JsonObject, type Reply } from './message.ts';

/** Detectors of what belongs to people rather than being a secret: an address in an answer is often the point of it. */
export const PERSONAL: ReadonlySet<string> = new Set(['email', 'phone']);
/** Metadata of the exchange itself: it differs from one try to the next, and says nothing of what is asked for. */
const OF_THE_EXCHANGE = /^(?:progressToken|traceparent|tracestate|baggage|io\.modelcontextprotocol\/.*)$/;

export interface McpRequest {
  readonly facts: Classified;
  readonly payload: string;
  readonly recordedPayload: string;
  /** What an approval is bound to: equal for the same request tried again, whatever the order of its keys. */
  readonly bound: string;
  readonly sent: JsonObject | undefined;
  /** Why it cannot be sent whatever policy says; undefined where it can. */
  readonly refused?: string | undefined;
}

export function readRequest(
  method: string,
  params: JsonObject | undefined,
  ground: Ground & { readonly task?: string | undefined; readonly tokens?: ArgumentTokens },
): McpRequest {
  const { connection, masking } = ground;
  const whole = maskJson(params ?? {}, masking);
  const masks = connection.arguments === 'mask' && whole.places.length > 0;
  const shownParams = params && masks ? withMetaOf(whole.value, params) : params;
  const values = (method === 'tools/call' && ground.tokens?.put(shownParams)) || { params: shownParams, replaced: 0, refused: undefined };
  // What was masked on the way is not sent, so policy need not look at it.
  const masked = masks ? { ...whole, places: [] } : whole;
  const about = withoutExchange(shownParams ?? {});
  const secrets = [...new Set(masked.places.map(({ by }) => by))].sort();
  const facts = ground.task === undefined ? classify(method, shownParams, masked, ground) : taskFacts(method, ground.task, secrets);
  const shown = { method, ...(params && { params: about }) };
  const recorded = { method: masking.scrub(method).text, ...(params && { params: withoutExchange(whole.value) }) };
  const notes = [
    ...(masks ? [`${counted(whole.places.length, 'secret')} in it ${whole.places.length === 1 ? 'is' : 'are'} masked before the server gets it`] : []),
    ...(values.replaced > 0
      ? [
          `${counted(values.replaced, 'token')} in it ${values.replaced === 1 ? 'is' : 'are'} replaced by what ${values.replaced === 1 ? 'it stands' : 'they stand'} for`,
        ]
      : []),
  ];
  return {
    facts: notes.length > 0 ? noted(facts, notes) : facts,
    payload: JSON.stringify(shown, null, 2),
    recordedPayload: JSON.stringify(recorded, null, 2),
    bound: bindingText(withoutExchange(values.params ?? {})),
    sent: values.params,
    refused: illFormed(method, params) ?? (whole.unread ? TOO_MUCH : values.refused),
  };
}

const TOO_MUCH = 'Refused: more in what it says could be personal data or secrets than can be looked through at once. Send less at once.';

/** A name in a list and arguments in a text are read by some servers as if they were not: policy would have seen another call, or none. */
function illFormed(method: string, params: JsonObject | undefined): string | undefined {
  const named = NAMED_BY.get(method);
  if (named === undefined) return undefined;
  const { arguments: args } = params ?? {};
  const name = params?.[named];
  if (typeof name === 'string' && name.length > MAX_URI_CHARS) return `Refused: the ${named} of ${method} has more than ${MAX_URI_CHARS} characters.`;
  if (typeof name !== 'string') return `Refused: the ${named} of ${method} must be text.`;
  const isExact = isObject(args) && 'rawJSON' in args && Object.isFrozen(args);
  if (args === undefined || args === null || (isObject(args) && !isExact)) return undefined;
  return `Refused: the arguments of ${method} must be an object.`;
}

const NAMED_BY: ReadonlyMap<string, string> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['resources/subscribe', 'uri'],
]);

function counted(n: number, what: string): string {
  return n === 1 ? `a ${what}` : `${n} ${what}s`;
}

/** Several requests of a server's that the client answers together. */
export function readInputs(requests: JsonObject, ground: Ground): McpRequest {
  const parts = Object.values(requests).flatMap((request): Facts[] => {
    const method = isObject(request) && typeof request.method === 'string' ? request.method : 'unknown';
    const params = isObject(request) && isObject(request.params) ? request.params : {};
    return [...classify(method, params, maskJson(params, ground.masking), ground).parts];
  });
  const [first, ...rest] = parts;
  const payload = JSON.stringify(requests, null, 2);
  // Nothing asked for is nothing known.
  const all: [Facts, ...Facts[]] = first ? [first, ...rest] : [...classify('unknown', {}, maskJson({}, ground.masking), ground).parts];
  // They were masked before they came here.
  return { facts: { parts: all, recorded: mergeFacts(all) }, payload, recordedPayload: payload, bound: bindingText(requests), sent: requests };
}

/** A client's answer to the server, without what looks like a secret: nobody is asked about it a second time. */
export function withoutSecrets(reply: Reply, connection: McpConnection, masking: SessionMasking): Reply {
  if ('result' in reply) return { result: wordsWithoutSecrets(reply.result, connection, masking) };
  const { code, ...words } = reply.error;
  return { error: { code, ...(wordsWithoutSecrets(words, connection, masking) as Omit<typeof reply.error, 'code'>) } };
}

/** What goes to the server and is not decided about: parameters of what carries nothing, answers, what its client tells it. */
export function wordsWithoutSecrets<T extends JsonObject>(words: T, connection: McpConnection, masking: SessionMasking): T {
  const { value, places } = maskJson(words, masking);
  const mask = connection.arguments === 'mask' ? places.length > 0 : places.some(({ by }) => !PERSONAL.has(by));
  return mask ? value : words;
}

/** The same of a request, whose progress token is the client's own name for it, and replaced on the way. */
export function paramsWithoutSecrets(params: JsonObject | undefined, connection: McpConnection, masking: SessionMasking): JsonObject | undefined {
  const clean = params && wordsWithoutSecrets(params, connection, masking);
  return params && clean && clean !== params ? withMetaOf(clean, params) : params;
}

/** What is sent for a call that was made again: the same, with the progress token of the latest try. */
export function withTokenOf(sent: JsonObject | undefined, latest: JsonObject | undefined): JsonObject | undefined {
  if (sent === undefined) return undefined;
  const { progressToken: _token, ...meta } = isObject(sent._meta) ? sent._meta : {};
  const token = isObject(latest?._meta) ? latest._meta.progressToken : undefined;
  if (sent._meta === undefined && token === undefined) return sent;
  return { ...sent, _meta: { ...meta, ...(token !== undefined && { progressToken: token }) } };
}

/** Progress is reported under the client's own token, which is no word of the agent's. */
function withMetaOf(masked: JsonObject, params: JsonObject): JsonObject {
  const token = isObject(params._meta) ? params._meta.progressToken : undefined;
  return token === undefined ? masked : { ...masked, _meta: { ...(isObject(masked._meta) && masked._meta), progressToken: token } };
}

function withoutExchange(params: JsonObject): JsonObject {
  const { _meta, ...rest } = params;
  if (!isObject(_meta)) return _meta === undefined ? rest : params;
  const kept = Object.entries(_meta).filter(([key]) => !OF_THE_EXCHANGE.test(key));
  return kept.length === 0 ? rest : { ...rest, _meta: Object.fromEntries(kept) };
}

function bindingText(params: JsonObject): string {
  try {
    return canonical(params);
  } catch {
    // Numbers kept as they were written, or text that is not well formed: bound to the bytes as they are.
    return JSON.stringify(params);
  }
}

function noted({ parts: [first, ...rest], recorded }: Classified, notes: readonly string[]): Classified {
  const add = <T extends { readonly notes: readonly string[] }>(facts: T): T => ({ ...facts, notes: [...notes, ...facts.notes].slice(0, 20) });
  return { parts: [add(first), ...rest.map(add)], recorded: add(recorded) };
}
