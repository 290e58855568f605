/**
 * Just enough of WebAssembly's binary format (https://webassembly.github.io/spec/core/binary/) to write a program as nested expressions:
 * `i32.add(at.get, i32.const(64))` is the bytes of that sum. Expressions have the types of the machine, so what does not fit does not compile.
 */
export type Type = 'i32' | 'i64' | 'v128';

/** Bytes within bytes, put in a row when the module is written. */
type Bytes = readonly (number | Bytes)[];

/** An expression that leaves a value of its type, or a statement that leaves none. */
export interface Code<T extends Type | 'none'> {
  readonly type: T;
  readonly bytes: Bytes;
}
type Codes<A extends readonly Type[]> = { readonly [K in keyof A]: Code<A[K]> };

export interface Local<T extends Type> {
  readonly type: T;
  readonly get: Code<T>;
  set(value: Code<T>): Code<'none'>;
}

const VALUE_TYPES: Readonly<Record<Type, number>> = { i32: 0x7f, i64: 0x7e, v128: 0x7b };
/** `\0asm`, version 1. */
const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const SIMD = 0xfd;
const NO_RESULT = 0x40;
const END = 0x0b;

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest & 127) | 128);
  }
}

function signed(value: bigint): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    const low = Number(rest & 127n);
    // The last byte's seventh bit is the sign of all that is left out.
    if (rest >> 6n === 0n || rest >> 6n === -1n) return [...bytes, low];
    bytes.push(low | 128);
  }
}

/** An instruction that takes its operands from before it; `immediate` is written behind it. */
function op<A extends readonly Type[], T extends Type | 'none'>(takes: A, gives: T, ...opcode: number[]): (...operands: Codes<A>) => Code<T> {
  void takes;
  return (...operands) => ({ type: gives, bytes: [...(operands as readonly Code<Type>[]).map(({ bytes }) => bytes), ...opcode] });
}

/** Addresses are a fixed offset and what is computed; nothing need be aligned. */
function load<T extends Type>(gives: T, ...opcode: number[]): (offset: number, address: Code<'i32'>) => Code<T> {
  return (offset, address) => op(['i32'], gives, ...opcode, 0, ...unsigned(offset))(address);
}
function store<T extends Type>(takes: T, ...opcode: number[]): (offset: number, address: Code<'i32'>, value: Code<T>) => Code<'none'> {
  return (offset, address, value) => op(['i32', takes], 'none', ...opcode, 0, ...unsigned(offset))(address, value);
}

export const i32 = {
  const: (value: number): Code<'i32'> => ({ type: 'i32', bytes: [0x41, ...signed(BigInt(value | 0))] }),
  load: load('i32', 0x28),
  load8: load('i32', 0x2d),
  load16: load('i32', 0x2f),
  equal: op(['i32', 'i32'], 'i32', 0x46),
  lessThan: op(['i32', 'i32'], 'i32', 0x49),
  atLeast: op(['i32', 'i32'], 'i32', 0x4f),
  add: op(['i32', 'i32'], 'i32', 0x6a),
  sub: op(['i32', 'i32'], 'i32', 0x6b),
  mul: op(['i32', 'i32'], 'i32', 0x6c),
  and: op(['i32', 'i32'], 'i32', 0x71),
  or: op(['i32', 'i32'], 'i32', 0x72),
  xor: op(['i32', 'i32'], 'i32', 0x73),
  shl: op(['i32', 'i32'], 'i32', 0x74),
  shr: op(['i32', 'i32'], 'i32', 0x76),
  /** The lower half. */
  of: op(['i64'], 'i32', 0xa7),
};

export const i64 = {
  const: (value: bigint): Code<'i64'> => ({ type: 'i64', bytes: [0x42, ...signed(BigInt.asIntN(64, value))] }),
  load: load('i64', 0x29),
  store: store('i64', 0x37),
  isZero: op(['i64'], 'i32', 0x50),
  /** Both without a sign. */
  lessThan: op(['i64', 'i64'], 'i32', 0x54),
  moreThan: op(['i64', 'i64'], 'i32', 0x56),
  /** How many zeros it begins with, from the highest bit on, and ends in. */
  clz: op(['i64'], 'i64', 0x79),
  ctz: op(['i64'], 'i64', 0x7a),
  popcnt: op(['i64'], 'i64', 0x7b),
  sub: op(['i64', 'i64'], 'i64', 0x7d),
  and: op(['i64', 'i64'], 'i64', 0x83),
  or: op(['i64', 'i64'], 'i64', 0x84),
  xor: op(['i64', 'i64'], 'i64', 0x85),
  shl: op(['i64', 'i64'], 'i64', 0x86),
  shr: op(['i64', 'i64'], 'i64', 0x88),
  of: op(['i32'], 'i64', 0xad),
};

