/**
 * One client's use of one relayed server: a recorded session, a process, and every message between them. Requests that do
 * something go through the pipeline; what comes back is masked; ids and progress tokens are ours on the server's side, so
 * that nothing of one request can reach another.
 */

import type { Facts } from '../../../contract/facts.ts';
import type { OperationId } from '../../../contract/ids.ts';
import { Problem } from '../../../contract/problem.ts';
import type { Answer } from '../../../contract/response.ts';
import { MAX_ANSWER_CHARS } from '../../../contract/response.ts';
import type { Operation, Outcome } from '../../pipeline/operation.ts';
import type { Permit } from '../../pipeline/permit.ts';
import { run } from '../../pipeline/run.ts';
import { Session } from '../../pipeline/session.ts';
import type { McpConnection } from '../../policy/policy.ts';
import type { ClientIdentity, ProtocolHost } from '../protocol.ts';
import { classify, connectFacts, type Hints, hintsOf, shapeOfCall, treatmentOf } from './classify.ts';
import { maskJson, readableText } from './maskJson.ts';
import { type Id, isObject, type Json, type JsonObject, type Message, type Reply, type RpcError } from './message.ts';
import type { StdioServer } from './stdioServer.ts';

/** Requests of one client that wait for an answer at once. */
const MAX_PENDING = 1_000;
/** Tools whose hints are remembered. */
const MAX_TOOLS = 5_000;
/** How often a client is told that a person has not answered yet, in milliseconds. */
const PROGRESS_MS = 5_000;
/** What waiting adds to the progress each time: it must grow, and stay below anything that the server will report. */
const WAITING_STEP = 1e-6;

const CANCELLED: Reply = { error: { code: -32_000, message: 'Cancelled.' } };

/** The client's end of one request. */
export interface Caller {
  /** Aborted when the client has cancelled or gone. */
  readonly signal: AbortSignal;
  /** Sends a notification that belongs to the request. */
  readonly notify: (method: string, params: JsonObject) => void;
}

/** The client's end of everything else. */
export interface ClientSide {
  /** Sends what belongs to no request in particular. */
  readonly notify: (method: string, params: JsonObject | undefined) => void;
  /** Passes a request of the server's on to the client. */
  readonly ask: (method: string, params: JsonObject | undefined, signal: AbortSignal) => Promise<Reply>;
  /** The session cannot go on. */
  readonly ended: (why: string) => void;
}

export interface RelayOptions {
  readonly host: ProtocolHost;
  readonly connection: McpConnection;
  readonly identity: ClientIdentity;
  readonly client: ClientSide;
  /** Starts the process; called with a permit only. */
  readonly start: (session: Session, on: { readonly onMessage: (message: Message) => void; readonly onExit: (why: string) => void }) => StdioServer;
  readonly progressMs?: number;
}

interface Pending {
  readonly caller: Caller;
  readonly token: Id | undefined;
  /** The last progress that the client was told. */
  progress: number;
  readonly resolve: (reply: Reply) => void;
}

