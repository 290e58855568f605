/**
 * One client's use of one relayed server: a recorded session, a process, and every message between them. Requests that do
 * something go through the pipeline; what comes back is masked; ids and progress tokens are ours on the server's side, so
 * that nothing of one request can reach another.
 */

import type { Facts } from '../../../contract/facts.ts';
import type { OperationId } from '../../../contract/ids.ts';
import { Problem } from '../../../contract/problem.ts';
import type { Operation } from '../../pipeline/operation.ts';
import type { Permit } from '../../pipeline/permit.ts';
import { run } from '../../pipeline/run.ts';
import { Session } from '../../pipeline/session.ts';
import type { McpConnection } from '../../policy/policy.ts';
import type { ClientIdentity, ProtocolHost } from '../protocol.ts';
import { classify, connectFacts, type Hints, hintsOf, shapeOfCall, treatmentOf } from './classify.ts';
import { type AskClient, ClientAsks } from './clientAsks.ts';
import { type Caller, Exchanges, MAX_PENDING, tokenOf } from './exchanges.ts';
import { maskJson } from './maskJson.ts';
import { type Id, isObject, type Json, type JsonObject, type Message, type Reply } from './message.ts';
import { maskReply, outcomeOf, refusal } from './outcome.ts';
import type { Era, Upstream, UpstreamEvents } from './upstream/upstream.ts';

/** Tools whose hints are remembered. */
const MAX_TOOLS = 5_000;
/** How often a client is told that a person has not answered yet, in milliseconds. */
const PROGRESS_MS = 5_000;
/** What waiting adds to the progress each time: it must grow, and stay below anything that the server will report. */
const WAITING_STEP = 1e-6;

/** The client's end of everything else. */
export interface ClientSide {
  /** Sends what belongs to no request in particular. */
  readonly notify: (method: string, params: JsonObject | undefined) => void;
  readonly ask: AskClient;
  /** Asks the client several things that one request of its own waits for. Rejects where it cannot be asked. */
  readonly inputs: (requests: JsonObject, signal: AbortSignal, caller: Caller | undefined) => Promise<JsonObject>;
  /** The server has broken off its answer to one of the client's requests, and will go on when it is asked for it. */
  readonly broke?: (caller: Caller | undefined) => void;
  /** The session cannot go on. */
  readonly ended: (why: string) => void;
}

export interface RelayOptions {
  readonly host: ProtocolHost;
  readonly connection: McpConnection;
  readonly identity: ClientIdentity;
  readonly client: ClientSide;
  /** Starts the server, or a connection to it; called with a permit only. */
  readonly start: (session: Session, on: UpstreamEvents) => Upstream;
  readonly progressMs?: number;
}

export class RelaySession {
  readonly #options: RelayOptions;
  readonly #session: Session;
  readonly #exchanges: Exchanges;
  readonly #asks: ClientAsks;
  readonly #hints = new Map<string, Hints>();
  #server: Upstream | undefined;
  /** Why the server has gone. */
  #why: string | undefined;
  #closed: Promise<void> | undefined;

  /** Opens the recorded session and, if policy allows, starts the server. @throws a `Problem` with a sentence for the client */
  static async open(options: RelayOptions): Promise<RelaySession> {
    const { host, connection, identity } = options;
    const session = await Session.open(host.engine, {
      actor: identity.actor,
      connection: connection.name,
      protocol: 'mcp',
      surface: identity.surface,
      conversation: identity.conversation,
    });
    const relay = new RelaySession(options, session);
    try {
      await relay.#start();
      return relay;
    } catch (cause) {
      await relay.close('the server was not started');
      throw cause;
    }
  }

  private constructor(options: RelayOptions, session: Session) {
    this.#options = options;
    this.#session = session;
    const server = (): Upstream | undefined => this.#server;
    this.#exchanges = new Exchanges(session.masking, server);
    this.#asks = new ClientAsks(session.masking, server, options.client.ask);
    session.signal.addEventListener('abort', () => void this.close('the session was ended'), { once: true });
  }

