/**
 * One client's use of one relayed server: a recorded session, a process, and every message between them. Requests that do
 * something go through the pipeline; what comes back is masked; ids and progress tokens are ours on the server's side, so
 * that nothing of one request can reach another.
 */
import type { OperationId } from '../../../contract/ids.ts';
import { Problem } from '../../../contract/problem.ts';
import type { HandedSecrets } from '../../masking/handedSecrets.ts';
import type { Operation } from '../../pipeline/operation.ts';
import type { Permit } from '../../pipeline/permit.ts';
import { run } from '../../pipeline/run.ts';
import { Session } from '../../pipeline/session.ts';
import type { McpConnection } from '../../policy/policy.ts';
import type { ClientIdentity, ProtocolHost } from '../protocol.ts';
import { AnswerMasking } from './answerMasking.ts';
import { ArgumentTokens } from './argumentTokens.ts';
import { connectFacts, isTold, shapeOfCall, treatmentOf } from './classify.ts';
import { type AskClient, ClientAsks } from './clientAsks.ts';
import { ClientTasks } from './clientTasks.ts';
import { type Caller, Exchanges, MAX_PENDING, tokenOf } from './exchanges.ts';
import { maskJson } from './maskJson.ts';
import type { Id, JsonObject, Message, Reply } from './message.ts';
import { type KnownTool, Offer } from './offer.ts';
import { type MaskedReply, outcomeOf, refusal, TOO_DEAR } from './outcome.ts';
import { ANSWER_WITHIN_MS, isPatient } from './patience.ts';
import { type McpRequest, PERSONAL, readInputs, readRequest, withoutSecrets, withTokenOf, wordsWithoutSecrets } from './request.ts';
import { fitToSchema, UNFIT } from './structured.ts';
import type { TaskBook } from './taskBook.ts';
import { begunIn } from './taskShapes.ts';
import { Tasks, type TaskWork } from './tasks.ts';
import type { Era, Upstream, UpstreamEvents } from './upstream/upstream.ts';
import { Calls, type Held } from './waiting.ts';

/** How often a client is told that a person has not answered yet, in milliseconds. */
const PROGRESS_MS = 5_000;
/** Longest notification of a server's that is looked through, in characters; it holds everybody else up for as long as that takes, some twenty milliseconds. */
const MAX_NOTIFICATION = 1024 * 1024;
/** Notifications of other kinds that are decided about at once. */
const MAX_TELLING = 100;
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
  /** What the server is given, and may say back. */
  readonly secrets: HandedSecrets;
  /** Tasks that calls on the connection began, in whatever session. */
  readonly tasks: TaskBook;
  /** Starts the server, or a connection to it; called with a permit only. */
  readonly start: (session: Session, on: UpstreamEvents) => Upstream;
  readonly progressMs?: number;
  /** How soon a client that is not known to wait is answered, in milliseconds. */
  readonly answerMs?: number;
}

