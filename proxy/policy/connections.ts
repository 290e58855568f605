/** `connections:`, compiled. No secret stands in the file: only where it is kept. */
import { isAbsolute } from 'node:path';
import type { z } from 'zod';
import type { MaskKind } from '../../contract/verdict.ts';
import { AwsCredential, awsCredential, tokenExchange } from './gatewayCredentials.ts';
import {
  type ConnectionConfig,
  type McpConnection,
  type MintedCredential,
  type OAuthClient,
  type PostgresConnection,
  PRIVILEGES,
  type Privilege,
  type SecretRef,
  type TableGrant,
} from './policy.ts';
import { found, type Path, type Problems } from './problems.ts';
import { parseDuration } from './rules.ts';
import { type CredentialShape, HttpUpstream, McpShape, PostgresShape, StdioUpstream, VaultCredential } from './schema.ts';
import { shapeErrors } from './shapeErrors.ts';
import { suggestValue } from './suggest.ts';
import { tokenRules } from './tokens.ts';
import type { YamlText } from './yamlText.ts';

const LOOPBACK = new Set(['localhost', '127.0.0.1', '::1', '[::1]']);
const LOOKS_SECRET = /(token|secret|password|passwd|api_?key|credential|authorization)/i;

type Say = (at: Path, message: string) => void;

/** A whole connection; undefined when something in it is wrong, which `problems` then says. */
export function compileConnection(yaml: YamlText, name: string, value: unknown, problems: Problems): ConnectionConfig | undefined {
  const path: Path = ['connections', name];
  const before = problems.errors.length;
  const error: Say = (at, message) => void problems.errors.push(found(yaml.file, yaml.at([...path, ...at]), message));
  const warn: Say = (at, message) => void problems.warnings.push(found(yaml.file, yaml.at([...path, ...at]), message));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    error([], `Connection \`${name}\` must be a mapping that begins with \`protocol: postgres\` or \`protocol: mcp\`.`);
    return undefined;
  }
  const protocol = 'protocol' in value ? value.protocol : undefined;
  let connection: ConnectionConfig | undefined;
  if (protocol === 'postgres') connection = postgres(yaml, path, name, value, problems, error);
  else if (protocol === 'mcp') connection = mcp(yaml, path, name, value, problems, error, warn);
  else if (protocol === undefined) error([], `Connection \`${name}\` does not say its \`protocol\`. Write \`protocol: postgres\` or \`protocol: mcp\`.`);
  else
    error(
      ['protocol'],
      `\`protocol\` cannot be ${typeof protocol === 'string' ? `\`${protocol.slice(0, 60)}\`` : 'that'}.${suggestValue(protocol, ['postgres', 'mcp'])}`,
    );
  return problems.errors.length > before ? undefined : connection;
}

function postgres(yaml: YamlText, path: Path, name: string, value: object, problems: Problems, error: Say): PostgresConnection | undefined {
  const wanted = 'credential' in value ? value.credential : undefined;
  const isOf = (key: string): boolean => typeof wanted === 'object' && wanted !== null && key in wanted;
  const shapes = isOf('vault')
    ? PostgresShape.extend({ credential: VaultCredential })
    : isOf('aws')
      ? PostgresShape.extend({ credential: AwsCredential })
      : PostgresShape;
  const parsed = shapes.safeParse(value);
  if (!parsed.success) {
    problems.errors.push(...shapeErrors(yaml, path, parsed.error.issues));
    return undefined;
  }
  const shape = parsed.data;
  const upstream = postgresUpstream(shape.upstream, error);
  if (!upstream) return undefined;
  const user = shape.user ?? upstream.user;
  const tls = typeof shape.tls === 'string' ? { mode: shape.tls } : shape.tls;
  if (tls?.mode !== 'verify-full' && tls && 'ca' in tls && tls.ca !== undefined)
    error(['tls', 'ca'], 'An authority is checked only with `mode: verify-full`. Write that, or remove `ca`.');
  const mode = tls?.mode ?? (LOOPBACK.has(upstream.host) || upstream.host.startsWith('/') ? 'disable' : 'verify-full');
  const password = shape.password === undefined ? undefined : secretRef(shape.password, (message) => error(['password'], message));
  const credential = ((): PostgresConnection['credential'] => {
    if (!shape.credential) return undefined;
    if ('vault' in shape.credential) return { lease: 'vault', path: shape.credential.vault };
    if ('aws' in shape.credential)
      return awsCredential(
        shape.credential.aws,
        { connection: name, ...upstream, user, isEncrypted: mode !== 'disable', ttlMs: parseDuration(shape.credential.aws.ttl ?? DEFAULT_TTL) },
        error,
      );
    return mintedCredential(shape.credential, error);
  })();
  if (shape.credential && !('mint' in shape.credential) && shape.via !== 'gateway')
    error(['credential'], `Only a gateway gets logins from ${'vault' in shape.credential ? 'Vault' : 'AWS'}. Add \`via: gateway\`.`);
  if (shape.edge !== undefined) edgeErrors(shape.via, error);
  if (credential && shape.password !== undefined)
    error(['password'], 'With `credential` no session logs in as `user`. Move this to `credential: { admin: … }`, or remove `credential`.');
  if (credential && 'mint' in credential && user === undefined) error(['credential'], 'Say who creates the roles: add `user: NAME` to the connection.');
  return {
    name,
    protocol: 'postgres',
    via: shape.via ?? 'local',
    ...(shape.edge !== undefined && { edge: shape.edge }),
    upstream: { host: upstream.host, port: upstream.port, database: upstream.database, ...(user !== undefined && { user }) },
    tls: { mode, ...(tls && 'ca' in tls && tls.ca !== undefined && { ca: tls.ca }) },
    sensitive: new Map<string, MaskKind>(Object.entries(shape.sensitive ?? {})),
    ...(shape.tokens !== undefined && { tokens: tokenRules(shape.tokens, name, true) }),
    ...(password && { password }),
    ...(credential && { credential }),
    ...(shape.port !== undefined && { port: shape.port }),
  };
}