  get signal(): AbortSignal {
    return this.#session.signal;
  }

  /** Which era the server speaks, once it has answered. */
  get era(): Era | undefined {
    return this.#server?.era;
  }

  get busy(): boolean {
    return this.#exchanges.size > 0 || this.#asks.size > 0;
  }

  async #start(): Promise<void> {
    const { connection, start } = this.#options;
    const facts = connectFacts(connection.name);
    const payload = JSON.stringify(
      connection.upstream.transport === 'stdio'
        ? { start: connection.upstream.command.map((part) => (typeof part === 'string' ? part : `${part.from}:${part.name}`)) }
        : { connect: connection.upstream.url },
      null,
      2,
    );
    const operation = this.#operation('CONNECT', facts, payload, payload, undefined);
    const result = await run(this.#options.host.engine, this.#session, operation, this.#session.signal, async (permit: Permit) => {
      permit.use(operation.digest);
      this.#server = start(this.#session, {
        onMessage: (message, about) => this.#received(message, about),
        onExit: (why) => this.#exited(why),
        onInput: (requests, about, signal) => this.#input(requests, about, signal),
        onStream: (about) => this.#exchanges.callerOf(about)?.stream?.(),
        onBreak: (about) => this.#options.client.broke?.(this.#exchanges.callerOf(about)),
      });
      return { outcome: 'done', masked: 0 };
    });
    if (!result.forwarded) throw new Problem('refused', result.refusal.sentence);
  }

  /** A request of the client's. Never rejects: what went wrong is a reply. */
  async request(method: string, params: JsonObject | undefined, caller: Caller): Promise<Reply> {
    if (this.#closed || !this.#server?.running) return { error: { code: -32_000, message: this.#why ?? 'This session has ended. Initialize again.' } };
    if (this.#exchanges.size >= MAX_PENDING) return { error: { code: -32_000, message: `More than ${MAX_PENDING} requests wait already. Wait for answers.` } };
    switch (treatmentOf(method)) {
      case 'housekeeping': {
        const reply = await this.#exchanges.forward(method, params, caller);
        if (method === 'tools/list' && 'result' in reply) this.#learn(reply.result);
        return 'error' in reply ? maskReply(reply, this.#session.masking).reply : reply;
      }
      case 'follow-up':
        return maskReply(await this.#exchanges.forward(method, params, caller), this.#session.masking).reply;
      case 'operation':
        return this.#decided(method, params, caller);
    }
  }

  /** A notification of the client's; cancelling is done by the caller's signal. */
  notification(method: string, params: JsonObject | undefined): void {
    if (method === 'notifications/cancelled') return;
    this.#server?.send({ method, ...(params && { params }) });
  }

  close(reason: string): Promise<void> {
    this.#closed ??= this.#close(reason);
    return this.#closed;
  }

  async #close(reason: string): Promise<void> {
    this.#asks.abortAll();
    this.#exchanges.settleAll(`This session has ended: ${reason}.`);
    await this.#server?.stop();
    await this.#session.close(reason);
  }

  async #decided(method: string, params: JsonObject | undefined, caller: Caller): Promise<Reply> {
    const { masking } = this.#session;
    const name = typeof params?.name === 'string' ? params.name : '';
    const facts = classify(method, params, this.#hints.get(name) ?? {}, masking);
    const shown = { method, ...(params && { params: withoutMeta(params) }) };
    const recorded = maskJson(shown as JsonObject, masking).value;
    const operation = this.#operation(method, facts, JSON.stringify(shown, null, 2), JSON.stringify(recorded, null, 2), params);
    let reply: Reply | undefined;
    const waiting = this.#reportWaiting(params, caller);
    try {
      const result = await run(this.#options.host.engine, this.#session, operation, caller.signal, async (permit) => {
        waiting.stop();
        permit.use(operation.digest);
        const raw = await this.#exchanges.forward(method, params, caller, waiting.progress);
        const masked = maskReply(raw, masking);
        reply = masked.reply;
        return outcomeOf(raw, masked, masking);
      });
      if (!result.forwarded) return refusal(method, result.refusal.sentence);
      return reply ?? { error: { code: -32_603, message: 'There was no answer.' } };
    } catch (cause) {
      this.#options.host.engine.log.error('mcp.relay.failed', { connection: this.#options.connection.name, cause });
      return { error: { code: -32_603, message: 'The proxy failed. Its log says more.' } };
    } finally {
      waiting.stop();
    }
  }

  #operation(method: string, facts: Facts, payload: string, recorded: string, params: JsonObject | undefined): Operation {
    const { host, connection } = this.#options;
    const { reason } = this.#options.identity;
    return {
      id: host.engine.newId('op') as OperationId,
      digest: host.engine.digest(['mcp', connection.name, JSON.stringify(connection.upstream, asText), method, JSON.stringify(params ?? null)]),
      parts: [facts],
      payload,
      params: [],
      recorded: { payload: recorded },
      language: 'json',
      noDryRun: 'an MCP server cannot try a call',
      ...(method === 'tools/call' && { shape: shapeOfCall(method, params) }),
      ...(reason !== undefined && { reason }),
      ...(this.#options.identity.readOnly && { readOnly: true }),
    };
  }

  #received(message: Message, about: Id | undefined): void {
    switch (message.kind) {
      case 'response':
        return this.#exchanges.answered(message.id, message.reply);
      case 'notification':
        return this.#notified(message.method, message.params, about);
      case 'request':
        return void this.#asks.received(message.id, message.method, message.params, this.#exchanges.callerOf(about));
    }
  }

  #notified(method: string, params: JsonObject | undefined, about: Id | undefined): void {
    if (method === 'notifications/progress') return this.#exchanges.progressed(params);
    if (method === 'notifications/cancelled') return this.#asks.cancelled(params?.requestId);
    const masked = params && maskJson(params, this.#session.masking).value;
    // A log message goes with the request that it is about: over stdio nothing says which, so with the last.
    const caller = method === 'notifications/message' ? this.#exchanges.callerOf(about) : undefined;
    if (caller) caller.notify(method, masked ?? {});
    else this.#options.client.notify(method, masked);
    return undefined;
  }

  #input(requests: JsonObject, about: Id, signal: AbortSignal): Promise<JsonObject> {
    const masked = maskJson(requests, this.#session.masking).value;
    return this.#options.client.inputs(masked, signal, this.#exchanges.callerOf(about));
  }

  #exited(why: string): void {
    this.#why = why;
    if (this.#closed) return;
    this.#exchanges.settleAll(why);
    this.#options.host.engine.log.warn('mcp.server.ended', { connection: this.#options.connection.name, why });
    this.#options.client.ended(why);
    void this.close(why);
  }

  #learn(result: JsonObject): void {
    for (const tool of Array.isArray(result.tools) ? (result.tools as readonly Json[]) : []) {
      if (isObject(tool) && typeof tool.name === 'string' && this.#hints.size < MAX_TOOLS) this.#hints.set(tool.name, hintsOf(tool));
    }
  }

  /** While a person thinks: progress that grows, where the client asked for it, so that it does not give up. */
  #reportWaiting(params: JsonObject | undefined, caller: Caller): { readonly progress: number; stop(): void } {
    const token = tokenOf(params);
    const state = { progress: Number.NEGATIVE_INFINITY, stop: (): void => {} };
    if (token === undefined) return state;
    const timer = setInterval(() => {
      state.progress = Math.max(0, state.progress) + WAITING_STEP;
      caller.notify('notifications/progress', { progressToken: token, progress: state.progress, message: 'Waiting for a person to approve this.' });
    }, this.#options.progressMs ?? PROGRESS_MS);
    state.stop = () => clearInterval(timer);
    return state;
  }
}

/** Tracing and progress are no part of what is asked for. */
function withoutMeta(params: JsonObject): JsonObject {
  const { _meta, ...rest } = params;
  return rest;
}

function asText(_key: string, value: unknown): unknown {
  return value instanceof Map ? [...value] : value;
}
