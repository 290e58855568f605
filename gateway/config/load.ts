/** Reads the gateway's configuration: a YAML file, then the environment over it; every problem with its line. */
import { readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { Problem } from '../../contract/problem.ts';
import { Secret } from '../../contract/secret.ts';
import type { Path } from '../../proxy/policy/problems.ts';
import { readYaml, type YamlText } from '../../proxy/policy/yamlText.ts';
import { ConfigShape } from './schema.ts';

export type Env = Readonly<Record<string, string | undefined>>;

export interface ConfigProblem {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** Whoever reads it again after a change: nothing in it is a secret, only where each one is. */
export interface GatewayConfig extends Omit<ConfigShape, 'database'> {
  readonly file: string | undefined;
  readonly database: { readonly kind: 'embedded' } | { readonly kind: 'postgres'; readonly url: Secret };
}

export type ConfigResult = { readonly ok: true; readonly config: GatewayConfig } | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** What the environment can say, and where that stands in the file. */
const FROM_ENV: Readonly<Record<string, string>> = {
  COUNTERSIGN_GATEWAY_LISTEN: 'listen',
  COUNTERSIGN_GATEWAY_PUBLIC_URL: 'publicUrl',
  COUNTERSIGN_GATEWAY_DATA: 'data',
  COUNTERSIGN_GATEWAY_KEY: 'key',
};
const MAX_SECRET_FILE_BYTES = 65_536;

export function loadConfig(file: string | undefined, env: Env): ConfigResult {
  let yaml: YamlText | undefined;
  if (file !== undefined) {
    let content: string;
    try {
      content = readFileSync(file, 'utf8');
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
      return { ok: false, problems: [{ file, line: 1, message: `This file cannot be read (${code}). Check the path and who may read it.` }] };
    }
    yaml = readYaml(content, file);
    if (yaml.problems.length > 0) return { ok: false, problems: yaml.problems.map(({ line, message }) => ({ file, line, message })) };
    if (yaml.value !== null && (typeof yaml.value !== 'object' || Array.isArray(yaml.value))) {
      return { ok: false, problems: [{ file, line: 1, message: 'This file must be a mapping that begins with `version: 1`.' }] };
    }
  }
  const value: Record<string, unknown> = { version: 1, ...(yaml?.value as object | undefined) };
  const fromEnv = new Map<string, string>();
  for (const [variable, key] of Object.entries(FROM_ENV)) {
    const text = env[variable];
    if (text === undefined || text === '') continue;
    value[key] = text;
    fromEnv.set(key, variable);
  }
  const parsed = ConfigShape.safeParse(value);
  const problems: ConfigProblem[] = [];
  const say = (path: Path, message: string): void => {
    const variable = fromEnv.get(String(path[0]));
    if (variable !== undefined) problems.push({ file: variable, line: 1, message });
    else problems.push({ file: file ?? 'the environment', line: yaml?.at(path).line ?? 1, message });
  };
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
      const at = path.length === 0 ? 'This file' : `\`${path.join('.')}\``;
      if (issue.code === 'unrecognized_keys')
        for (const key of issue.keys) say([...path, key], `\`${[...path, key].join('.')}\` is not known here. Remove it, or check its spelling.`);
      else if (issue.code === 'invalid_type' && path.length > 0 && valueAt(value, path) === undefined)
        say(path, `${at} is missing.${HINTS[String(path.at(-1))] ?? ''}`);
      else say(path, `${at}: ${issue.message}`);
    }
    return { ok: false, problems };
  }
  const shape = parsed.data;
  for (const message of judge(shape)) say(message.path, message.message);
  const database = databaseOf(shape, env, say);
  if (problems.length > 0 || !database) return { ok: false, problems };
  return { ok: true, config: { ...shape, file, database } };
}

const HINTS: Readonly<Record<string, string>> = {
  publicUrl: ' Write the `https://` address by which people and editors reach this gateway, or set COUNTERSIGN_GATEWAY_PUBLIC_URL.',
};