function edgeErrors(via: 'local' | 'gateway' | undefined, error: Say): void {
  if (via !== 'gateway') error(['edge'], 'Edges belong to a gateway. Add `via: gateway`, or remove `edge`.');
}

const DEFAULT_TTL = '15m';
/** Longest time that a minted role may log in, in milliseconds. */
const MAX_TTL_MS = 24 * 3_600_000;

function mintedCredential(shape: CredentialShape, error: Say): MintedCredential | undefined {
  const admin = secretRef(shape.admin, (message) => error(['credential', 'admin'], message));
  const ttlMs = parseDuration(shape.ttl ?? DEFAULT_TTL);
  if (ttlMs > MAX_TTL_MS) error(['credential', 'ttl'], 'A login made for one session lives at most a day: `24h`.');
  const grants = new Map<string, TableGrant>();
  for (const [table, grant] of Object.entries(shape.grants ?? {})) {
    const name = table.includes('.') ? table : `public.${table}`;
    if (grants.has(name)) error(['credential', 'grants', table], `\`${table}\` is granted twice: a table without a schema is in \`public\`. Keep one.`);
    const privileges: [Privilege, 'all' | readonly string[]][] = Array.isArray(grant)
      ? grant.map((privilege) => [privilege, 'all'])
      : PRIVILEGES.flatMap((privilege) => (grant[privilege] === undefined ? [] : [[privilege, grant[privilege]]]));
    if (privileges.length === 0) error(['credential', 'grants', table], `This grants nothing. Write \`${table}: [select]\`, or remove it.`);
    grants.set(name, new Map(privileges));
  }
  return admin && { mint: 'postgres-role', admin, ttlMs, ...(shape.grants !== undefined && { grants }) };
}

