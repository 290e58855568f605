/**
 * Arrays of text as parameters and literals hold them, one dimension deep. Only what the server reads in exactly one way is
 * read at all; what is written is written in the one form that needs no thought: every element in quotes.
 */

/** Elements of one array. */
const MAX_ELEMENTS = 10_000;

export type Elements = readonly (string | null)[];

/** `{a,"b c",NULL}` (manual, "Array Input and Output Syntax"), without bounds, nesting, or escapes outside quotes; undefined for anything else. */
export function readArrayText(text: string): Elements | undefined {
  if (!text.startsWith('{') || !text.endsWith('}') || text.length < 2) return undefined;
  if (text.slice(1, -1).trim() === '') return [];
  const elements: (string | null)[] = [];
  const pattern = /\s*(?:"((?:[^"\\]|\\[\s\S])*)"|([^\s"\\{},](?:[^"\\{},]*[^\s"\\{},])?))\s*([,}])/gy;
  pattern.lastIndex = 1;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const [, quoted, bare, end] = match;
    if (quoted === undefined) elements.push(bare === undefined || bare.toUpperCase() === 'NULL' ? null : bare);
    else elements.push(quoted.replaceAll(/\\([\s\S])/g, '$1'));
    if (elements.length > MAX_ELEMENTS) return undefined;
    if (end === '}') return pattern.lastIndex === text.length ? elements : undefined;
  }
  return undefined;
}

export function writeArrayText(elements: Elements): string {
  return `{${elements.map((element) => (element === null ? 'NULL' : `"${element.replaceAll(/["\\]/g, '\\$&')}"`)).join(',')}}`;
}

export interface BinaryArray {
  /** OID of the elements' type: the server refuses an array that names another than it expects. */
  readonly elementType: number;
  readonly elements: readonly (Buffer | null)[];
}

/** Dimensions, whether there are NULLs, element type; then for the one dimension its size and lower bound. */
const HEAD = 20;

/** `array_recv`'s form; undefined for what is none, has several dimensions, or ends elsewhere than it says. */
export function readArrayBinary(bytes: Buffer): BinaryArray | undefined {
  if (bytes.length < HEAD || bytes.readInt32BE(0) !== 1 || bytes.readInt32BE(4) >>> 1 !== 0) return undefined;
  const count = bytes.readInt32BE(12);
  if (count < 1 || count > MAX_ELEMENTS) return undefined;
  const elements: (Buffer | null)[] = [];
  let at = HEAD;
  for (let i = 0; i < count; i++) {
    if (at + 4 > bytes.length) return undefined;
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length < -1 || at + length > bytes.length) return undefined;
    elements.push(length < 0 ? null : bytes.subarray(at, at + length));
    at += Math.max(length, 0);
  }
  return at === bytes.length ? { elementType: bytes.readUInt32BE(8), elements } : undefined;
}

export function writeArrayBinary({ elements, elementType }: BinaryArray): Buffer {
  const head = Buffer.alloc(HEAD);
  head.writeInt32BE(1, 0);
  head.writeInt32BE(elements.includes(null) ? 1 : 0, 4);
  head.writeUInt32BE(elementType, 8);
  head.writeInt32BE(elements.length, 12);
  head.writeInt32BE(1, 16);
  const parts = elements.flatMap((element) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(element === null ? -1 : element.length);
    return element === null ? [length] : [length, element];
  });
  return Buffer.concat([head, ...parts]);
}
