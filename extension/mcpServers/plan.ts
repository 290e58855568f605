/** What an entry becomes: a connection for `countersign.yaml`, and the secrets that go to the editor's store instead. Pure. */
import { Problem } from '../../contract/problem.ts';
import type { Definition, Template } from './definition.ts';
import type { PolicyConnection } from './policyText.ts';
import { isSecretArgument, isSecretHeader, isSecretVariable, looksSecret } from './secretValues.ts';

/** Most characters of a connection's name. */
const MAX_NAME = 60;

export interface PlanContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** The workspace folder of the file, for `${workspaceFolder}`. */
  readonly folder: string | undefined;
  /** Answers to the file's inputs, by id. */
  readonly inputs: ReadonlyMap<string, { readonly value: string; readonly secret: boolean }>;
  /** Variables of its `envFile`. */
  readonly envFile: ReadonlyMap<string, string>;
}

export interface Plan {
  readonly connection: PolicyConnection;
  /** Secret name → value; undefined: nobody knows it yet, and the Connections view asks for it. */
  readonly secrets: ReadonlyMap<string, string | undefined>;
}

/** A server's name as a connection's: letters, digits, `-` and `_`, beginning with a letter, and none that is taken. */
export function connectionName(name: string, taken: ReadonlySet<string>): string {
  const base =
    name
      .normalize('NFKD')
      .replace(/[^A-Za-z0-9_-]+/g, '-')
      .replace(/^[^A-Za-z]+|-+$/g, '')
      .slice(0, MAX_NAME) || 'mcp';
  const start = base.toLowerCase() === 'countersign' ? `${base}-server` : base;
  for (let i = 1; ; i++) {
    const candidate = i === 1 ? start : `${start}-${i}`;
    if (![...taken].some((other) => other.toLowerCase() === candidate.toLowerCase())) return candidate;
  }
}

/** The ids of the inputs that an entry uses. */
export function inputsOf(definition: Definition): Set<string> {
  const ids = new Set<string>();
  const look = (value: Template | undefined): void => {
    for (const part of value ?? []) if (typeof part === 'object' && 'input' in part) ids.add(part.input);
  };
  if (definition.kind === 'stdio')
    for (const value of [definition.command, ...definition.args, definition.envFile, definition.cwd, ...definition.env.values()]) look(value);
  if (definition.kind === 'http') for (const value of [definition.url, ...definition.headers.values()]) look(value);
  return ids;
}

/** @throws Problem `plan`, with a sentence, where the entry cannot be carried over as it is */
export function planOf(name: string, definition: Definition, context: PlanContext): Plan {
  const secrets = new Map<string, string | undefined>();
  const keep = (label: string, value: string | undefined): string => {
    const secret = `${name}-${label}`.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 100);
    secrets.set(secret, value);
    return `secret:${secret}`;
  };
  const put = (label: string, value: Template, isSecret: (text: string) => boolean): string => {
    const filled = fill(value, context);
    if (filled.missing !== undefined) return keep(label, undefined);
    return filled.secret || isSecret(filled.text) ? keep(label, filled.text) : escapeRef(filled.text);
  };
  switch (definition.kind) {
    case 'stdio': {
      const env: Record<string, string> = {};
      for (const [variable, value] of context.envFile)
        if (!definition.env.has(variable)) env[variable] = put(variable, [value], (text) => isSecretVariable(variable, text));
      for (const [variable, value] of definition.env) {
        if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(variable)) throw new Problem('plan', `Its variable "${variable}" has a name that Countersign cannot pass on.`);
        env[variable] = put(variable, value, (text) => isSecretVariable(variable, text));
      }
      const known = (label: string, value: Template): string => required(fill(value, context), label);
      const args = definition.args.map((value, i): string => {
        const filled = fill(value, context);
        const before = i === 0 ? undefined : fill(definition.args[i - 1] ?? [], context).text;
        if (filled.missing !== undefined) return keep(`argument-${i + 1}`, undefined);
        return filled.secret || isSecretArgument(filled.text, before) ? keep(`argument-${i + 1}`, filled.text) : filled.text;
      });
      const cwd = definition.cwd === undefined ? context.folder : known('folder', definition.cwd);
      return {
        secrets,
        connection: {
          protocol: 'mcp',
          upstream: {
            command: [known('command', definition.command), ...args],
            ...(Object.keys(env).length > 0 && { env }),
            ...(cwd !== undefined && { cwd }),
          },
        },
      };
    }
    case 'http': {
      const filled = fill(definition.url, context);
      const url = required(filled, 'address');
      checkAddress(url);
      if (filled.secret || looksSecret(url)) {
        throw new Problem(
          'plan',
          'Its address holds a secret, which would stand in countersign.yaml. Give the secret as a header instead, if the server takes it.',
        );
      }
      const headers: Record<string, string> = {};
      for (const [header, value] of definition.headers) headers[header] = put(header, value, (text) => isSecretHeader(header, text));
      return {
        secrets,
        connection: { protocol: 'mcp', upstream: { url, ...(Object.keys(headers).length > 0 && { headers }), ...(definition.sse && { transport: 'sse' }) } },
      };
    }
    case 'ours':
      throw new Problem('plan', 'It goes through Countersign already.');
    case 'unclear':
      throw new Problem('plan', definition.why);
  }
}