/** What one value means with another. */
function* judge(config: ConfigShape): Generator<{ path: Path; message: string }> {
  const loopback = /^(127\.0\.0\.1|localhost|\[::1\]):/.test(config.listen);
  if (config.tls === undefined && !loopback) {
    yield {
      path: ['listen'],
      message: '`listen` is open to the network without TLS. Give it `tls: { certificate, key }`, or say `tls: elsewhere` if a load balancer in front ends it.',
    };
  }
  if (!isAbsolute(config.data)) yield { path: ['data'], message: '`data` must be an absolute path.' };
  const ids = new Set<string>();
  for (const [i, provider] of config.identity.providers.entries()) {
    if (ids.has(provider.id)) yield { path: ['identity', 'providers', i, 'id'], message: `Two providers are called \`${provider.id}\`. Give each its own id.` };
    ids.add(provider.id);
    if (provider.kind === 'oidc' && !provider.scopes.includes('openid')) {
      yield { path: ['identity', 'providers', i, 'scopes'], message: '`scopes` must hold `openid`: without it there is no ID token.' };
    }
  }
  if (config.aws.kms && config.vault?.transit)
    yield { path: ['aws', 'kms'], message: 'Credentials are sealed with one key: keep `aws.kms`, or `vault.transit`.' };
  const { recordings } = config;
  for (const [path, place] of [
    [['recordings'], recordings] as const,
    ...recordings.before.map((before, i) => [['recordings', 'before', i], before] as const),
  ]) {
    if (place.s3 && place.folder !== undefined) yield { path: [...path], message: '`s3` and `folder` cannot both be. Keep one.' };
    if (place.s3 && !place.s3.endpoint && place.s3.region === undefined && config.aws.region === undefined)
      yield { path: [...path, 's3'], message: 'Say in which `region` the bucket is, or at which `endpoint`.' };
  }
  const locked = recordings.s3?.lock?.days;
  if (locked !== undefined && recordings.keepDays !== undefined && recordings.keepDays < locked)
    yield { path: ['recordings', 'keepDays'], message: `Records cannot be removed after ${recordings.keepDays} days and be locked for ${locked}.` };
  for (const [i, target] of config.notify.entries()) {
    if (target.kind === 'webhook' && target.secret === undefined) {
      yield { path: ['notify', i], message: 'A webhook needs `secret`, which its messages are signed with.' };
    }
  }
}

function databaseOf(shape: ConfigShape, env: Env, say: (path: Path, message: string) => void): GatewayConfig['database'] | undefined {
  // As everywhere else, DATABASE_URL is enough; what the file says goes before it.
  const place = shape.database ?? (env.DATABASE_URL ? 'env:DATABASE_URL' : 'embedded');
  if (place === 'embedded') return { kind: 'embedded' };
  try {
    const url = readSecret(place, env);
    if (!/^postgres(ql)?:\/\//.test(url.reveal())) say(['database'], '`database` is not a `postgres://` address.');
    return { kind: 'postgres', url };
  } catch (cause) {
    say(['database'], cause instanceof Problem ? cause.message : '`database` cannot be read.');
    return undefined;
  }
}

/** @throws `Problem` `secret-missing` */
export function readSecret(place: string, env: Env): Secret {
  const name = place.slice(place.indexOf(':') + 1);
  if (place.startsWith('env:')) {
    const value = env[name];
    if (!value) throw new Problem('secret-missing', `The variable ${name} is not set, and the configuration says that a secret is there.`);
    return new Secret(value);
  }
  try {
    const text = readFileSync(name);
    if (text.length > MAX_SECRET_FILE_BYTES) throw new Problem('secret-missing', `The file ${name} is too large to be a secret.`);
    const value = text.toString('utf8').trim();
    if (value === '') throw new Problem('secret-missing', `The file ${name} is empty, and the configuration says that a secret is there.`);
    return new Secret(value);
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw new Problem(
      'secret-missing',
      `The file ${name} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'}), and the configuration says that a secret is there.`,
      { cause },
    );
  }
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (here, step) => (typeof here === 'object' && here !== null ? (here as Record<string | number, unknown>)[step] : undefined),
    value,
  );
}
