/** The value of an entry, as JSON or TOML gave it, to what it means. Pure. */
import { type Definition, type Dialect, type Template, template } from './definition.ts';

/** Most arguments, variables or headers of one server. */
const MAX_VALUES = 200;
const ADDRESS_KEYS = ['url', 'serverUrl', 'httpUrl'] as const;
/** Keys that say what is started or reached, in any of the formats; every other key of an entry is kept as it is. */
export const DEFINING_KEYS: ReadonlySet<string> = new Set([
  'type',
  'transport',
  'command',
  'args',
  'env',
  'envFile',
  'cwd',
  ...ADDRESS_KEYS,
  'headers',
  'dev',
  'env_vars',
  'bearer_token_env_var',
  'http_headers',
  'env_http_headers',
]);

type Fields = Readonly<Record<string, unknown>>;

export function decode(value: unknown, dialect: Dialect, launcher: string | undefined): Definition {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return unclear('It is not a set of settings.');
  const fields = value as Fields;
  const addresses = ADDRESS_KEYS.filter((key) => fields[key] !== undefined);
  if (addresses.length > 1) return unclear('It gives more than one address. Keep one.');
  const [key] = addresses;
  if (typeof fields.command === 'string' && fields.command !== '' && key === undefined) return stdio(fields, fields.command, dialect, launcher);
  if (key !== undefined && fields.command === undefined) return http(fields, fields[key], dialect);
  return unclear(key !== undefined ? 'It gives both a command and an address. Keep one.' : 'It gives neither a command nor an address.');
}

function stdio(fields: Fields, command: string, dialect: Dialect, launcher: string | undefined): Definition {
  const args = fields.args === undefined ? [] : strings(fields.args);
  const env = variables(fields.env, dialect);
  if (args === undefined) return unclear('Its arguments are not a list of texts.');
  if (env === undefined) return unclear('Its variables are not texts.');
  const forwarded = fields.env_vars === undefined ? [] : strings(fields.env_vars);
  if (forwarded === undefined) return unclear('Its `env_vars` are not a list of names.');
  for (const name of forwarded) if (!env.has(name)) env.set(name, [{ env: name }]);
  for (const key of ['envFile', 'cwd'] as const)
    if (fields[key] !== undefined && typeof fields[key] !== 'string') return unclear(`Its \`${key}\` is not a text.`);
  const [first] = args;
  const bare = env.size === 0 && fields.envFile === undefined && fields.cwd === undefined;
  // To the letter: with a variable or a folder besides, it would no longer do what ours does.
  if (launcher !== undefined && command === launcher) {
    return bare && args.length === 1 && first !== undefined
      ? { kind: 'ours', connection: first }
      : unclear('It starts Countersign’s own program with settings that Countersign did not write. Undo the change, or remove the entry.');
  }
  return {
    kind: 'stdio',
    command: template(command, dialect),
    args: args.map((arg) => template(arg, dialect)),
    env,
    ...(typeof fields.envFile === 'string' && { envFile: template(fields.envFile, dialect) }),
    ...(typeof fields.cwd === 'string' && { cwd: template(fields.cwd, dialect) }),
  };
}

function http(fields: Fields, address: unknown, dialect: Dialect): Definition {
  if (typeof address !== 'string' || address === '') return unclear('Its address is not a text.');
  if (/^(unix|pipe):/i.test(address)) return unclear('It is reached through a socket file, which Countersign does not relay.');
  const headers = variables(fields.headers ?? fields.http_headers, dialect);
  const fromEnvironment = variables(fields.env_http_headers, 'none');
  if (headers === undefined || fromEnvironment === undefined) return unclear('Its headers are not texts.');
  for (const [header, [name]] of fromEnvironment) if (typeof name === 'string') headers.set(header, [{ env: name }]);
  const bearer = fields.bearer_token_env_var;
  if (bearer !== undefined && typeof bearer !== 'string') return unclear('Its `bearer_token_env_var` is not a name.');
  if (bearer !== undefined) headers.set('Authorization', ['Bearer ', { env: bearer }]);
  const sse = fields.type === 'sse' || fields.transport === 'sse';
  return { kind: 'http', sse, url: template(address, dialect), headers };
}

function strings(value: unknown): string[] | undefined {
  if (!Array.isArray(value) || value.length > MAX_VALUES) return undefined;
  const out: string[] = [];
  for (const item of value as unknown[]) {
    if (typeof item !== 'string' && typeof item !== 'number' && typeof item !== 'boolean') return undefined;
    out.push(String(item));
  }
  return out;
}

function variables(value: unknown, dialect: Dialect): Map<string, Template> | undefined {
  if (value === undefined || value === null) return new Map();
  if (typeof value !== 'object' || Array.isArray(value)) return undefined;
  const out = new Map<string, Template>();
  const entries = Object.entries(value);
  if (entries.length > MAX_VALUES) return undefined;
  for (const [name, item] of entries) {
    // VS Code: null takes a variable away. What is started by Countersign inherits next to nothing to begin with.
    if (item === null) continue;
    if (typeof item !== 'string' && typeof item !== 'number' && typeof item !== 'boolean') return undefined;
    out.set(name, template(String(item), dialect));
  }
  return out;
}

function unclear(why: string): Definition {
  return { kind: 'unclear', why };
}