/** Sixteen bytes at once, or eight units of two bytes. */
export const v128 = {
  /** The same byte, or unit of two bytes, throughout. */
  all: (byte: number): Code<'v128'> => ({ type: 'v128', bytes: [SIMD, 0x0c, ...Array.from({ length: 16 }, () => byte)] }),
  all16: (unit: number): Code<'v128'> => ({ type: 'v128', bytes: [SIMD, 0x0c, ...Array.from({ length: 8 }, () => [unit & 255, unit >> 8]).flat()] }),
  load: load('v128', SIMD, 0x00),
  store: store('v128', SIMD, 0x0b),
  /** For each byte of the second, the byte of the first at that index, which must be below sixteen: beyond, processors differ. */
  look: op(['v128', 'v128'], 'v128', SIMD, 0x80, 0x02),
  equal: op(['v128', 'v128'], 'v128', SIMD, 0x23),
  and: op(['v128', 'v128'], 'v128', SIMD, 0x4e),
  or: op(['v128', 'v128'], 'v128', SIMD, 0x50),
  /** The highest bit of each byte. */
  bitmask: op(['v128'], 'i32', SIMD, 0x64),
  /** Units of two bytes, the first eight from the first, as bytes. */
  narrow: op(['v128', 'v128'], 'v128', SIMD, 0x66),
  shl: op(['v128', 'i32'], 'v128', SIMD, 0x6b),
  shr: op(['v128', 'i32'], 'v128', SIMD, 0x6d),
  /** Sums that stay at 255. */
  addUpTo: op(['v128', 'v128'], 'v128', SIMD, 0x70),
  /** The lesser of units of two bytes without a sign. */
  min16: op(['v128', 'v128'], 'v128', SIMD, 0x97, 0x01),
};

export function sequence(...statements: readonly Code<'none'>[]): Code<'none'> {
  return { type: 'none', bytes: statements.map(({ bytes }) => bytes) };
}

/** Goes through its body as long as the condition holds. */
export function loopWhile(condition: Code<'i32'>, ...body: readonly Code<'none'>[]): Code<'none'> {
  // A block to leave around a loop to begin again: if not, out of the outer; the body; again.
  const [block, loop, not, leave, again] = [0x02, 0x03, 0x45, [0x0d, 1], [0x0c, 0]] as const;
  return {
    type: 'none',
    bytes: [block, NO_RESULT, loop, NO_RESULT, condition.bytes, not, ...leave, sequence(...body).bytes, ...again, END, END],
  };
}

/** What a function works with: its parameters, all of them `i32`, and its locals. */
export class Locals {
  readonly #types: Type[] = [];
  readonly #parameters: number;

  constructor(parameters: number) {
    this.#parameters = parameters;
  }

  parameter(index: number): Local<'i32'> {
    return local('i32', index);
  }

  add<T extends Type>(type: T): Local<T> {
    return local(type, this.#parameters + this.#types.push(type) - 1);
  }

  /** A module with this one function, `run`, and so many pages (64 KiB) of memory, `memory`. */
  module(pages: number, body: Code<'none'>): Uint8Array<ArrayBuffer> {
    const list = (items: readonly (readonly number[])[]): number[] => [...unsigned(items.length), ...items.flat()];
    const sized = (bytes: readonly number[]): number[] => [...unsigned(bytes.length), ...bytes];
    const section = (id: number, items: readonly (readonly number[])[]): number[] => [id, ...sized(list(items))];
    const name = (text: string): number[] => sized([...Buffer.from(text)]);
    const parameters = Array.from({ length: this.#parameters }, () => [VALUE_TYPES.i32]);
    const locals = this.#types.map((type) => [1, VALUE_TYPES[type]]);
    return Uint8Array.from([
      ...HEADER,
      ...section(1, [[0x60, ...list(parameters), ...list([])]]),
      ...section(3, [[0]]),
      ...section(5, [[0x01, pages, pages]]),
      ...section(7, [
        [...name('run'), 0x00, 0],
        [...name('memory'), 0x02, 0],
      ]),
      ...section(10, [sized([...list(locals), ...flat(body.bytes, []), END])]),
    ]);
  }
}

function flat(bytes: Bytes, into: number[]): number[] {
  for (const one of bytes) {
    if (typeof one === 'number') into.push(one);
    else flat(one, into);
  }
  return into;
}

function local<T extends Type>(type: T, index: number): Local<T> {
  return {
    type,
    get: { type, bytes: [0x20, ...unsigned(index)] },
    set: ({ bytes }) => ({ type: 'none', bytes: [bytes, 0x21, ...unsigned(index)] }),
  };
}
