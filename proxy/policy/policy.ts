/** The policy in force, as the rest of the proxy sees it: immutable, one object a version. */
import type { Actor } from '../../contract/actor.ts';
import type { Effect, Facts } from '../../contract/facts.ts';
import type { MaskKind, Verdict } from '../../contract/verdict.ts';
import type { TokenRules } from './tokens.ts';

/** Where a connection's login comes from. `secret:` is the editor's secret store, `file:` a file only its owner can read. */
export type SecretRef = { readonly from: 'secret' | 'env' | 'file'; readonly name: string };

interface ConnectionBase {
  readonly name: string;
  readonly via: 'local' | 'gateway';
  /** `table.column` or `schema.table.column` → mask, as written in the policy. */
  readonly sensitive: ReadonlyMap<string, MaskKind>;
  /** Where values come back that an agent knows by their tokens. Absent: where the rules of the house let them. */
  readonly tokens?: TokenRules;
  /** The edge of the gateway that opens the way to it; absent: the gateway reaches it itself. */
  readonly edge?: string;
  /** Loopback port to listen on; absent: one is chosen once and kept. */
  readonly port?: number;
}

/** What a grant may let a role do to a table. */
export const PRIVILEGES = ['select', 'insert', 'update', 'delete'] as const;
export type Privilege = (typeof PRIVILEGES)[number];
/** Privilege → columns as they are written in the policy; `all`: every column, for `insert` and `update` every one that is not sensitive. */
export type TableGrant = ReadonlyMap<Privilege, 'all' | readonly string[]>;

/** A role that is made on the server for each session, by the connection's `user`. */
export interface MintedCredential {
  readonly mint: 'postgres-role';
  /** The password of the login that makes the roles. */
  readonly admin: SecretRef;
  /** How long a role can log in, in milliseconds. */
  readonly ttlMs: number;
  /** `schema.table`, in the server's spelling → what is granted. Absent: reading every table, and nothing else. */
  readonly grants?: ReadonlyMap<string, TableGrant>;
}

/** A login that something else hands out for a while and takes back: Vault's or OpenBao's database engine. */
export interface VaultCredential {
  readonly lease: 'vault';
  /** `database/creds/orders` */
  readonly path: string;
}

/** A login of Amazon RDS or Aurora, by keys of an IAM role. */
export interface AwsRdsCredential {
  readonly lease: 'aws-rds';
  readonly connection: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly region: string;
  readonly role: string;
  readonly externalId?: string;
  /** Whether the keys say whose they are in session tags. */
  readonly tags: boolean;
  /** How long keys are good, in milliseconds. */
  readonly ttlMs: number;
}

export type LeasedCredential = VaultCredential | AwsRdsCredential;

export interface PostgresConnection extends ConnectionBase {
  readonly protocol: 'postgres';
  readonly upstream: { readonly host: string; readonly port: number; readonly database: string; readonly user?: string };
  /** As libpq's `sslmode`; `prefer` is not offered: a connection is encrypted or it is not. */
  readonly tls: { readonly mode: 'disable' | 'require' | 'verify-full'; readonly ca?: string };
  readonly password?: SecretRef;
  /** Absent: every session logs in with `password`. */
  readonly credential?: MintedCredential | LeasedCredential;
}

/** How what a server offers is taken when it is first seen: accepted as it is, or only once a person has looked at it. */
export const FIRST_CONTACTS = ['first-use', 'ask'] as const;
/** How far a server's hints are believed: where they warn, or where they reassure, too. */
export const HINTS = ['tighten', 'believe'] as const;
/** Secrets in what an agent sends: left to the rules, or replaced on the way. */
export const SECRET_ARGUMENTS = ['rules', 'mask'] as const;
/** Whom one process of a server that is started here serves: one session, or all that a person has. */
export const SHARES = ['session', 'person'] as const;

export interface StdioUpstream {
  readonly transport: 'stdio';
  /** The program, then its arguments, which may be secrets: some servers take a login no other way. */
  readonly command: readonly (string | SecretRef)[];
  readonly env: ReadonlyMap<string, string | SecretRef>;
  readonly cwd?: string;
}

export interface HttpUpstream {
  /** `sse`: HTTP+SSE as it was before 2025-03-26. */
  readonly transport: 'http' | 'sse';
  readonly url: string;
  readonly headers: ReadonlyMap<string, string | SecretRef>;
  readonly oauth?: OAuthClient;
  /** A token for each person, by a gateway. */
  readonly exchange?: TokenExchange;
}

/** How a gateway gets a person's token for a server (RFC 8693). */
export interface TokenExchange {
  readonly issuer: string;
  readonly client: { readonly id: string; readonly secret?: SecretRef };
  readonly audience?: string;
  readonly resource?: string;
  readonly scopes: readonly string[];
  /** In whose name it is asked for. */
  readonly as: 'person' | 'gateway';
}

/** How we are known to the authorization server of an MCP server, where it must be said. */
export interface OAuthClient {
  readonly id?: string;
  readonly secret?: SecretRef;
  /** The authorization server that knows it. */
  readonly issuer?: string;
  /** Address of a client metadata document. */
  readonly metadata?: string;
  readonly scopes: readonly string[];
}

export interface McpConnection extends ConnectionBase {
  readonly protocol: 'mcp';
  /** Left out: `first-use`. */
  readonly pin?: (typeof FIRST_CONTACTS)[number];
  /** Left out: `tighten`. */
  readonly hints?: (typeof HINTS)[number];
  /** Left out: `rules`. */
  readonly arguments?: (typeof SECRET_ARGUMENTS)[number];
  /** Left out: `session`. */
  readonly share?: (typeof SHARES)[number];
  readonly upstream: StdioUpstream | HttpUpstream;
}

export type ConnectionConfig = PostgresConnection | McpConnection;

/** What masking follows on one connection. */
export interface MaskPlan {
  /** Lower-cased `schema.table.column` (PostgreSQL: `public` filled in) → mask. */
  readonly columns: ReadonlyMap<string, MaskKind>;
  /** Mask for a value that a detector finds, by detector id; a missing id takes `otherwise`. `off` switches one off. */
  readonly detectors: ReadonlyMap<string, MaskKind | 'off'>;
  readonly otherwise: MaskKind;
  /** Where values come back that an agent knows by their tokens. */
  readonly tokens?: TokenRules | undefined;
}

/** What a rule can see besides the facts. */
export interface DecisionContext {
  readonly actor: Actor;
  readonly connection: string;
  readonly protocol: string;
  readonly surface: string;
  /** Sensitive targets read earlier in the conversation, for `conversation.read`. */
  readonly conversationRead: readonly { readonly target: string; readonly sensitive: boolean }[];
}

export interface Policy {
  /** Hash over the text of all layers. */
  readonly version: string;
  readonly connections: ReadonlyMap<string, ConnectionConfig>;
  /** Pure: the same facts and context give the same verdict. Never throws: an error in a rule asks, and says so. */
  decide(facts: Facts, context: DecisionContext): Verdict;
  /**
   * Whether no rule that can speak of such an operation looks at literals, arguments, time or the conversation, so that a
   * verdict may be kept per shape.
   */
  cacheable(protocol: string, effect: Effect): boolean;
  /** Whether an operation is denied whatever its arguments are and whatever the conversation has done: not worth showing. */
  deniedForGood(facts: Facts, context: DecisionContext): boolean;
  maskPlan(connection: string): MaskPlan;
}
