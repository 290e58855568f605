/**
 * What a client may set at start-up, and which settings may never change: the proxy and the server must read the same
 * bytes as the same statement.
 */
import type { PostgresConnection } from '../../policy/policy.ts';
import type { ClientIdentity } from '../protocol.ts';
import { type OwnError, SQLSTATE } from './messages.ts';
import { printable } from './startup.ts';

/** Settings that change how results look or how long things may take, and nothing of what a statement means or may do. */
const ALLOWED: ReadonlySet<string> = new Set([
  'application_name',
  'bytea_output',
  'client_min_messages',
  'datestyle',
  'default_transaction_deferrable',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'extra_float_digits',
  'geqo',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'intervalstyle',
  'jit',
  'lock_timeout',
  'statement_timeout',
  'tcp_keepalives_idle',
  'timezone',
  'transaction_timeout',
]);

/** Longest value of a start-up parameter that is passed on, in characters. */
const MAX_VALUE = 1000;

export interface Startup {
  /** Parameters for the server, besides user and database. */
  readonly upstream: ReadonlyMap<string, string>;
  /** As the client asked for it, and the server's default otherwise. */
  readonly searchPath: string | undefined;
}

/** @returns the start-up for the server, or why this client's is refused */
export function controlStartup(parameters: ReadonlyMap<string, string>, connection: PostgresConnection, identity: ClientIdentity): Startup | OwnError {
  const upstream = new Map<string, string>();
  let searchPath: string | undefined;
  const wanted = new Map<string, string>();
  for (const [name, value] of parameters) {
    if (name === 'options') {
      const options = readOptions(value);
      if (!options) return refuse(SQLSTATE.invalidParameter, 'The start-up options could not be read. Give settings as "-c name=value".');
      for (const [option, setting] of options) wanted.set(option.toLowerCase(), setting);
    } else wanted.set(name.toLowerCase(), value);
  }
  for (const [name, value] of wanted) {
    if (value.length > MAX_VALUE) return refuse(SQLSTATE.invalidParameter, `The start-up parameter ${printable(name)} is too long.`);
    switch (name) {
      case 'user':
        break;
      case 'database': {
        const { database } = connection.upstream;
        // psql and others name the user's database where none was given.
        if (value !== database && value !== connection.name && value !== parameters.get('user')) {
          return refuse(
            SQLSTATE.invalidCatalogName,
            `This address serves database "${database}" only; "${printable(value)}" is another connection, if policy has one.`,
          );
        }
        break;
      }
      case 'replication':
        if (!/^(false|off|no|0)$/i.test(value))
          return refuse(SQLSTATE.featureNotSupported, 'Replication is refused: it would carry every row past policy and masking.');
        break;
      case 'client_encoding':
        if (!isUtf8(value))
          return refuse(
            SQLSTATE.featureNotSupported,
            `client_encoding ${printable(value)} is refused: Countersign reads statements as UTF8, and another encoding could mean another statement. Use UTF8.`,
          );
        break;
      case 'standard_conforming_strings':
        if (!isOn(value))
          return refuse(SQLSTATE.featureNotSupported, 'standard_conforming_strings=off is refused: strings would end elsewhere than Countersign reads them.');
        break;
      case 'search_path':
        searchPath = value;
        upstream.set(name, value);
        break;
      case 'role':
      case 'session_authorization':
        return refuse(SQLSTATE.insufficientPrivilege, `Setting ${name} at start-up is refused: the role is the connection's, not the client's.`);
      default:
        if (!ALLOWED.has(name))
          return refuse(
            SQLSTATE.featureNotSupported,
            `The start-up parameter ${printable(name)} is refused. Use SET after connecting, which policy decides on.`,
          );
        upstream.set(name, value);
    }
  }
  upstream.set('client_encoding', 'UTF8');
  upstream.set('standard_conforming_strings', 'on');
  if (identity.readOnly) upstream.set('default_transaction_read_only', 'on');
  return { upstream, searchPath };
}

export function isOwnError(value: Startup | OwnError): value is OwnError {
  return 'message' in value;
}

function refuse(code: string, message: string): OwnError {
  return { severity: 'FATAL', code, message };
}

export function isUtf8(value: string): boolean {
  return /^(utf-?8|unicode)$/i.test(value.trim());
}

export function isOn(value: string): boolean {
  return /^(on|true|yes|1|t|y|tr|tru|ye)$/i.test(value.trim());
}

/** `-c name=value`, `-cname=value`, `--name=value`, separated by spaces that a backslash keeps; undefined for anything else. */
function readOptions(text: string): readonly (readonly [string, string])[] | undefined {
  const words: string[] = [];
  let word = '';
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (char === '\\') {
      i++;
      word += text.charAt(i);
    } else if (/\s/.test(char)) {
      if (word !== '') words.push(word);
      word = '';
    } else word += char;
  }
  if (word !== '') words.push(word);

  const options: [string, string][] = [];
  for (let i = 0; i < words.length; i++) {
    let setting = words[i] ?? '';
    if (setting === '-c') setting = words[++i] ?? '';
    else if (setting.startsWith('-c')) setting = setting.slice(2);
    else if (setting.startsWith('--')) setting = setting.slice(2);
    else return undefined;
    const equals = setting.indexOf('=');
    if (equals < 1) return undefined;
    options.push([setting.slice(0, equals).replaceAll('-', '_'), setting.slice(equals + 1)]);
  }
  return options;
}

/** A `search_path` as `SHOW` gives it, as names: `"$user", public`. */
export function readSearchPath(value: string): readonly string[] {
  const names: string[] = [];
  const pattern = /\s*(?:"((?:[^"]|"")*)"|([^,"\s]+))\s*(?:,|$)/gy;
  for (let match = pattern.exec(value); match; match = pattern.exec(value)) {
    names.push(match[1] === undefined ? (match[2] ?? '').toLowerCase() : match[1].replaceAll('""', '"'));
    if (pattern.lastIndex >= value.length) break;
  }
  return names;
}

/** The settings that decide how a statement is read or what its names mean. */
const READING: ReadonlySet<string> = new Set([
  'search_path',
  'role',
  'session_authorization',
  'client_encoding',
  'standard_conforming_strings',
  'backslash_quote',
]);

/** Whether changing it changes what later statements mean. */
export function changesReading(setting: string): boolean {
  return READING.has(setting);
}

/**
 * Why setting something explicitly is refused whatever policy says; undefined where policy decides. Back to the default is
 * always allowed: the defaults of the session are ours.
 */
export function refusedChange(setting: string, value: string, readOnly: boolean): string | undefined {
  switch (setting) {
    case 'client_encoding':
      if (isUtf8(value)) return undefined;
      return 'Changing client_encoding is refused: Countersign reads statements as UTF8, and another encoding could mean another statement.';
    case 'standard_conforming_strings':
      if (isOn(value)) return undefined;
      return 'Switching standard_conforming_strings off is refused: strings would end elsewhere than Countersign reads them.';
    case 'role':
    case 'session_authorization':
      return `Changing ${setting} is refused: the role is the connection's, not the client's.`;
    case 'default_transaction_read_only':
    case 'transaction_read_only':
      if (!readOnly || isOn(value)) return undefined;
      return 'This session only reads: making its transactions writable is refused.';
    default:
      return undefined;
  }
}
