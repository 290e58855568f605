/** The shape of `countersign.yaml`. What one value means with another is checked when it is compiled (load.ts). */

import { z } from 'zod';
import { AGENT_KINDS } from '../../contract/actor.ts';
import { EFFECTS, type Effect } from '../../contract/facts.ts';
import { DECISIONS, MASK_KINDS } from '../../contract/verdict.ts';
import { AwsCredential, Exchange } from './gatewayCredentials.ts';
import { FIRST_CONTACTS, HINTS, PRIVILEGES, SECRET_ARGUMENTS, SHARES } from './policy.ts';

export const MAX_RULES = 500;
export const MAX_CONNECTIONS = 200;
export const MAX_SENSITIVE = 2000;
const MAX_WORDS = 50;

/** The detectors there are (a test holds this against masking/detectors/index.ts, which is too heavy to load for a schema). */
export const DETECTOR_IDS = ['private-key', 'jwt', 'api-key', 'card', 'iban', 'us-ssn', 'phone', 'email', 'secret'] as const;

const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const EDGE_NAME = /^[a-z][a-z0-9-]{0,39}$/;
const RULE_ID = /^[a-z][a-z0-9-]{0,99}$/;
/** `column` inside `table` or `schema.table`; quoted names may hold anything but a dot. */
const COLUMN = /^[^.\s*?][^.*?]{0,99}\.[^.*?]{1,100}(\.[^.*?]{1,100})?$/;
const SECRET_REF = /^(secret|env|file):.{1,400}$/;
const DURATION = /^[1-9][0-9]{0,4}(s|m|h)$/;

const word = z.string().min(1).max(300);
const orList = <T extends z.ZodType>(item: T) => z.union([item, z.array(item).min(1).max(MAX_WORDS)]);
const words = orList(word);
const decision = z.enum(DECISIONS);
const mask = z.enum(MASK_KINDS);

const Duration = z.string().regex(DURATION, 'Write a number with its unit: `30s`, `10m` or `1h`.');

const effects = Object.fromEntries(EFFECTS.map((effect) => [effect, decision.optional().describe(effectMeaning(effect))])) as Record<
  Effect,
  z.ZodOptional<typeof decision>
>;

function effectMeaning(effect: Effect): string {
  switch (effect) {
    case 'read':
      return 'Looks, and changes nothing.';
    case 'send':
      return 'Carries something out of reach: a message, a request to another service.';
    case 'write':
      return 'Adds or changes rows, files or other things.';
    case 'delete':
      return 'Removes rows, files or other things.';
    case 'schema':
      return 'Changes structure: tables, columns, indexes.';
    case 'execute':
      return 'Runs code whose effect cannot be told beforehand.';
    case 'admin':
      return 'Changes roles, permissions or settings of the server.';
    case 'unknown':
      return 'Could not be understood.';
  }
}

const Defaults = z
  .strictObject({
    ...effects,
    mask: mask.optional().describe('Mask for a value that a detector finds and `detectors` does not name.'),
    detectors: z
      .partialRecord(z.enum(DETECTOR_IDS), z.enum([...MASK_KINDS, 'off']))
      .optional()
      .describe('Mask for what each detector finds; `off` switches one off.'),
  })
  .describe('What holds where no rule matches.');

const Sensitive = z
  .record(z.string().regex(COLUMN, 'Write a column as `table.column` or `schema.table.column`, without wildcards.'), mask)
  .describe('Columns to mask: `table.column` → `redact`, `partial`, `hash` or `token`.');