interface Filled {
  readonly text: string;
  /** Something in it is a secret by its origin. */
  readonly secret: boolean;
  /** A variable or input that has no value. */
  readonly missing?: string;
}

function fill(value: Template, context: PlanContext): Filled {
  let text = '';
  let secret = false;
  let missing: string | undefined;
  for (const part of value) {
    if (typeof part === 'string') text += folders(part, context);
    else if ('env' in part) {
      const found = context.env[part.env] ?? part.fallback;
      if (found === undefined) missing ??= part.env;
      else {
        text += found;
        secret ||= isSecretVariable(part.env, found);
      }
    } else {
      const answer = context.inputs.get(part.input);
      if (answer === undefined) missing ??= part.input;
      else {
        text += answer.value;
        secret ||= answer.secret;
      }
    }
  }
  return { text, secret, ...(missing !== undefined && { missing }) };
}

function folders(text: string, { home, folder }: PlanContext): string {
  return text.replace(/\$\{(userHome|workspaceFolder|workspaceFolderBasename|pathSeparator|\/)(?::[^}]*)?\}/g, (whole, name: string) => {
    switch (name) {
      case 'userHome':
        return home;
      case 'workspaceFolder':
      case 'workspaceFolderBasename':
        if (folder === undefined)
          throw new Problem('plan', `It uses ${whole}, which is another folder in each window. Move it to the workspace's own configuration first.`);
        return name === 'workspaceFolder' ? folder : (folder.split(/[\\/]/).findLast((part) => part !== '') ?? '');
      default:
        return process.platform === 'win32' ? '\\' : '/';
    }
  });
}

function required({ text, secret, missing }: Filled, what: string): string {
  if (missing !== undefined)
    throw new Problem('plan', `Its ${what} needs "${missing}", which is not set here. Set it where the editor is started, then try again.`);
  if (secret && what !== 'address') throw new Problem('plan', `Its ${what} is made from a secret, which would stand in countersign.yaml.`);
  if (text === '') throw new Problem('plan', `Its ${what} is empty.`);
  return text;
}

/** A plain value that reads like a reference to a secret would be taken for one. */
function escapeRef(text: string): string {
  if (/^(secret|env|file):/.test(text))
    throw new Problem('plan', `One of its values begins with "${text.slice(0, text.indexOf(':') + 1)}", which means something else in countersign.yaml.`);
  return text;
}

function checkAddress(text: string): void {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Problem('plan', 'Its address cannot be read.');
  }
  const loopback = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  if (url.username !== '' || url.password !== '') throw new Problem('plan', 'Its address holds a login. Give it as a header instead.');
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback)) {
    throw new Problem('plan', 'It is reached over plain http on another machine, where everybody on the way can read along. Use https.');
  }
}
