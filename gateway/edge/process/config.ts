/** What an edge is told: a YAML file, the environment over it, the command line over both. */
import { readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { readYaml } from '../../../proxy/policy/yamlText.ts';
import type { ConfigProblem, Env } from '../../config/load.ts';
import { type AllowRule, allowRule } from './allow.ts';

const MAX_ALLOW = 500;

const Shape = z.strictObject({
  version: z.literal(1).default(1),
  gateway: z.string().max(2000),
  /** Path of a PEM file with further authorities to trust for the gateway. */
  ca: z.string().max(1000).optional(),
  data: z.string().max(1000).default('/var/lib/countersign-edge'),
  /** Path of the file that holds the join token; needed once. */
  token: z.string().max(1000).optional(),
  allow: z.array(z.string().max(400)).max(MAX_ALLOW),
  /** For health and metrics; `off`: nothing listens. */
  listen: z.string().max(200).default('127.0.0.1:9464'),
  drainSeconds: z.number().int().positive().max(3600).default(30),
});

export interface EdgeConfig extends Omit<z.infer<typeof Shape>, 'gateway' | 'allow' | 'version'> {
  readonly gateway: URL;
  readonly allow: readonly AllowRule[];
}

/** What the command line said. */
export interface EdgeArguments {
  readonly config?: string | undefined;
  readonly join?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly data?: string | undefined;
  readonly ca?: string | undefined;
  readonly allow?: readonly string[] | undefined;
}

export type EdgeConfigResult = { readonly ok: true; readonly config: EdgeConfig } | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

const FROM_ENV = {
  COUNTERSIGN_EDGE_DATA: 'data',
  COUNTERSIGN_EDGE_TOKEN_FILE: 'token',
  COUNTERSIGN_EDGE_CA: 'ca',
  COUNTERSIGN_EDGE_LISTEN: 'listen',
} as const;
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]']);

export function loadEdgeConfig(args: EdgeArguments, env: Env): EdgeConfigResult {
  const file = args.config ?? env.COUNTERSIGN_EDGE_CONFIG;
  const problems: ConfigProblem[] = [];
  let lineOf = (_path: (string | number)[]): number => 1;
  let value: Record<string, unknown> = {};
  if (file !== undefined) {
    try {
      const yaml = readYaml(readFileSync(file, 'utf8'), file);
      for (const { line, message } of yaml.problems) problems.push({ file, line, message });
      if (typeof yaml.value === 'object' && yaml.value !== null && !Array.isArray(yaml.value)) value = { ...yaml.value };
      else if (problems.length === 0) problems.push({ file, line: 1, message: 'This file must be a mapping that begins with `version: 1`.' });
      lineOf = (path) => yaml.at(path).line;
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
      problems.push({ file, line: 1, message: `This file cannot be read (${code}). Check the path and who may read it.` });
    }
    if (problems.length > 0) return { ok: false, problems };
  }
  for (const [variable, key] of Object.entries(FROM_ENV)) if (env[variable]) value[key] = env[variable];
  if (env.COUNTERSIGN_EDGE_ALLOW) value.allow = env.COUNTERSIGN_EDGE_ALLOW.split(/[\s,]+/).filter(Boolean);
  const said = { gateway: args.join, token: args.tokenFile, data: args.data, ca: args.ca, ...(args.allow?.length && { allow: [...args.allow] }) };
  for (const [key, text] of Object.entries(said)) if (text !== undefined) value[key] = text;

  const say = (path: (string | number)[], message: string): void => void problems.push({ file: file ?? 'the edge', line: lineOf(path), message });
  if (value.allow === undefined) {
    say([], '`allow` is missing: an edge leads nowhere but where its own list says. Write `allow: [orders.internal:5432]`, or --allow orders.internal:5432.');
    return { ok: false, problems };
  }
  const parsed = Shape.safeParse(value);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
      if (issue.code === 'unrecognized_keys') for (const key of issue.keys) say([key], `\`${key}\` is not known here. Remove it, or check its spelling.`);
      else say(path, `\`${path.join('.')}\`: ${issue.message}`);
    }
    return { ok: false, problems };
  }
  const shape = parsed.data;
  const gateway = URL.parse(shape.gateway);
  if (!gateway || (gateway.protocol !== 'https:' && !(gateway.protocol === 'http:' && LOOPBACK.has(gateway.hostname))))
    say(['gateway'], 'The gateway’s address begins with `https://` (`http://` only for this machine).');
  if (!isAbsolute(shape.data)) say(['data'], '`data` must be an absolute path.');
  if (shape.listen !== 'off' && !/^([^\s/:]+|\[[0-9a-f:]+\]):\d{1,5}$/i.test(shape.listen)) say(['listen'], '`listen`: write `HOST:PORT`, or `off`.');
  if (shape.allow.length === 0) say(['allow'], '`allow` is empty: an edge leads nowhere but where its own list says.');
  const allow: AllowRule[] = [];
  for (const [i, text] of shape.allow.entries()) {
    const rule = allowRule(text);
    if (typeof rule === 'string') say(['allow', i], rule);
    else allow.push(rule);
  }
  if (problems.length > 0 || !gateway) return { ok: false, problems };
  const { allow: _texts, gateway: _text, version: _version, ...rest } = shape;
  return { ok: true, config: { ...rest, gateway, allow } };
}
