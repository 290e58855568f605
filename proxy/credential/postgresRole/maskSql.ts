/** Masks as the server computes them: SQL expressions over one column, in the form that `proxy/masking` gives a value. */
import type { MaskKind } from '../../../contract/verdict.ts';
import { literal } from './names.ts';

/** How the values of a type can be replaced. */
export type MaskableType = 'text' | 'json' | 'jsonb' | 'other';

export interface MaskedColumn {
  /** The column, as SQL. */
  readonly value: string;
  readonly type: MaskableType;
  /** The type as SQL, for NULLs of it. */
  readonly sqlType: string;
  readonly name: string;
}

export interface MaskGround {
  /** Whether the database can hold `‹`, `•` and `·`. */
  readonly utf8: boolean;
  /** The schema's table with the keys of `hash` masks; undefined: hashes are redacted. */
  readonly keys: string | undefined;
}

/**
 * An expression that shows of a value what its mask lets through. NULL stays NULL; a type that holds no text gives NULL,
 * since nothing else of that type says "masked".
 */
export function maskSql(column: MaskedColumn, kind: MaskKind, ground: MaskGround): string {
  if (column.type === 'other') return `null::${column.sqlType}`;
  const text = `(${column.value})::pg_catalog.text`;
  const masked = textMask(text, column.name, kind, ground);
  const dressed = column.type === 'text' ? masked : `pg_catalog.to_${column.type}(${masked})`;
  return `case when ${column.value} is null then null else ${dressed} end`;
}

function textMask(text: string, name: string, kind: MaskKind, ground: MaskGround): string {
  const redacted = `${literal(ground.utf8 ? '‹redacted›' : '<redacted>')}::pg_catalog.text`;
  switch (kind) {
    case 'partial':
      return partial(text, ground.utf8);
    case 'hash':
      return ground.keys === undefined ? redacted : hash(text, name, ground.keys, ground.utf8);
    // A token can be turned back by the proxy alone, and only what it has seen: here there is nothing to turn back.
    case 'token':
    case 'redact':
      return redacted;
  }
}

/** As `partial` in `proxy/masking/forms.ts`; a test holds the two together. */
function partial(text: string, utf8: boolean): string {
  const dot = utf8 ? '•' : '*';
  const reserved = utf8 ? '•‹›' : '*<>';
  const dots = (n: number): string => literal(dot.repeat(n));
  const digits = `pg_catalog.regexp_replace(${text}, '[^0-9]', '', 'g')`;
  const written = `pg_catalog.length(pg_catalog.regexp_replace(${text}, ${literal('[\\s().+/-]')}, '', 'g'))`;
  const allDigits = `pg_catalog.length(${digits}) = ${written}`;
  const show = `least(4, pg_catalog.length(${text}) / 6)`;
  const end = `pg_catalog.right(${text}, ${show})`;
  return `case
    when ${text} ~ ${literal(`^[^@\\s${reserved}][^@\\s]*@[A-Za-z0-9.-]{1,255}$`)}
      then case when pg_catalog.strpos(${text}, '@') >= 3 then pg_catalog.left(${text}, 1) else '' end || ${dots(3)} || pg_catalog.substr(${text}, pg_catalog.strpos(${text}, '@'))
    when ${allDigits} and pg_catalog.length(${digits}) >= 12 then ${dots(4)} || pg_catalog.right(${digits}, 4)
    when ${allDigits} and pg_catalog.length(${digits}) >= 6 then ${dots(4)} || pg_catalog.right(${digits}, 2)
    when ${show} >= 2 and ${end} ~ '^[A-Za-z0-9]+$' then ${dots(4)} || ${end}
    else ${dots(4)} end`;
}

/** Keyed twice, once inside and once around (NMAC): the keys are the server's own, and only the views' owner reads them. */
function hash(text: string, name: string, keys: string, utf8: boolean): string {
  const [open, dot, close] = utf8 ? ['‹', '·', '›'] : ['<', '-', '>'];
  const label = name.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 40) || 'value';
  const key = (column: string): string => `(select k.${column} from ${keys} k)`;
  const inner = `pg_catalog.sha256(${key('inside')} || pg_catalog.convert_to(${text}, 'UTF8'))`;
  const digest = `pg_catalog.encode(pg_catalog.sha256(${key('around')} || ${inner}), 'hex')`;
  return `${literal(`${open}${label}${dot}`)} || pg_catalog.substr(${digest}, 1, 6) || ${literal(close)}`;
}

/** Makes the table of keys, filled by the server's own random numbers: no key is ever in a statement or in our memory. */
export function hashKeysSql(table: string): string {
  const random = `pg_catalog.sha256(pg_catalog.uuid_send(pg_catalog.gen_random_uuid()) || pg_catalog.uuid_send(pg_catalog.gen_random_uuid()) || pg_catalog.uuid_send(pg_catalog.gen_random_uuid()))`;
  return `create table ${table} as select ${random} as inside, ${random} as around`;
}