export class RelaySession {
  readonly #options: RelayOptions;
  readonly #session: Session;
  readonly #pending = new Map<number, Pending>();
  /** Requests of the server's that wait for the client. */
  readonly #asked = new Map<Id, AbortController>();
  readonly #hints = new Map<string, Hints>();
  #server: StdioServer | undefined;
  #ids = 0;
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
    session.signal.addEventListener('abort', () => void this.close('the session was ended'), { once: true });
  }

  get signal(): AbortSignal {
    return this.#session.signal;
  }

  get busy(): boolean {
    return this.#pending.size > 0 || this.#asked.size > 0;
  }

  async #start(): Promise<void> {
    const { connection, start } = this.#options;
    const facts = connectFacts(connection.name);
    const payload = JSON.stringify({ start: connection.upstream.transport === 'stdio' ? connection.upstream.command : [] }, null, 2);
    const operation = this.#operation('CONNECT', facts, payload, payload, undefined);
    const result = await run(this.#options.host.engine, this.#session, operation, this.#session.signal, async (permit: Permit) => {
      permit.use(operation.digest);
      this.#server = start(this.#session, { onMessage: (message) => this.#received(message), onExit: (why) => this.#exited(why) });
      return { outcome: 'done', masked: 0 };
    });
    if (!result.forwarded) throw new Problem('refused', result.refusal.sentence);
  }

  /** A request of the client's. Never rejects: what went wrong is a reply. */
  async request(method: string, params: JsonObject | undefined, caller: Caller): Promise<Reply> {
    if (this.#closed || !this.#server?.running) return { error: { code: -32_000, message: this.#why ?? 'This session has ended. Initialize again.' } };
    if (this.#pending.size >= MAX_PENDING) return { error: { code: -32_000, message: `More than ${MAX_PENDING} requests wait already. Wait for answers.` } };
    switch (treatmentOf(method)) {
      case 'housekeeping': {
        const reply = await this.#forward(method, params, caller);
        if (method === 'tools/list' && 'result' in reply) this.#learn(reply.result);
        return 'error' in reply ? this.#maskReply(reply).reply : reply;
      }
      case 'follow-up':
        return this.#maskReply(await this.#forward(method, params, caller)).reply;
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
    for (const controller of this.#asked.values()) controller.abort();
    this.#settleAll(`This session has ended: ${reason}.`);
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
        const raw = await this.#forward(method, params, caller, waiting.progress);
        const masked = this.#maskReply(raw);
        reply = masked.reply;
        return outcomeOf(raw, masked, (text) => this.#answer(text));
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

  /** Sends a request under an id of our own and waits for its answer, which is raw. */
  #forward(method: string, params: JsonObject | undefined, caller: Caller, progress = 0): Promise<Reply> {
    const id = ++this.#ids;
    const token = tokenOf(params);
    return new Promise<Reply>((resolve) => {
      const abort = (): void => {
        this.#server?.send({ method: 'notifications/cancelled', params: { requestId: id, reason: 'cancelled by the client' } });
        this.#settle(id, CANCELLED);
      };
      const done = (reply: Reply): void => {
        caller.signal.removeEventListener('abort', abort);
        resolve(reply);
      };
      this.#pending.set(id, { caller, token, progress, resolve: done });
      if (caller.signal.aborted) return this.#settle(id, CANCELLED);
      // The specification forbids cancelling `initialize`.
      if (method !== 'initialize') caller.signal.addEventListener('abort', abort, { once: true });
      const sent = token === undefined ? params : withToken(params ?? {}, id);
      this.#server?.send({ id, method, ...(sent && { params: sent }) });
      return undefined;
    });
  }

  #settle(id: number, reply: Reply): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    pending?.resolve(reply);
  }

  #settleAll(sentence: string): void {
    for (const id of this.#pending.keys()) this.#settle(id, { error: { code: -32_000, message: sentence } });
  }

  #received(message: Message): void {
    if (message.kind === 'response') {
      if (typeof message.id === 'number') this.#settle(message.id, message.reply);
    } else if (message.kind === 'notification') this.#notified(message.method, message.params);
    else void this.#askClient(message.id, message.method, message.params);
  }

  #notified(method: string, params: JsonObject | undefined): void {
    if (method === 'notifications/progress') return this.#progressed(params);
    if (method === 'notifications/cancelled') {
      const id = params?.requestId;
      if (typeof id === 'string' || typeof id === 'number') this.#asked.get(id)?.abort();
      return undefined;
    }
    const masked = params && maskJson(params, this.#session.masking).value;
    // Over stdio nothing says which request a log message belongs to: while there is one, it goes with the last.
    const last = method === 'notifications/message' ? [...this.#pending.values()].at(-1) : undefined;
    if (last) last.caller.notify(method, masked ?? {});
    else this.#options.client.notify(method, masked);
    return undefined;
  }

  #progressed(params: JsonObject | undefined): void {
    const pending = typeof params?.progressToken === 'number' ? this.#pending.get(params.progressToken) : undefined;
    // Only for tokens that the client gave out, growing, and never after the answer.
    if (!params || !pending || pending.token === undefined || typeof params.progress !== 'number' || params.progress <= pending.progress) return;
    pending.progress = params.progress;
    pending.caller.notify('notifications/progress', { ...maskJson(params, this.#session.masking).value, progressToken: pending.token });
  }

  async #askClient(id: Id, method: string, params: JsonObject | undefined): Promise<void> {
    if (method === 'ping') return this.#server?.send({ id, result: {} });
    if (this.#asked.size >= MAX_PENDING || this.#asked.has(id)) {
      return this.#server?.send({ id, error: { code: -32_000, message: 'Too many requests wait for the client.' } });
    }
    const controller = new AbortController();
    this.#asked.set(id, controller);
    const masked = params && maskJson(params, this.#session.masking).value;
    const reply = await this.#options.client
      .ask(method, masked, controller.signal)
      .catch((): Reply => ({ error: { code: -32_603, message: 'The client did not answer.' } }));
    this.#asked.delete(id);
    if (!controller.signal.aborted) this.#server?.send({ id, ...reply });
    return undefined;
  }

  #exited(why: string): void {
    this.#why = why;
    if (this.#closed) return;
    this.#settleAll(why);
    this.#options.host.engine.log.warn('mcp.server.ended', { connection: this.#options.connection.name, why });
    this.#options.client.ended(why);
    void this.close(why);
  }

  #learn(result: JsonObject): void {
    for (const tool of Array.isArray(result.tools) ? (result.tools as readonly Json[]) : []) {
      if (isObject(tool) && typeof tool.name === 'string' && this.#hints.size < MAX_TOOLS) this.#hints.set(tool.name, hintsOf(tool));
    }
  }

  #maskReply(reply: Reply): { readonly reply: Reply; readonly masked: number } {
    const { masking } = this.#session;
    if ('result' in reply) {
      const { value, masked } = maskJson(reply.result, masking);
      return { reply: { result: value }, masked };
    }
    const { value, masked } = maskJson(reply.error as unknown as JsonObject, masking);
    return { reply: { error: { ...(value as unknown as RpcError), code: reply.error.code } }, masked };
  }

  #answer(text: string): Answer {
    const cut = text.slice(0, MAX_ANSWER_CHARS);
    const { text: masked, findings } = this.#session.masking.scrub(cut);
    return { kind: 'text', text: masked, truncated: cut.length < text.length, findings: findings.slice(0, 5000) };
  }

  /** While a person thinks: progress that grows, where the client asked for it, so that it does not give up. */
  #reportWaiting(params: JsonObject | undefined, caller: Caller): { readonly progress: number; stop(): void } {
    const token = tokenOf(params);
    const state = { progress: 0, stop: (): void => {} };
    if (token === undefined) return state;
    const timer = setInterval(() => {
      state.progress += WAITING_STEP;
      caller.notify('notifications/progress', { progressToken: token, progress: state.progress, message: 'Waiting for a person to approve this.' });
    }, this.#options.progressMs ?? PROGRESS_MS);
    state.stop = () => clearInterval(timer);
    return state;
  }
}

/** A refusal as each request's client can read it: a tool's result for the model, an error for the rest. */
function refusal(method: string, sentence: string): Reply {
  if (method === 'tools/call') return { result: { content: [{ type: 'text', text: sentence }], isError: true } };
  return { error: { code: -32_000, message: sentence } };
}

function outcomeOf(raw: Reply, masked: { readonly reply: Reply; readonly masked: number }, answer: (text: string) => Answer): Outcome {
  if (raw === CANCELLED) return { outcome: 'cancelled', masked: 0 };
  if ('error' in masked.reply) {
    const { code, message } = masked.reply.error;
    return { outcome: 'failed', masked: masked.masked, error: { code: String(code).slice(0, 40), message: message.slice(0, 4000) } };
  }
  const text = 'result' in raw ? readableText(raw.result) : '';
  const shown = answer(text);
  const whole: Answer = { kind: 'text', text: text.slice(0, MAX_ANSWER_CHARS), truncated: text.length > MAX_ANSWER_CHARS, findings: [] };
  const failed = masked.reply.result.isError === true;
  return {
    outcome: failed ? 'failed' : 'done',
    masked: masked.masked,
    answer: shown,
    raw: whole,
    ...(failed && { error: { code: 'tool-error', message: shown.kind === 'text' ? shown.text.slice(0, 4000) : '' } }),
  };
}

function tokenOf(params: JsonObject | undefined): Id | undefined {
  const token = isObject(params?._meta) ? params._meta.progressToken : undefined;
  return typeof token === 'string' || typeof token === 'number' ? token : undefined;
}

function withToken(params: JsonObject, token: number): JsonObject {
  return { ...params, _meta: { ...(isObject(params._meta) && params._meta), progressToken: token } };
}

/** Tracing and progress are no part of what is asked for. */
function withoutMeta(params: JsonObject): JsonObject {
  const { _meta, ...rest } = params;
  return rest;
}

function asText(_key: string, value: unknown): unknown {
  return value instanceof Map ? [...value] : value;
}