/** `table.column`, `connection/table.column`, a detector, or `connection/detector`. */
const ORIGIN = /^([A-Za-z][A-Za-z0-9_-]{0,63}\/)?[^/\s*?][^/*?]{0,299}$/;
const origin = z.string().regex(ORIGIN, 'Write where the values come from: `table.column`, `connection/table.column`, or a detector such as `card`.');
const tokenRule = z.union([z.enum(['own', 'off']), z.array(origin).min(1).max(MAX_WORDS)]);
const ColumnTokens = z
  .union([z.literal('off'), z.record(z.string().regex(COLUMN, 'Write a column as `table.column` or `schema.table.column`, without wildcards.'), tokenRule)])
  .describe('Where values that the agent knows by their tokens are put back: column → `own`, `off`, or a list of whose values it takes as well.');
const ArgumentTokens = z
  .union([z.literal('off'), z.record(z.string().min(3).max(400), tokenRule)])
  .describe('Where values that the agent knows by their tokens are put back: `tool.argument` → a list of whose values it takes.');

const port = z.number().int().min(1024).max(65_535).optional().describe('Loopback port to listen on. Left out: one is chosen once and kept.');
const via = z.enum(['local', 'gateway']).optional().describe('Where it is enforced: `local`, in this proxy, or `gateway`, which alone holds its login.');
const edge = z
  .string()
  .regex(EDGE_NAME, 'An edge’s name is lower-case letters, digits and `-`, beginning with a letter.')
  .optional()
  .describe('The edge of the gateway that opens the way to it, where the gateway cannot reach it itself. Needs `via: gateway`.');
const secretRef = z
  .string()
  .regex(SECRET_REF, 'Do not write a secret into this file. Say where it is kept: `secret:NAME` (the editor’s store), `env:NAME` or `file:PATH`.');

const TlsMode = z.enum(['disable', 'require', 'verify-full']);

const TABLE = /^[^.\s*?][^.*?]{0,99}(\.[^.*?]{1,100})?$/;
const columnName = z.string().min(1).max(100);
const columns = z.union([z.literal('all'), z.array(columnName).min(1).max(MAX_SENSITIVE)]);
const Grant = z.union([
  z.array(z.enum(PRIVILEGES)).min(1).max(PRIVILEGES.length),
  z.strictObject({
    select: columns.optional().describe('Columns that may be read, or `all`; a sensitive one comes masked.'),
    insert: columns.optional().describe('Columns that may be given, or `all` that are not sensitive.'),
    update: columns.optional().describe('Columns that may be changed, or `all` that are not sensitive.'),
    delete: z.literal('all').optional().describe('`all`: rows may be removed.'),
  }),
]);

const Credential = z
  .strictObject({
    mint: z.literal('postgres-role').describe('`postgres-role`: each session gets a role of its own, which the server holds to `grants`.'),
    admin: secretRef.describe('The password of `user`, who creates these roles: `secret:NAME`, `env:NAME` or `file:PATH`.'),
    ttl: Duration.optional().describe('How long a role can log in: `15m`, which it is when left out.'),
    grants: z
      .record(z.string().regex(TABLE, 'Write a table as `table` or `schema.table`, without wildcards.'), Grant)
      .optional()
      .describe('Table → `[select, insert, update, delete]`, or columns for each. Left out: reading every table, and nothing else.'),
  })
  .describe('A login made for each session, instead of `password`.');

/** Instead of `Credential`: see connections.ts. */
export const VaultCredential = z
  .strictObject({
    vault: z
      .string()
      .max(400)
      .regex(/^[A-Za-z0-9_-]+(\/[A-Za-z0-9_-]+)*\/creds\/[A-Za-z0-9_.-]+$/, 'Write the path of a role of Vault’s database engine: `database/creds/NAME`.')
      .describe('A login of Vault’s or OpenBao’s database engine for each session: `database/creds/NAME`. Needs `via: gateway`.'),
  })
  .describe('A login that Vault or OpenBao hands out for each session.');

export const PostgresShape = z
  .strictObject({
    protocol: z.literal('postgres'),
    upstream: z.string().min(1).max(1000).describe('`postgres://HOST:PORT/DATABASE`, without a password.'),
    tls: z
      .union([
        TlsMode,
        z.strictObject({ mode: TlsMode, ca: z.string().min(1).max(1000).optional().describe('Path of a PEM file with the authority to trust.') }),
      ])
      .optional()
      .describe('Encryption towards the database: `verify-full` unless it is on this machine.'),
    user: z.string().min(1).max(63).optional(),
    password: secretRef.optional().describe('`secret:NAME`, `env:NAME` or `file:PATH`.'),
    credential: Credential.optional(),
    port,
    via,
    edge,
    sensitive: Sensitive.optional(),
    tokens: ColumnTokens.optional(),
  })
  .describe('A PostgreSQL database.');

const EnvName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,199}$/, 'A variable is letters, digits and `_`.');
const envValue = z.string().max(32_768);
const HeaderName = z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, 'That cannot be an HTTP header.');
const headerValue = z
  .string()
  .max(8192)
  .regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'A header cannot hold line breaks or control characters.');

export const StdioUpstream = z.strictObject({
  command: z.array(z.string().min(1).max(4096)).min(1).max(100).describe('The program and its arguments, as a list. An argument may be `secret:NAME`.'),
  env: z.record(EnvName, envValue).optional().describe('Variables for it; a value may be `secret:NAME`, `env:NAME` or `file:PATH`.'),
  cwd: z.string().min(1).max(4096).optional(),
});
const OAuth = z
  .strictObject({
    'client-id': z.string().min(1).max(2000).optional().describe('The id that Countersign was registered with there.'),
    'client-secret': z.string().min(1).max(200).optional().describe('Its secret: `secret:NAME`, `env:NAME` or `file:PATH`.'),
    issuer: z
      .string()
      .min(1)
      .max(2000)
      .optional()
      .describe('The authorization server that knows the client: with no other it is used. Without it, whichever the server names.'),
    'client-metadata': z.string().min(1).max(2000).optional().describe('https address of a client metadata document, for servers that take one as the id.'),
    scopes: z.array(z.string().min(1).max(200)).max(100).optional().describe('Scopes to ask for besides those that the server names.'),
  })
  .describe('How to sign in. Without it, what the server says of itself is enough where it lets clients register.');
