/**
 * The control channel: JSON-RPC between the extension (each window) and the proxy.
 * State flows out as whole snapshots, never deltas; intents flow in, each decoded on arrival.
 */
import { z } from 'zod';
import { Actor, Person } from './actor.ts';
import { DecidedApproval, GrantView, PendingApproval } from './approval.ts';
import { Facts } from './facts.ts';
import { PinsView } from './pins.ts';
import { OutcomeKind } from './recording.ts';
import { Answer } from './response.ts';
import { Verdict } from './verdict.ts';

/** Bumped on every incompatible change: an extension replaces a proxy that speaks another one. */
export const CONTROL_VERSION = 1;

/** Method names; requests unless said otherwise. */
export const METHODS = {
  /** Notification, proxy → extension: `Snapshot`. */
  snapshot: 'countersign/snapshot',
  /** `ApprovalAnswer` → `{ result: AnswerResult }`. */
  answer: 'countersign/approval.answer',
  /** `{ id }` → `{ ended: boolean }`. */
  endGrant: 'countersign/grant.end',
  /** `OperationQuery` → `OperationPage`. */
  operations: 'countersign/operations',
  /** `{ operation, quick? }` → `OperationDetail | null`. Quick: without its session being checked. */
  operation: 'countersign/operation',
  /** `{ operation }` → `RuleProposal | null`: a rule that would have let it through, and what else that would have matched. Changes nothing. */
  proposeRule: 'countersign/policy.propose',
  /** `{}` → `SurfaceAccess`: what this window's terminals and MCP clients need to reach the proxy. */
  access: 'countersign/access',
  /** `{ name, value }` → `{}`; the value stays in the proxy's memory. `value: null` forgets it. */
  putSecret: 'countersign/secret.put',
  /** Notification, proxy → extension: `KeepSecret`, for the editor's storage: upstream tokens, which change as they are used. */
  keepSecret: 'countersign/secret.keep',
  /** `{ connection }` → `{ listen }`: begins a sign-in upstream, and says where on this machine the browser comes back to. */
  signIn: 'countersign/connection.signIn',
  /** `{ connection, redirect }` → `{ url }`: the page for the person's browser, which comes back to `redirect`. */
  signInPage: 'countersign/connection.signInPage',
  /** `{ connection }` → `{}`: gives the tokens back and forgets them. */
  signOut: 'countersign/connection.signOut',
  /** `{ connection }` → `ConnectionOutput`: what its process wrote to its standard error last. */
  connectionOutput: 'countersign/connection.output',
  /** `{ folders }` → `{}`: the window's workspace folders and whether they are trusted. */
  workspace: 'countersign/workspace',
  /** `PutGateway` → `{}`: the team's gateway and the person's access token for it, again whenever it was refreshed. */
  putGateway: 'countersign/gateway.put',
  /** `{}` → `OrganisationText`: the organisation's policy, as the gateway handed it over. */
  organisationPolicy: 'countersign/policy.organisation',
  /** `PinQuery` → `PinTexts`: the whole definitions, before and after. */
  pinTexts: 'countersign/pins.texts',
  /** `PinAnswer` → `PinAnswered`: a person accepts or rejects exactly these definitions. */
  pinAnswer: 'countersign/pins.answer',
  /** `{}` → `{ checks: DoctorCheck[] }`. */
  doctor: 'countersign/doctor',
  /** `{ session? }` → `VerifyReport`. */
  verify: 'countersign/recording.verify',
  /** `{ reason }` → `{}`: deny what waits, close what is open, leave. */
  shutdown: 'countersign/shutdown',
} as const;

/** Sent as `initializationOptions` after the handshake has proved the secret. */
export const Hello = z.object({
  controlVersion: z.number().int(),
  extensionVersion: z.string().max(60),
  /** Stable for the life of a window. */
  window: z.string().max(128),
  /** The editor's name as it calls itself, for the actor: `Visual Studio Code`, `Cursor`. */
  editor: z.string().max(200),
});
export type Hello = z.infer<typeof Hello>;

export const ConnectionView = z.object({
  name: z.string().max(200),
  protocol: z.string().max(40),
  via: z.enum(['local', 'gateway']),
  state: z.enum(['ready', 'starting', 'needs-secret', 'needs-sign-in', 'failed']),
  /** A person has signed in upstream, and can sign out. */
  signedIn: z.boolean().optional(),
  /** A sentence for `needs-secret`, `needs-sign-in` and `failed`: what happened and what to do. */
  problem: z.string().max(1000).optional(),
  /** The secret that is missing, for `needs-secret`. */
  secret: z.string().max(200).optional(),
  /** How a client reaches it, without a secret: `postgres://127.0.0.1:55432/orders`. */
  address: z.string().max(1000).optional(),
  /** How it logs in upstream, in words: `static login, kept by the editor`. */
  credential: z.string().max(200),
  /** What is masked: `customers.email` → `partial`. */
  sensitive: z.record(z.string(), z.string()),
  /** It is a process here, and has written something to its standard error. */
  output: z.boolean().optional(),
  /** Of an MCP server: what it offers, and what of it waits for a person. */
  pins: PinsView.optional(),
});
export type ConnectionView = z.infer<typeof ConnectionView>;

