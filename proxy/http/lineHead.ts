/**
 * What the bridge must know of a client's line: whether it is a request, of which id, and of which method. In the forms in which
 * clients write it is read from the ends of the line; whatever is in another form is parsed. Both say the same of every line that is
 * JSON: no key that counts can stand a second time between the ends, where it would be written out or with a `\u`.
 */

export interface Message {
  readonly jsonrpc: '2.0';
  readonly id?: string | number;
  readonly method?: string;
  readonly [member: string]: unknown;
}

export interface Head {
  readonly id: string | number | undefined;
  readonly method: string | undefined;
}

const ID = String.raw`0|[1-9]\d{0,14}|"[ !#-[\]-~]{0,100}"`;
const METHOD = String.raw`"method":"([\w/.$-]{1,100})"`;
/** `{"jsonrpc":"2.0","id":1,"method":"…"`: what most write. */
const AHEAD = new RegExp(String.raw`^\{"jsonrpc":"2\.0",(?:"id":(${ID}),)?(?:${METHOD}[,}]|"(?:result|error)":)`);
/** `{"method":"…", … ,"jsonrpc":"2.0","id":1}`: the SDKs for TypeScript and Python. */
const BEFORE = new RegExp(String.raw`^\{(?:${METHOD},|"(?:result|error)":)`);
const BEHIND = new RegExp(String.raw`,"jsonrpc":"2\.0"(?:,"id":(${ID}))?\}\r?$`);
/** Longest match of `AHEAD` or `BEHIND`, in bytes, and then some. */
const EDGE_BYTES = 300;
const OTHERWISE = ['"id"', '"method"', '"jsonrpc"', String.raw`\u`] as const;

/** @returns undefined for what is certainly not JSON-RPC; of a line that is not JSON, what it would be if it were */
export function headOf(line: Buffer): Head | undefined {
  const quick = quickHead(line);
  if (quick) return quick;
  const message = parseMessage(line.toString());
  return message && { id: message.id, method: message.method };
}

/** @returns undefined for a line of another form */
export function quickHead(line: Buffer): Head | undefined {
  const text = line.toString('latin1');
  const ahead = AHEAD.exec(text);
  if (ahead) return plain(text, ahead[0].length - 1, text.length) ? { id: valueOf(ahead[1]), method: ahead[2] } : undefined;
  const before = BEFORE.exec(text);
  if (!before) return undefined;
  const tail = text.length <= EDGE_BYTES ? text : text.slice(-EDGE_BYTES);
  const behind = BEHIND.exec(tail);
  const end = behind ? text.length - behind[0].length : -1;
  if (!behind || end < before[0].length - 1 || !plain(text, before[0].length - 1, end)) return undefined;
  return { id: valueOf(behind[1]), method: before[1] };
}

/** Nothing between these places can say another thing of the message. */
function plain(text: string, start: number, end: number): boolean {
  const between = text.slice(start, end);
  return !OTHERWISE.some((other) => between.includes(other));
}

function valueOf(id: string | undefined): string | number | undefined {
  if (id === undefined) return undefined;
  return id.startsWith('"') ? id.slice(1, -1) : Number(id);
}

/** @returns undefined for what is not a message */
export function parseMessage(text: string): Message | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined;
  const { id, jsonrpc, method } = parsed as Record<string, unknown>;
  if (jsonrpc !== '2.0' || (method !== undefined && typeof method !== 'string')) return undefined;
  if (id !== undefined && typeof id !== 'string' && !(typeof id === 'number' && Number.isFinite(id))) return undefined;
  return parsed as Message;
}