export const HttpUpstream = z.strictObject({
  url: z.string().min(1).max(2000),
  headers: z.record(HeaderName, headerValue).optional().describe('Headers for it; a value may be `secret:NAME`, `env:NAME` or `file:PATH`.'),
  oauth: OAuth.optional(),
  exchange: Exchange.optional(),
  transport: z.enum(['http', 'sse']).optional().describe('`http` (the default): Streamable HTTP. `sse`: the older HTTP+SSE, with a stream at `url`.'),
});

const pin = z
  .enum(FIRST_CONTACTS)
  .describe('What a server offers when it is first seen: accepted as it is (`first-use`), or only once a person has looked at it (`ask`).');
const hints = z.enum(HINTS).describe('How far what a server says of its tools is believed: only where it is a warning (`tighten`), or all of it (`believe`).');
const secretArguments = z
  .enum(SECRET_ARGUMENTS)
  .describe('Secrets in what an agent sends: left to the rules (`rules`), or replaced before the server gets them (`mask`).');

const share = z
  .enum(SHARES)
  .describe('Whom one process of a server that is started here serves: one session (`session`), or all sessions of one person (`person`).');

export const McpShape = z
  .strictObject({
    protocol: z.literal('mcp'),
    upstream: z.union([StdioUpstream, HttpUpstream]).describe('`{ command: [program, argument] }` or `{ url: https://… }`.'),
    tokens: ArgumentTokens.optional(),
    pin: pin.optional(),
    hints: hints.optional(),
    arguments: secretArguments.optional(),
    share: share.optional(),
    via,
    edge,
  })
  .describe('An MCP server.');

/** What a lower layer may say of a connection that a higher one defines. */
export const TightenShape = z
  .strictObject({ sensitive: Sensitive.optional(), tokens: z.union([ColumnTokens, ArgumentTokens]).optional() })
  .describe('More columns to mask, and fewer tokens to take back, on a connection that a higher layer defines.');
/** The same for an MCP server: each of these only ever makes it stricter. */
export const TightenMcpShape = z
  .strictObject({
    pin: z.literal('ask').optional(),
    hints: z.literal('tighten').optional(),
    arguments: z.literal('mask').optional(),
    share: z.literal('session').optional(),
  })
  .describe('Stricter handling of an MCP server that a higher layer defines.');

const SqlMatch = z
  .strictObject({
    statement: words.optional().describe('Statement kinds: `UPDATE`, `COPY *`.'),
    where: z.boolean().optional().describe('Whether a WHERE can exclude a row.'),
    function: words.optional().describe('Functions with side effects that it calls.'),
    returned: z.union([z.boolean(), words]).optional().describe('Sensitive columns it returns: any (`true`), none (`false`), or patterns.'),
    predicates: z.union([z.boolean(), words]).optional().describe('Sensitive columns it filters, sorts, groups or joins by.'),
    written: z.union([z.boolean(), words]).optional().describe('Sensitive columns it writes.'),
    masks: z.boolean().optional().describe('Whether it writes what stood in place of a value: `***`, `‹redacted›`.'),
    session: z.boolean().optional().describe('Whether it starts, ends or changes a transaction or a session setting.'),
  })
  .describe('Facts that only SQL has.');

const McpMatch = z
  .strictObject({
    method: words.optional().describe('`tools/call`, `resources/read`, …'),
    tool: words.optional().describe('Tool names or patterns: `create_*`.'),
    args: z
      .record(z.string().min(1).max(200), z.string().min(1).max(500))
      .optional()
      .describe('Argument name (or `*` for any) → regular expression, found anywhere to ask or deny, matching the whole value to allow.'),
    secrets: z
      .union([z.boolean(), words])
      .optional()
      .describe('Detectors that found something in what the agent sends: any (`true`), none (`false`), or their ids: `api-key`, `card`.'),
    outward: z.boolean().optional().describe('Whether it may carry something out of reach.'),
  })
  .describe('Facts that only MCP has.');