export class RelaySession {
  readonly #options: RelayOptions;
  readonly #session: Session;
  /** What an approval is bound to besides the call. */
  readonly #upstream: string;
  readonly #answers: AnswerMasking;
  readonly #exchanges: Exchanges;
  readonly #asks: ClientAsks;
  readonly #offer: Offer;
  readonly #tasks: Tasks;
  readonly #clientTasks = new ClientTasks();
  readonly #tokens: ArgumentTokens;
  readonly #calls: Calls<Reply>;
  #server: Upstream | undefined;
  #telling = 0;
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
      secrets: options.secrets,
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
    this.#answers = new AnswerMasking(session.masking);
    this.#upstream = JSON.stringify(options.connection.upstream, asText);
    const server = (): Upstream | undefined => this.#server;
    const mask = (method: string, params: JsonObject): JsonObject => this.#said(method, params);
    this.#exchanges = new Exchanges(mask, server);
    this.#asks = new ClientAsks(mask, server, (...request) => this.#askClient(...request));
    this.#offer = new Offer({ host: options.host, connection: options.connection, session, exchanges: this.#exchanges });
    this.#tasks = new Tasks({
      engine: options.host.engine,
      session,
      connection: options.connection,
      book: options.tasks,
      forward: (...request) => this.#exchanges.forward(...request),
      perform: (...work) => this.#answered(() => this.#perform(...work)),
      decided: (...request) => this.#decided(...request),
      outwards: (...ask) => this.#outwards(...ask),
      quarantined: (name) => this.#offer.quarantined('tools/call', { name }),
      tainted: (target, reply) => this.#tainted(target, reply),
      over: (task) => this.#exchanges.taskOver(task),
    });
    this.#tokens = new ArgumentTokens(session.request.conversation, options.connection);
    this.#calls = new Calls({
      answerMs: options.answerMs ?? ANSWER_WITHIN_MS,
      now: () => options.host.engine.clock.now(),
      pending: (sentence, { method }) => refusal(method, sentence),
    });
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
    return this.#exchanges.size > 0 || this.#asks.size > 0 || this.#answers.busy;
  }

  /** Whether a task that was begun here may still be at work. */
  get working(): boolean {
    return this.#tasks.running;
  }

  /** Lets a client of the stateless era hear of its tasks. Resolves to the ids that it will hear of. */
  watchTasks(...watch: Parameters<Tasks['watch']>): Promise<readonly string[]> {
    return this.#tasks.watch(...watch);
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
    const request: McpRequest = { facts: { parts: [facts], recorded: facts }, payload, recordedPayload: payload, bound: '', sent: undefined };
    const operation = this.#operation('CONNECT', request, undefined, undefined);
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
        const reply = await this.#exchanges.forward(method, this.#offer.asked(params), caller);
        if ('error' in reply) return (await this.#answers.masked(reply)).reply;
        const introduces = method === 'initialize' || method === 'server/discover';
        return { result: await (introduces ? this.#offer.introduction(reply.result) : this.#offer.page(method, reply.result)) };
      }
      case 'follow-up':
        return this.#tasks.request(method, params, caller);
      case 'operation':
        return this.#decided(method, params, caller);
    }
  }

  /** The policy, or what a person has accepted, has changed: a client is told which lists to read again. */
  async reconsider(): Promise<void> {
    if (this.#closed || !this.#server?.running) return;
    for (const notification of await this.#offer.changedByPolicy()) this.#options.client.notify(notification, undefined);
  }

  /** A notification of the client's; cancelling is done by the caller's signal. */
  notification(method: string, params: JsonObject | undefined): void {
    if (method === 'notifications/cancelled' || this.#closed || !this.#server?.running) return;
    const { connection, host } = this.#options;
    if (!isTold(method)) {
      void this.#unasked(method, params).catch((cause: unknown) => host.engine.log.error('mcp.relay.failed', { connection: connection.name, cause }));
      return;
    }
    this.#server.send({ method, ...(params && { params: wordsWithoutSecrets(params, connection, this.#session.masking) }) });
  }

  /** A message without an id that is no notification we know: servers there are that look at the method alone, and do it. */
  async #unasked(method: string, params: JsonObject | undefined): Promise<void> {
    if (this.#telling >= MAX_TELLING) return;
    this.#telling++;
    try {
      const { host, connection } = this.#options;
      const { masking, signal } = this.#session;
      const request = readRequest(method, params, { connection, hints: undefined, masking });
      const refused = method.startsWith('notifications/') ? request.refused : 'Refused: a request was sent as a notification, which nobody could answer.';
      const operation = this.#operation(method, request, undefined, refused);
      await run(host.engine, this.#session, operation, signal, async (permit) => {
        permit.use(operation.digest);
        this.#server?.send({ method, ...(request.sent && { params: request.sent }) });
        return { outcome: 'done', masked: 0 };
      });
    } finally {
      this.#telling--;
    }
  }

  close(reason: string): Promise<void> {
    this.#closed ??= this.#close(reason);
    return this.#closed;
  }

  async #close(reason: string): Promise<void> {
    this.#asks.abortAll();
    this.#calls.abortAll();
    this.#exchanges.settleAll(`This session has ended: ${reason}.`);
    await this.#server?.stop();
    await this.#session.close(reason);
  }

  #decided(method: string, params: JsonObject | undefined, caller: Caller): Promise<Reply> {
    return this.#answered(async () => {
      const name = typeof params?.name === 'string' ? params.name : '';
      const tool = method === 'tools/call' ? await this.#offer.tool(name) : undefined;
      const request = readRequest(method, params, {
        connection: this.#options.connection,
        hints: tool?.hints,
        masking: this.#session.masking,
        tokens: this.#tokens,
        listed: this.#offer.lists(params?.uri),
      });
      const refused = (await this.#offer.quarantined(method, params)) ?? request.refused;
      return this.#perform({ method, request, refused, target: name === '' ? method : name, tool }, params, caller);
    });
  }

  /** What goes wrong with us is an answer, too. */
  async #answered(work: () => Promise<Reply>): Promise<Reply> {
    try {
      return await work();
    } catch (cause) {
      this.#options.host.engine.log.error('mcp.relay.failed', { connection: this.#options.connection.name, cause });
      return { error: { code: -32_603, message: 'The proxy failed. Its log says more.' } };
    }
  }

  #perform(work: Work, params: JsonObject | undefined, caller: Caller): Promise<Reply> {
    const { method, request, refused, tool } = work;
    const operation = this.#operation(method, request, tool?.hash, refused);
    const patient = isPatient(this.#options.identity.actor.agent);
    return this.#calls.run(operation.digest, { caller, method, params }, patient, (held) => this.#carryOut(work, operation, held));
  }

  /** Resolves as soon as there is an answer; what became of the call is written right after it has gone out. */
  #carryOut(work: Work, decided: Operation, held: Held): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.#run(work, decided, held, resolve).then(resolve, reject);
    });
  }

  /** @param answer called with what the client gets, once it is known */
  async #run(work: Work, decided: Operation, held: Held, answer: (reply: Reply) => void): Promise<Reply> {
    const { method, request, target, tool } = work;
    let reply: Reply | undefined;
    const waiting = this.#reportWaiting(held);
    const operation: Operation = {
      ...decided,
      claim: held.claim,
      asked: (...asked) => {
        waiting.start();
        held.asked(...asked);
      },
    };
    try {
      const result = await run(this.#options.host.engine, this.#session, operation, held.caller.signal, async (permit) => {
        waiting.stop();
        // What was approved is a call of the tool as it was described then.
        if (tool && (await this.#offer.tool(target))?.hash !== tool.hash) {
          reply = refusal(method, `Refused: the server changed the definition of "${target.slice(0, 100)}" while this waited. List its tools again.`);
          return { outcome: 'failed', masked: 0, error: { code: 'definition-changed', message: 'the tool was redefined while this waited' } };
        }
        permit.use(operation.digest);
        const raw = work.send
          ? await work.send(held.caller)
          : await this.#exchanges.forward(method, withTokenOf(request.sent, held.params), held.caller, waiting.progress);
        const answered = this.#answers.masked(raw);
        const masked = answered instanceof Promise ? await answered : answered;
        const outputSchema = work.outputSchema ?? tool?.outputSchema;
        reply = masked.unread ? refusal(method, TOO_DEAR) : (fitToSchema(raw, masked, outputSchema) ?? work.unfit ?? refusal(method, UNFIT));
        if (method === 'tools/call' && begunIn(raw))
          reply = await this.#tasks.begun(raw, reply, { tool: target, parts: operation.parts, recorded: request.facts.recorded, outputSchema });
        this.#tainted(target, masked);
        if ('result' in raw && 'result' in reply) this.#offer.linked(raw.result, reply.result);
        answer(reply);
        await written();
        return outcomeOf(raw, masked, this.#session.masking);
      });
      if (!result.forwarded) return refusal(method, result.refusal.sentence);
      return reply ?? { error: { code: -32_603, message: 'There was no answer.' } };
    } finally {
      waiting.stop();
    }
  }

  /** What the server asks of the client is an operation as well: it carries something to the server. */
  async #askClient(...[method, params, signal, caller]: Parameters<AskClient>): Promise<Reply> {
    const { connection, client } = this.#options;
    const { masking } = this.#session;
    const ask = (): Promise<Reply> => client.ask(method, params, signal, caller);
    const task = this.#clientTasks.about(method, params);
    // How far the client is with what the server was allowed to ask of it; what came of it is looked at below.
    if (task !== undefined && method !== 'tasks/result') return withoutSecrets(await ask(), connection, masking);
    const request = readRequest(method, params, { connection, hints: undefined, masking, task, ofClient: true });
    const reply = await this.#outwards(method, request, signal, ask);
    this.#clientTasks.begun(reply, request.facts.recorded.headline);
    return reply;
  }

  async #outwards(method: string, request: McpRequest, signal: AbortSignal, ask: () => Promise<Reply>, asked?: () => void): Promise<Reply> {
    const { host, connection } = this.#options;
    const { masking } = this.#session;
    const operation = { ...this.#operation(method, request, undefined, undefined), asked };
    let reply: Reply | undefined;
    const result = await run(host.engine, this.#session, operation, signal, async (permit) => {
      permit.use(operation.digest);
      reply = withoutSecrets(await ask(), connection, masking);
      return outcomeOf(reply, await this.#answers.masked(reply), masking);
    });
    if (!result.forwarded) return { error: { code: -32_000, message: result.refusal.sentence } };
    return reply ?? { error: { code: -32_603, message: 'The client did not answer.' } };
  }

  /** An answer that was masked held something sensitive: the conversation has read it, whichever server it talks to next. */
  #tainted(target: string, reply: Pick<MaskedReply, 'places'>): void {
    // Addresses are in nearly every answer there is: a rule that asks after each would be switched off by lunchtime.
    const places = reply.places.filter(({ by }) => !PERSONAL.has(by));
    if (places.length === 0) return;
    const { conversation, connection } = this.#session.request;
    conversation.sensitiveAnswer(connection, target, [...new Set(places.map(({ by }) => by))], places.length, this.#options.host.engine.clock.now());
  }

  /** Masks what the server says besides its answers, which is as good as read. */
  #said(method: string, params: JsonObject): JsonObject {
    const masked = maskJson(params, this.#session.masking, method.startsWith('notifications/') ? MAX_NOTIFICATION : undefined);
    this.#tainted(method, masked);
    return masked.value;
  }

  #operation(method: string, request: McpRequest, definition: string | undefined, refused: string | undefined): Operation {
    const { host, connection, identity } = this.#options;
    const { parts, recorded } = request.facts;
    return {
      id: host.engine.newId('op') as OperationId,
      digest: host.engine.digest(['mcp', connection.name, this.#upstream, method, request.bound, definition ?? null]),
      parts,
      payload: request.payload,
      params: [],
      recorded: { payload: request.recordedPayload, facts: recorded },
      language: 'json',
      noDryRun: 'an MCP server cannot try a call',
      ...(method === 'tools/call' && { shape: shapeOfCall(method, request.sent) }),
      ...(identity.reason !== undefined && { reason: identity.reason }),
      ...(identity.readOnly && { readOnly: true }),
      ...(refused !== undefined && { refused }),
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
    // Of a subscription to tasks, which looks at them by itself.
    if (method === 'notifications/tasks' || method === 'notifications/subscriptions/acknowledged')
      return this.#exchanges.waitingFor(about)?.notify(method, params ?? {});
    if (method === 'notifications/tasks/status') {
      const told = this.#tasks.told(params);
      return told && this.#options.client.notify(method, told);
    }
    // A request without an id is none, and no notification either.
    if (!method.startsWith('notifications/')) return undefined;
    this.#offer.stale(method);
    const masked = params && this.#said(method, params);
    // A log message goes with the request that it is about: over stdio nothing says which, so with the last.
    const caller = method === 'notifications/message' ? this.#exchanges.callerOf(about) : undefined;
    if (caller) caller.notify(method, masked ?? {});
    else this.#options.client.notify(method, masked);
    return undefined;
  }

  /** What a server of the stateless era asks all at once is one operation, and the strictest verdict on any of it stands for all. */
  async #input(requests: JsonObject, about: Id, signal: AbortSignal): Promise<JsonObject> {
    const { connection, client } = this.#options;
    const { masking } = this.#session;
    const masked = this.#said('input_required', requests);
    const caller = this.#exchanges.callerOf(about);
    const reply = await this.#outwards('input_required', readInputs(masked, { connection, hints: undefined, masking, ofClient: true }), signal, async () => ({
      result: await client.inputs(masked, signal, caller),
    }));
    if ('error' in reply) throw new Error(reply.error.message);
    return reply.result;
  }

  #exited(why: string): void {
    this.#why = why;
    if (this.#closed) return;
    this.#exchanges.settleAll(why);
    this.#options.host.engine.log.warn('mcp.server.ended', { connection: this.#options.connection.name, why });
    // What waits has its answer now, which takes a few turns to get out; the session goes after it.
    void this.#answers.settled().then(() =>
      setImmediate(() => {
        this.#options.client.ended(why);
        void this.close(why);
      }),
    );
  }

  /** While a person thinks: progress that grows, where the client asked for it, so that it does not give up. */
  #reportWaiting(held: Held): { readonly progress: number; start(): void; stop(): void } {
    let timer: NodeJS.Timeout | undefined;
    const state = {
      progress: Number.NEGATIVE_INFINITY,
      stop: (): void => clearInterval(timer),
      start: (): void => {
        clearInterval(timer);
        timer = setInterval(() => {
          const token = tokenOf(held.params);
          if (token === undefined) return;
          state.progress = Math.max(0, state.progress) + WAITING_STEP;
          held.caller.notify('notifications/progress', { progressToken: token, progress: state.progress, message: 'Waiting for a person to approve this.' });
        }, this.#options.progressMs ?? PROGRESS_MS);
      },
    };
    return state;
  }
}

/** One request on its way: sent as it stands unless `send` says otherwise. */
type Work = Omit<TaskWork, 'send'> & Partial<Pick<TaskWork, 'send'>> & { readonly tool?: KnownTool | undefined };

/** Resolves when what can be written at once has been: an answer goes out before its record is made up. */
function written(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function asText(_key: string, value: unknown): unknown {
  return value instanceof Map ? [...value] : value;
}