/** Masked, oldest first. */
export const ConnectionOutput = z.object({
  lines: z.array(z.object({ at: z.number(), process: z.number(), by: z.enum(['server', 'countersign']), text: z.string().max(1000) })).max(500),
});
export type ConnectionOutput = z.infer<typeof ConnectionOutput>;

export const PolicyProblem = z.object({
  file: z.string().max(1000),
  line: z.number().int().positive(),
  column: z.number().int().positive(),
  message: z.string().max(1000),
});
export type PolicyProblem = z.infer<typeof PolicyProblem>;

/** The organisation's policy, where a gateway hands one over. */
export const OrganisationView = z.object({
  gateway: z.string().max(2000),
  /** `waiting`, `expired`, `spoilt`: everything is denied, and `problem` says why. */
  state: z.enum(['none', 'waiting', 'in-force', 'expired', 'spoilt']),
  /** What its rules say that they stand in; `organisationPolicy` gives the text. */
  file: z.string().max(1000).optional(),
  version: z.number().int().positive().optional(),
  /** When that version was put in force, and until when it holds without the gateway; epoch milliseconds. */
  since: z.number().optional(),
  expiresAt: z.number().optional(),
  /** What happened and what to do: what is in force may be an older one than there should be. */
  problem: z.string().max(1000).optional(),
});
export type OrganisationView = z.infer<typeof OrganisationView>;

/** As it is in force here; null where none is. */
export const OrganisationText = z.object({ file: z.string().max(1000), text: z.string() }).nullable();
export type OrganisationText = z.infer<typeof OrganisationText>;

export const PolicyView = z.object({
  version: z.string().max(128),
  files: z.array(z.string().max(1000)).max(20),
  /** Not empty: the last good policy is in force, and these must be mended. */
  problems: z.array(PolicyProblem).max(100),
  rules: z.number().int().nonnegative(),
  organisation: OrganisationView.optional(),
});
export type PolicyView = z.infer<typeof PolicyView>;

/** How the proxy stands with the team's gateway. */
export const GatewayView = z.object({
  url: z.string().max(2000),
  state: z.enum(['connecting', 'ready', 'resuming', 'signed-out', 'refused', 'unreachable', 'certificate', 'stopped']),
  /** Who the gateway says that we are. */
  person: z.string().max(600).optional(),
  /** What happened and what to do, where it is not well. */
  problem: z.string().max(1000).optional(),
});
export type GatewayView = z.infer<typeof GatewayView>;

/** Null: signed out. The token stays in the proxy's memory. */
export const PutGateway = z
  .object({
    url: z.string().max(2000),
    /** Path of a PEM file with an authority to trust besides the usual ones. */
    ca: z.string().max(4096).optional(),
    token: z.object({ value: z.string().min(1).max(16_384), /** Epoch milliseconds. */ expiresAt: z.number() }).nullable(),
  })
  .nullable();
export type PutGateway = z.infer<typeof PutGateway>;

export const Snapshot = z.object({
  revision: z.number().int().nonnegative(),
  proxy: z.object({ version: z.string(), pid: z.number().int(), startedAt: z.number(), windows: z.number().int() }),
  person: Person,
  policy: PolicyView,
  connections: z.array(ConnectionView).max(500),
  pending: z.array(PendingApproval).max(500),
  decided: z.array(DecidedApproval).max(50),
  grants: z.array(GrantView).max(200),
  /** Raised by one each time a record is added: a hint to ask for operations again. */
  recordRevision: z.number().int().nonnegative(),
  /** Absent: no gateway is used. */
  gateway: GatewayView.optional(),
  /** Set when nothing can be forwarded (disk full, record broken): what and what to do. */
  halted: z.string().max(1000).optional(),
});
export type Snapshot = z.infer<typeof Snapshot>;

/** A line of the Sessions tree. */
export const OperationSummary = z.object({
  operation: z.string(),
  session: z.string(),
  conversation: z.string(),
  at: z.number(),
  actor: Actor,
  connection: z.string(),
  protocol: z.string(),
  headline: z.string(),
  effect: z.string(),
  decision: z.string(),
  rule: z.string(),
  approvedBy: z.string().optional(),
  outcome: OutcomeKind.optional(),
  rows: z.number().int().optional(),
  masked: z.number().int(),
  tookMs: z.number().optional(),
  waitedMs: z.number().optional(),
});
export type OperationSummary = z.infer<typeof OperationSummary>;