export const Match = z.strictObject({
  connection: words.optional().describe('Names or patterns of connections.'),
  protocol: orList(z.enum(['postgres', 'mcp'])).optional(),
  effect: orList(z.enum(EFFECTS)).optional().describe('What it does.'),
  verb: words.optional().describe('The protocol’s own word: `UPDATE`, `tools/call`.'),
  target: words.optional().describe('Tables, tools or other targets: `orders`, `billing.*`. Any of them to ask or deny; all of them to allow.'),
  bulk: z.boolean().optional().describe('Whether it changes every row, or a number that nothing bounds.'),
  sensitive: z.union([z.boolean(), words]).optional().describe('Sensitive columns it touches: any (`true`), none (`false`), or patterns.'),
  agent: words.optional().describe(`What acts: ${AGENT_KINDS.join(', ')}, or its name. It is what the client says of itself, so it cannot allow.`),
  person: words.optional().describe('Who: subject, or name.'),
  group: words.optional().describe('A group the person is in.'),
  surface: words.optional().describe('Where it came in: `terminal`, `mcp`.'),
  sql: SqlMatch.optional(),
  mcp: McpMatch.optional(),
});

export const Rule = z
  .strictObject({
    id: z.string().regex(RULE_ID, 'An id is lower-case words joined by `-`: `production-writes`.').describe('Names the rule wherever it decided.'),
    match: Match.optional().describe('What it speaks of: all of these must hold.'),
    when: z.string().min(1).max(4000).optional().describe('A condition in CEL over `op`, `actor`, `connection`, `surface`, `conversation`, `sql`, `mcp`.'),
    verdict: decision.describe('`allow`, `ask` or `deny`: the strictest rule that matches wins.'),
    say: z.string().min(1).max(1000).optional().describe('A sentence to whoever is stopped or asked.'),
    approvers: orList(z.string().regex(/^(requester|(group|user):.{1,190})$/, 'Write `requester`, `group:NAME` or `user:SUBJECT`.'))
      .optional()
      .describe('Who may answer: `requester`, `group:NAME`, `user:SUBJECT`.'),
    min: z.number().int().min(1).max(10).optional().describe('How many people must approve.'),
    escalate: z
      .strictObject({
        after: Duration.describe('How long without an answer: `10m`.'),
        to: orList(z.string().regex(/^(group|user):.{1,190}$/, 'Write `group:NAME` or `user:SUBJECT`.')).describe(
          'Who may answer from then on, besides `approvers`.',
        ),
      })
      .optional()
      .describe('Who is asked when nobody has answered.'),
    'fresh-login': z.boolean().optional().describe('Whether the approver must log in again.'),
    preview: z.enum(['none', 'dry-run']).optional().describe('`dry-run`: run it, show what would change, roll it back, before asking.'),
    expires: Duration.optional().describe('How long a person has to answer: `30s`, `10m`, `1h`.'),
  })
  .describe('One rule.');

const ConnectionName = z.string().regex(NAME, 'A connection’s name is letters, digits, `-` and `_`, and starts with a letter.');

/** The outer shape; connections and rules are checked one by one, so that each error speaks of its own place. */
export const Outline = z.strictObject({
  version: z.literal(1),
  defaults: Defaults.optional(),
  connections: z.record(ConnectionName, z.unknown()).optional(),
  rules: z.array(z.unknown()).max(MAX_RULES).optional(),
});

/** The whole, for editors. */
const PolicyFile = z.strictObject({
  version: z.literal(1).describe('Version of the policy language.'),
  defaults: Defaults.optional(),
  connections: z
    .record(
      ConnectionName,
      z.union([
        PostgresShape.extend({ credential: z.union([Credential, VaultCredential, AwsCredential]).optional() }),
        McpShape,
        TightenShape,
        TightenMcpShape,
      ]),
    )
    .optional()
    .describe('What is protected, by name.'),
  rules: z.array(Rule).max(MAX_RULES).optional().describe('deny > ask > allow over all that match; order does not matter.'),
});

export type CredentialShape = z.infer<typeof Credential>;
export type DefaultsShape = z.infer<typeof Defaults>;
export type MatchShape = z.infer<typeof Match>;
export type RuleShape = z.infer<typeof Rule>;

export type JsonSchema = { readonly [key: string]: unknown };

let cached: JsonSchema | undefined;

/** JSON Schema (2020-12) of a policy file, as `schema.json` holds it. */
export function policyJsonSchema(): JsonSchema {
  cached ??= {
    ...(z.toJSONSchema(PolicyFile, { io: 'input', reused: 'inline' }) as JsonSchema),
    title: 'Countersign policy',
    description: 'countersign.yaml: which operations of AI agents are allowed, asked about or denied, and what is masked.',
  };
  return cached;
}
