/** What a protocol offers the proxy, and what it gets from it. One folder and one line in `index.ts` each. */
import type { Duplex } from 'node:stream';
import type { Router } from 'express';
import type { Actor } from '../../contract/actor.ts';
import type { Facts } from '../../contract/facts.ts';
import type { Secret } from '../../contract/secret.ts';
import type { OAuthConnection, OAuthSettings } from '../credential/oauth/broker.ts';
import type { Answering, Asked } from '../http/answering.ts';
import type { Pins } from '../pinning/pins.ts';
import type { Conversation } from '../pipeline/conversation.ts';
import type { Engine } from '../pipeline/engine.ts';
import type { ConnectionConfig, LeasedCredential, MaskPlan, SecretRef, TokenExchange } from '../policy/policy.ts';
import type { SharedTasks } from './mcp/taskBook.ts';
import type { UpstreamCredentials } from './mcp/upstream/credentials.ts';
import type { ErrorOutput } from './mcp/upstream/errorOutput.ts';

/** Who is at the other end of a data surface, once they have proved it. */
export interface ClientIdentity {
  readonly actor: Actor;
  /** `terminal`, `mcp`, … */
  readonly surface: string;
  readonly conversation: Conversation;
  /** For how long the login was good when it was shown, in milliseconds: what it opened ends with it. Absent: something else ends it. */
  readonly goodForMs?: number;
  /** Set where the surface promised to change nothing. */
  readonly readOnly?: boolean;
  /** Of one call that may outlast its client's patience: see `Operation`. */
  readonly held?: { readonly asked: (approval: string, deadline: number) => void; readonly claim: () => Promise<boolean> };
  /** What the agent says it is doing. Unverified. */
  readonly reason?: string;
}

/** Serves what a router serves at its root, without one: of the data path, where a router costs more than the rest of a small call. */
export interface DirectMount {
  /** @param body the parsed JSON of a POST, and undefined otherwise. Throws nothing */
  readonly request: (request: Asked, response: Answering, identity: ClientIdentity, body: unknown) => void;
  /** A client's messages as lines on a stream of their own, each way; absent: none are taken. */
  readonly lines?: (stream: Duplex, identity: ClientIdentity) => void;
}

/** Checks the short-lived logins that agents' clients use. It can approve nothing. */
export interface Clients {
  /** The secret that belongs to a login name, for SCRAM; undefined for one that is unknown or has expired. */
  login(user: string): { readonly secret: Secret; readonly identity: ClientIdentity } | undefined;
  /** The same for an HTTP bearer token. */
  bearer(token: string): ClientIdentity | undefined;
}

/** A login that was handed out for a while. */
export interface LeasedLogin {
  readonly user: string;
  readonly password: Secret;
  /** Aborted when it could not be renewed and ends: whoever uses it must stop. */
  readonly lost: AbortSignal;
  /** Gives it back. Never rejects. */
  release(): Promise<void>;
}

/** Opens a connection to an address inside another network. @throws Problem whose sentence says why it cannot be */
export type Dial = (target: { readonly host: string; readonly port: number }, signal: AbortSignal) => Promise<Dialled>;
export interface Dialled {
  readonly stream: Duplex;
  /** Why it ended, where that was not the doing of whoever is at the other end. */
  readonly lost: () => string | undefined;
}

/** Whose token is wanted for what. */
export interface ExchangeFor {
  readonly connection: string;
  readonly url: URL;
  readonly settings: TokenExchange;
  readonly actor: Actor;
  /** Aborted when the session is over. */
  readonly signal: AbortSignal;
}

export interface ProtocolHost {
  readonly engine: Engine;
  readonly clients: Clients;
  /** Upstream secrets. Undefined: nobody has provided it yet. */
  readonly secret: (ref: SecretRef) => Secret | undefined;
  /** Gets a login from whoever hands them out; absent: nobody does. @throws Problem */
  readonly lease?: (credential: LeasedCredential, signal: AbortSignal, actor?: Actor) => Promise<LeasedLogin>;
  /** Tokens for a server, of whoever has a session; absent: nobody gets them. */
  readonly exchange?: (wanted: ExchangeFor) => UpstreamCredentials;
  /** How a connection is reached that is not reached from here; absent, or undefined: as everything is. */
  readonly dial?: (connection: ConnectionConfig) => Dial | undefined;
  /** A problem as clients may read it: where a connection is, is not everybody's business who shares it. Absent: as it is. */
  readonly told?: (connection: ConnectionConfig, problem: string) => string;
  /** False where nothing is listened on: in a gateway, whose clients come through its tunnel. */
  readonly loopback?: boolean;
  /** A stable loopback port for a connection: the one configured, or one chosen once and remembered. */
  readonly port: (connection: string, configured?: number) => Promise<number>;
  /**
   * Mounts a router on the loopback HTTP server at `/<path>`; Host, Origin and bearer token have been checked by then. A host may use
   * `direct` in the router's place.
   */
  readonly mount: (path: string, router: Router, direct?: DirectMount) => { dispose(): void };
  /** Other connections that are being served, by name: how our own MCP tools reach a database. */
  readonly served: (connection: string) => Served | undefined;
  readonly connections: () => readonly ConnectionConfig[];
  /** The tokens of a sign-in upstream, under these settings from now on; absent where nobody could sign in. */
  readonly oauth?: (settings: OAuthSettings) => OAuthConnection;
  /** What servers said of what they offer, as it was accepted. */
  readonly pins: Pins;
  /** Tasks that calls through other processes began; absent: there are none. */
  readonly tasks?: SharedTasks;
  /** Call when `state` of something served has changed. */
  readonly changed: () => void;
}

export type ServedState =
  | { readonly state: 'ready' }
  | { readonly state: 'starting' }
  | { readonly state: 'needs-secret'; readonly secret: string; readonly problem: string }
  /** A person must sign in upstream, in a browser. */
  | { readonly state: 'needs-sign-in'; readonly problem: string }
  | { readonly state: 'failed'; readonly problem: string };

/** A connection that is being served on loopback. */
export interface Served {
  readonly connection: ConnectionConfig;
  readonly state: ServedState;
  /** How a client reaches it, without a secret. */
  readonly address: string;
  /** Variables that point a terminal's clients at it (`PGHOST`, …); the login is added by the caller. */
  readonly environment?: { readonly host: string; readonly port: number; readonly database: string };
  /** A connection from inside the proxy, already identified: the same bytes through the same code as from outside. */
  readonly connect?: (identity: ClientIdentity) => Duplex;
  /** What a text would be taken for, under a plan of masks: for whoever tries a policy. Sends nothing of it. Rejects where it cannot be told. */
  readonly understand?: (text: string, plan: MaskPlan) => Promise<readonly Facts[]>;
  /** What its process wrote to its standard error last, masked when it is looked at; absent where it has none. */
  readonly output?: Pick<ErrorOutput, 'empty' | 'lines'>;
  /** Upstream tokens, where a person can sign in. */
  readonly oauth?: OAuthConnection;
  /** Called when a secret was provided or changed. */
  readonly retry?: () => void;
  /** Called when the policy in force or what a person has accepted of servers has changed: what clients were shown may have, too. */
  readonly reconsider?: () => void;
  /** Ends every session with a sentence, frees the port. */
  stop(reason: string): Promise<void>;
}

export interface Protocol<Config extends ConnectionConfig = ConnectionConfig> {
  readonly name: Config['protocol'];
  /** Starts listening. An unreachable upstream is a state, not an error; a taken port is a `Problem`. */
  serve(connection: Config, host: ProtocolHost): Promise<Served>;
}
