/**
 * Function calls by OID (manual, "Function Call"). libpq and JDBC reach large objects this way and no other; each such
 * call is decided as the SELECT that does the same. Any other function is refused: it has no text that a person or a
 * policy could read.
 */
import { FieldReader, violation } from './frames.ts';
import type { Column } from './messages.ts';
import type { Bound } from './operations.ts';

export const CALL_REFUSED = 'Function calls by OID are refused, but for those of large objects: they would pass by what policy reads. Use SELECT.';

const BYTEA = 17;
const INT8 = 20;
const INT4 = 23;
const OID = 26;

interface Callable {
  readonly name: string;
  readonly types: readonly number[];
  readonly result: number;
}

/** By OID: PostgreSQL's own functions keep theirs from one version to the next. */
const LARGE_OBJECTS: ReadonlyMap<number, Callable> = new Map([
  [715, { name: 'lo_create', types: [OID], result: OID }],
  [952, { name: 'lo_open', types: [OID, INT4], result: INT4 }],
  [953, { name: 'lo_close', types: [INT4], result: INT4 }],
  [954, { name: 'loread', types: [INT4, INT4], result: BYTEA }],
  [955, { name: 'lowrite', types: [INT4, BYTEA], result: INT4 }],
  [956, { name: 'lo_lseek', types: [INT4, INT4, INT4], result: INT4 }],
  [957, { name: 'lo_creat', types: [INT4], result: OID }],
  [958, { name: 'lo_tell', types: [INT4], result: INT4 }],
  [964, { name: 'lo_unlink', types: [OID], result: INT4 }],
  [1004, { name: 'lo_truncate', types: [INT4, INT4], result: INT4 }],
  [3170, { name: 'lo_lseek64', types: [INT4, INT8, INT4], result: INT8 }],
  [3171, { name: 'lo_tell64', types: [INT4], result: INT8 }],
  [3172, { name: 'lo_truncate64', types: [INT4, INT8], result: INT4 }],
]);

export interface FunctionCall extends Bound {
  /** The statement that does the same. */
  readonly sql: string;
  readonly result: Column;
}

/** @returns undefined for a function that may not be called this way */
export function readFunctionCall(buffer: Buffer, start: number, end: number): FunctionCall | undefined {
  // The parameters stay when what came in is read over.
  const own = Buffer.from(buffer.subarray(start, end));
  const body = FieldReader.body(own, 0, own.length);
  const oid = body.uint32();
  const formats = Array.from({ length: body.uint16() }, () => body.int16());
  const params = Array.from({ length: body.uint16() }, () => {
    const length = body.int32();
    return length === -1 ? null : body.bytes(length);
  });
  const format = body.int16();
  if (body.left !== 0) throw violation('a FunctionCall message with more than its fields');
  if (![...formats, format].every((code) => code === 0 || code === 1)) throw violation('an unknown format code');
  const called = LARGE_OBJECTS.get(oid);
  if (!called || called.types.length !== params.length) return undefined;
  const { name, result, types } = called;
  return {
    sql: `SELECT pg_catalog.${name}(${types.map((_, i) => `$${i + 1}`).join(', ')})`,
    bind: { portal: '', statement: '', paramFormats: formats, params, resultFormats: [format] },
    types,
    result: { name, tableOid: 0, attnum: 0, typeOid: result, format },
  };
}
