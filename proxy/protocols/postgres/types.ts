/** The built-in types whose form on the wire matters to masking, by OID (`pg_type.dat`; fixed for good). */

/** How a value of a type is written, so that a mask keeps it readable for the client. */
export type Form = 'text' | 'json' | 'jsonb' | 'array' | 'other';

const TEXT: ReadonlySet<number> = new Set([18, 19, 25, 1042, 1043, 705, 142, 2275]);
const TEXT_ARRAYS: ReadonlySet<number> = new Set([143, 199, 1002, 1003, 1009, 1014, 1015, 1263, 3807]);

/**
 * Types that cannot hold text: numbers, times, identifiers, bits, network addresses, geometry, ranges of these, and arrays
 * of these. Everything else (domains' bases aside, enums, composites, extensions' types) is looked into.
 */
const NO_TEXT: ReadonlySet<number> = new Set([
  16, 17, 20, 21, 22, 23, 24, 26, 27, 28, 29, 30, 600, 601, 602, 603, 604, 628, 650, 700, 701, 718, 774, 790, 829, 869, 1000, 1001, 1005, 1006, 1007, 1010,
  1011, 1012, 1013, 1016, 1017, 1018, 1019, 1020, 1021, 1022, 1027, 1028, 1040, 1041, 1082, 1083, 1114, 1115, 1182, 1183, 1184, 1185, 1186, 1187, 1231, 1266,
  1270, 1560, 1561, 1562, 1563, 1700, 2202, 2203, 2204, 2205, 2206, 2278, 2950, 2951, 2970, 3220, 3221, 3904, 3906, 3908, 3910, 3912, 3926, 4089, 4096, 5038,
  5069,
]);

/** Whether a value detector should look at values of the type. */
export function holdsText(typeOid: number): boolean {
  return !NO_TEXT.has(typeOid);
}

/** Whether a text may stand in place of a value even in binary format. */
export function isTextLike(typeOid: number): boolean {
  return TEXT.has(typeOid) || typeOid === 114 || typeOid === 3802;
}

export function formOf(typeOid: number): Form {
  if (TEXT.has(typeOid)) return 'text';
  if (typeOid === 114) return 'json';
  if (typeOid === 3802) return 'jsonb';
  if (TEXT_ARRAYS.has(typeOid)) return 'array';
  return 'other';
}

/** Whether in binary format it is, or (where the server chooses its type) may be, an array whose elements are looked at. */
export function mayBeTextArray(typeOid: number): boolean {
  return typeOid === 0 || holdsText(typeOid);
}

/** A value as a person reads it: text as it is; of binary the simple types decoded, the rest as `\x…`. */
export function readable(buffer: Buffer, start: number, end: number, format: number, typeOid: number): string {
  if (format === 0 || TEXT.has(typeOid) || typeOid === 114) return buffer.toString('utf8', start, end);
  const length = end - start;
  switch (typeOid) {
    case 16:
      if (length === 1) return buffer[start] === 1 ? 't' : 'f';
      break;
    case 20:
      if (length === 8) return buffer.readBigInt64BE(start).toString();
      break;
    case 21:
      if (length === 2) return String(buffer.readInt16BE(start));
      break;
    case 23:
      if (length === 4) return String(buffer.readInt32BE(start));
      break;
    case 26:
      if (length === 4) return String(buffer.readUInt32BE(start));
      break;
    case 700:
      if (length === 4) return String(buffer.readFloatBE(start));
      break;
    case 701:
      if (length === 8) return String(buffer.readDoubleBE(start));
      break;
    case 2950:
      if (length === 16) return buffer.toString('hex', start, end).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
      break;
    case 3802:
      if (length > 0) return buffer.toString('utf8', start + 1, end);
      break;
    default:
  }
  return `\\x${buffer.toString('hex', start, end)}`;
}
