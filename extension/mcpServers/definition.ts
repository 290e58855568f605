/** One MCP server as an agent's configuration defines it, whatever the file's format. Pure. */

/** A value with what the agent would put in: `${env:TOKEN}`, `${input:key}`. */
export type Part = string | { readonly env: string; readonly fallback?: string } | { readonly input: string };
export type Template = readonly Part[];

export type Definition =
  | {
      readonly kind: 'stdio';
      readonly command: Template;
      readonly args: readonly Template[];
      readonly env: ReadonlyMap<string, Template>;
      readonly envFile?: Template;
      readonly cwd?: Template;
    }
  | { readonly kind: 'http'; readonly sse: boolean; readonly url: Template; readonly headers: ReadonlyMap<string, Template> }
  /** Ours already: it starts our launcher with the connection's name, and nothing else. */
  | { readonly kind: 'ours'; readonly connection: string }
  /** `why` is a sentence: why this entry cannot be rewritten, and what to do. */
  | { readonly kind: 'unclear'; readonly why: string };

/** An entry of a file. `path` leads to it: `['servers', 'github']`. */
export interface Entry {
  readonly path: readonly string[];
  readonly name: string;
  readonly definition: Definition;
}

/** How the agent that reads a file writes what it puts in: VS Code's and Cursor's `${env:X}`, `${X:-default}`, that and `$X`, nothing. */
export type Dialect = 'editor' | 'braces' | 'shell' | 'none';

/** What an entry starts instead, once it is protected. */
export interface Launch {
  readonly command: string;
  readonly connection: string;
}

const EDITOR_VARIABLE = /\$\{(env|input):([^}]{1,200})\}/g;
/** In a password a dollar is a dollar, unless the agent itself would read a name behind it. */
const BRACED_VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g;
const SHELL_VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$([A-Za-z_][A-Za-z0-9_]*)/g;

const VARIABLES = { editor: EDITOR_VARIABLE, braces: BRACED_VARIABLE, shell: SHELL_VARIABLE };

export function template(text: string, dialect: Dialect): Template {
  const parts: Part[] = [];
  let from = 0;
  const add = (part: Part): void => void (part !== '' && parts.push(part));
  if (dialect === 'none') return text === '' ? [] : [text];
  for (const match of text.matchAll(VARIABLES[dialect])) {
    add(text.slice(from, match.index));
    from = match.index + match[0].length;
    const [whole, first = '', second, bare] = match;
    if (dialect === 'editor') add(first === 'env' ? { env: second ?? '' } : { input: second ?? '' });
    else if (bare !== undefined) add({ env: bare });
    else if (first === '') add(whole);
    else add({ env: first, ...(second !== undefined && { fallback: second }) });
  }
  add(text.slice(from));
  return parts;
}

/** As it stands in a list: the command and its arguments, or the address; what is put in stays a placeholder. */
export function summary(definition: Definition): string {
  switch (definition.kind) {
    case 'stdio':
      return [definition.command, ...definition.args].map(show).join(' ');
    case 'http':
      return show(definition.url).replace(/\?.*$/, '?…');
    case 'ours':
      return definition.connection;
    case 'unclear':
      return definition.why;
  }
}

function show(value: Template): string {
  return value.map((part) => (typeof part === 'string' ? part : 'env' in part ? `\${${part.env}}` : `\${input:${part.input}}`)).join('');
}