export const OperationQuery = z.object({
  /** Free text over statement, connection, agent and rule; `key:value` terms for verdict, connection, agent, outcome. */
  filter: z.string().max(500).default(''),
  before: z.number().optional(),
  limit: z.number().int().min(1).max(500).default(200),
});
export type OperationQuery = z.infer<typeof OperationQuery>;
export const OperationPage = z.object({ operations: z.array(OperationSummary), more: z.boolean() });
export type OperationPage = z.infer<typeof OperationPage>;

export const OperationDetail = z.object({
  summary: OperationSummary,
  payload: z.string(),
  params: z.array(z.string().nullable()),
  facts: Facts,
  verdict: Verdict,
  approval: z.object({ answer: z.string(), why: z.string(), by: Person.optional(), note: z.string().optional(), waitedMs: z.number() }).optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  /** As the agent saw it. */
  answer: Answer.optional(),
  /**
   * The same answer before masking: only while it is in the proxy's memory, and only for who may see it.
   * Never stored.
   */
  raw: Answer.optional(),
  /** The session's chain was read again, this operation's lines in it, and holds up to this entry. Absent: that was not looked at. */
  verified: z.object({ ok: z.boolean(), entries: z.number().int(), head: z.string(), problem: z.string().optional() }).optional(),
});
export type OperationDetail = z.infer<typeof OperationDetail>;

/** What a rule would have matched of what was recorded: which of it a person approved, which was denied, which needed no answer. */
export const RuleHistory = z.object({
  days: z.number().int().positive(),
  /** False: there is more of the kind than was looked at. */
  whole: z.boolean(),
  approved: z.number().int().nonnegative(),
  denied: z.number().int().nonnegative(),
  allowed: z.number().int().nonnegative(),
  /** Newest first. */
  latest: z
    .array(
      z.object({
        operation: z.string().max(128),
        headline: z.string().max(300),
        at: z.number(),
        agent: z.string().max(200),
        became: z.enum(['approved', 'denied', 'allowed']),
      }),
    )
    .max(20),
});
export type RuleHistory = z.infer<typeof RuleHistory>;

/** A rule of the person's own file, tried on the policy in force. */
export const RuleProposal = z.discriminatedUnion('helps', [
  /** Why no rule of theirs would help, in a sentence. */
  z.object({ operation: z.string().max(128), helps: z.literal(false), why: z.string().max(1000) }),
  z.object({
    operation: z.string().max(128),
    helps: z.literal(true),
    /** For under `rules:`. */
    rule: z.string().max(10_000),
    /** What it lets through, in words. */
    covers: z.string().max(1000),
    /** The file, its text as it is in force (empty: there is none), and its text with the rule at a 1-based line. */
    file: z.string().max(4096),
    before: z.string(),
    after: z.string(),
    line: z.number().int().positive(),
    history: RuleHistory,
  }),
]);
export type RuleProposal = z.infer<typeof RuleProposal>;

export const SurfaceAccess = z.object({
  /** For the editor's terminals: `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, … */
  environment: z.record(z.string(), z.string()),
  mcp: z.array(z.object({ name: z.string(), label: z.string(), url: z.string(), headers: z.record(z.string(), z.string()), version: z.string() })),
});
export type SurfaceAccess = z.infer<typeof SurfaceAccess>;

export const DoctorCheck = z.object({
  id: z.string(),
  title: z.string(),
  state: z.enum(['ok', 'warning', 'failed']),
  /** What was found, and for anything but `ok`, what to do. */
  detail: z.string(),
});
export type DoctorCheck = z.infer<typeof DoctorCheck>;

export const VerifyReport = z.object({
  ok: z.boolean(),
  sessions: z.number().int(),
  entries: z.number().int(),
  problems: z.array(z.string()),
});
export type VerifyReport = z.infer<typeof VerifyReport>;

const WorkspaceFolder = z.object({ path: z.string().max(4096), trusted: z.boolean() });
export const Workspace = z.object({ folders: z.array(WorkspaceFolder).max(100) });
export type Workspace = z.infer<typeof Workspace>;
export const SignInBegun = z.object({ listen: z.string().max(200) });
export const SignInPage = z.object({ url: z.string().max(16_384) });
export const KeepSecret = z.object({ name: z.string().regex(/^oauth\.[A-Za-z0-9._-]{1,100}$/), value: z.string().max(65_536).nullable() });
export type KeepSecret = z.infer<typeof KeepSecret>;
export const PutSecret = z.object({ name: z.string().max(200), value: z.string().max(65_536).nullable() });