function postgresUpstream(text: string, error: Say): { host: string; port: number; database: string; user?: string } | undefined {
  const form = 'Write `postgres://HOST:PORT/DATABASE`.';
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    error(['upstream'], `This is not an address. ${form}`);
    return undefined;
  }
  if (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:') {
    error(['upstream'], `A database’s address begins with \`postgres://\`. ${form}`);
    return undefined;
  }
  if (url.password !== '') {
    error(['upstream'], 'Do not write a password into this file. Remove it from the address and say where it is kept: `password: secret:NAME`.');
    return undefined;
  }
  if (url.search !== '' || url.hash !== '') {
    error(['upstream'], `Settings in the address are not used. ${form} Encryption is \`tls:\`.`);
    return undefined;
  }
  const part = (encoded: string): string | undefined => {
    try {
      const decoded = decodeURIComponent(encoded);
      // oxlint-disable-next-line no-control-regex -- exactly these must not reach the wire
      return /[\u0000-\u001f\u007f]/.test(decoded) ? undefined : decoded;
    } catch {
      return undefined;
    }
  };
  const host = part(url.hostname.replace(/^\[(.*)\]$/, '$1'));
  const database = part(url.pathname.replace(/^\//, ''));
  const user = part(url.username);
  if (!host || database === undefined || user === undefined) {
    error(['upstream'], `This address cannot be read. ${form}`);
    return undefined;
  }
  if (database === '') {
    error(['upstream'], `This address does not name a database. ${form}`);
    return undefined;
  }
  return { host, port: url.port === '' ? 5432 : Number(url.port), database, ...(user !== '' && { user }) };
}

function mcp(yaml: YamlText, path: Path, name: string, value: object, problems: Problems, error: Say, warn: Say): McpConnection | undefined {
  if ('sensitive' in value) {
    error(['sensitive'], '`sensitive` names columns of a database; what an MCP server answers is masked by `defaults.detectors`. Remove it.');
    return undefined;
  }
  const upstream = 'upstream' in value ? value.upstream : undefined;
  const isMapping = typeof upstream === 'object' && upstream !== null && !Array.isArray(upstream);
  const parsed = McpShape.extend({ upstream: isMapping && 'url' in upstream ? HttpUpstream : StdioUpstream }).safeParse(value);
  if (!parsed.success) {
    problems.errors.push(...shapeErrors(yaml, path, parsed.error.issues));
    return undefined;
  }
  const values = (given: Record<string, string> | undefined, key: string): Map<string, string | SecretRef> =>
    new Map(
      Object.entries(given ?? {}).map(([variable, text]) => {
        const at: Path = ['upstream', key, variable];
        if (/^(secret|env|file):/.test(text)) return [variable, secretRef(text, (message) => error(at, message)) ?? text];
        if (LOOKS_SECRET.test(variable) && text !== '') {
          warn(at, `\`${variable}\` looks like a secret, and anyone who can read this file can read it. Say where it is kept: \`secret:NAME\`.`);
        }
        return [variable, text];
      }),
    );
  const { edge, tokens: given, upstream: shape, via = 'local' } = parsed.data;
  if (edge !== undefined) edgeErrors(via, error);
  const tokens = given !== undefined && { tokens: tokenRules(given, name, false) };
  const { pin, hints, arguments: secretArguments, share } = parsed.data;
  const handling = { ...(pin && { pin }), ...(hints && { hints }), ...(secretArguments && { arguments: secretArguments }), ...(share && { share }) };
  if ('command' in shape) {
    if (edge !== undefined) error(['edge'], 'An edge opens the way to an address, and runs no program. Give the server a `url`, or remove `edge`.');
    const { command, cwd } = shape;
    const argument = (text: string, i: number): string | SecretRef =>
      i > 0 && text.startsWith('secret:') ? (secretRef(text, (message) => error(['upstream', 'command', i], message)) ?? text) : text;
    return {
      name,
      protocol: 'mcp',
      via,
      sensitive: new Map(),
      ...tokens,
      ...handling,
      upstream: { transport: 'stdio', command: command.map(argument), env: values(shape.env, 'env'), ...(cwd !== undefined && { cwd }) },
    };
  }
  if (share !== undefined) error(['share'], 'A remote server is nobody’s process here. Remove `share`; it belongs to a server that is started with `command`.');
  if (!httpAddress(shape.url, error)) return undefined;
  if (shape.exchange) {
    if (via !== 'gateway') error(['upstream', 'exchange'], 'Only a gateway can vouch for who is signed in. Add `via: gateway`.');
    if (shape.oauth || Object.keys(shape.headers ?? {}).some((header) => header.toLowerCase() === 'authorization'))
      error(['upstream', 'exchange'], 'There is one login for a server: keep `exchange`, or remove it and keep the other.');
  }
  return {
    name,
    protocol: 'mcp',
    via,
    ...(edge !== undefined && { edge }),
    sensitive: new Map(),
    ...tokens,
    ...handling,
    upstream: {
      transport: shape.transport ?? 'http',
      url: shape.url,
      headers: values(shape.headers, 'headers'),
      ...(shape.oauth && { oauth: oauthClient(shape.oauth, error) }),
      ...(shape.exchange && { exchange: tokenExchange(shape.exchange, secretRef, (host) => LOOPBACK.has(host), error) }),
    },
  };
}

function oauthClient(shape: NonNullable<z.infer<typeof HttpUpstream>['oauth']>, error: Say): OAuthClient {
  const { 'client-id': id, 'client-secret': text, 'client-metadata': metadata, issuer, scopes = [] } = shape;
  const secret = text === undefined ? undefined : secretRef(text, (message) => error(['upstream', 'oauth', 'client-secret'], message));
  if (text !== undefined && !/^(secret|env|file):/.test(text))
    error(['upstream', 'oauth', 'client-secret'], 'Do not write the secret into this file. Say where it is kept: `secret:NAME`.');
  if (text !== undefined && id === undefined) error(['upstream', 'oauth', 'client-secret'], 'A secret belongs to a `client-id`. Write that, too.');
  if (metadata !== undefined && !/^https:\/\/[^\s/]+\/\S+$/.test(metadata))
    error(['upstream', 'oauth', 'client-metadata'], 'The document’s address begins with `https://` and has a path.');
  const at = issuer === undefined ? undefined : URL.parse(issuer);
  if (at === null || (at && at.protocol !== 'https:' && !(at.protocol === 'http:' && LOOPBACK.has(at.hostname))))
    error(['upstream', 'oauth', 'issuer'], 'The authorization server’s address begins with `https://`.');
  return {
    scopes,
    ...(id !== undefined && { id }),
    ...(secret && { secret }),
    ...(issuer !== undefined && { issuer }),
    ...(metadata !== undefined && { metadata }),
  };
}

function httpAddress(text: string, error: Say): boolean {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    error(['upstream', 'url'], 'This is not an address. Write `https://HOST/PATH`.');
    return false;
  }
  if (url.username !== '' || url.password !== '') {
    error(['upstream', 'url'], 'Do not write a login into this file. Remove it from the address and use `headers: { Authorization: secret:NAME }`.');
    return false;
  }
  if (url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.has(url.hostname))) return true;
  error(['upstream', 'url'], 'An MCP server on another machine is reached by `https://`: anything else can be read on the way.');
  return false;
}

/** `secret:NAME`, `env:NAME` or `file:PATH`. */
function secretRef(text: string, error: (message: string) => void): SecretRef | undefined {
  const colon = text.indexOf(':');
  const from = text.slice(0, colon);
  const name = text.slice(colon + 1);
  if (from === 'secret') {
    if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name)) return { from, name };
    error('A secret’s name is letters, digits, `.`, `-` and `_`: `secret:orders-password`.');
  } else if (from === 'env') {
    if (/^[A-Za-z_][A-Za-z0-9_]{0,199}$/.test(name)) return { from, name };
    error('A variable’s name is letters, digits and `_`: `env:ORDERS_PASSWORD`.');
  } else if (from === 'file') {
    if (isAbsolute(name)) return { from, name };
    error('Give the file’s whole path: `file:/home/me/.orders-password`.');
  }
  return undefined;
}
