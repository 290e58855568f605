/**
 * Tasks as one session may use them. What comes of a task is the call's that began it: it is decided, masked and recorded when it is
 * handed out, and what policy denies of the tool now is not handed out because it was begun before. What the server wants to know
 * for a task is asked as if it had asked in the call. A look at how far it is carries nothing, and passes as it is.
 */
import { createHash } from 'node:crypto';
import type { Facts } from '../../../contract/facts.ts';
import type { Engine } from '../../pipeline/engine.ts';
import { refusalOf } from '../../pipeline/refusal.ts';
import type { Session } from '../../pipeline/session.ts';
import type { McpConnection } from '../../policy/policy.ts';
import type { Caller } from './exchanges.ts';
import { maskJson } from './maskJson.ts';
import { isObject, type Json, type JsonObject, type Reply } from './message.ts';
import { type MaskedReply, maskReply, refusal } from './outcome.ts';
import { type McpRequest, paramsWithoutSecrets, readInputs, readRequest, withoutSecrets } from './request.ts';
import { UNFIT } from './structured.ts';
import { ownerOf, type Task, type TaskBook, type TaskInput } from './taskBook.ts';
import { begunIn, isOver, taskIdIn, withTaskId } from './taskShapes.ts';

/** Tasks of one session that are remembered as its own. */
const MAX_OWN = 1_000;
/** Things that a server may want to know for one task. */
const MAX_INPUTS = 200;
/** How long a session stays for the sake of a task that does not say how long it lives, in milliseconds. */
const MAX_TASK_MS = 24 * 60 * 60 * 1000;
/** How long a server may take to say which tasks it will tell of, in milliseconds. */
const ACKNOWLEDGE_MS = 5_000;

const NOT_FOUND: Reply = { error: { code: -32_602, message: 'Failed to retrieve task: Task not found' } };
const WAITS = 'Waiting for a person to approve what the server asks.';

/** One request on its way through the pipeline. */
export interface TaskWork {
  readonly method: string;
  readonly request: McpRequest;
  readonly refused: string | undefined;
  readonly outputSchema?: JsonObject | undefined;
  /** What it gets to answer with; called with a permit only. */
  readonly send: (caller: Caller) => Promise<Reply>;
  readonly unfit?: Reply;
  /** What whoever reads the record calls the thing that was read. */
  readonly target: string;
}

export interface TasksOptions {
  readonly engine: Engine;
  readonly session: Session;
  readonly connection: McpConnection;
  readonly book: TaskBook;
  readonly forward: (method: string, params: JsonObject | undefined, caller: Caller) => Promise<Reply>;
  /** Decides, carries out, masks and records. */
  readonly perform: (work: TaskWork, params: JsonObject | undefined, caller: Caller) => Promise<Reply>;
  /** The same for something that nothing is known of. */
  readonly decided: (method: string, params: JsonObject | undefined, caller: Caller) => Promise<Reply>;
  /** The same for what a server wants to know of its client. */
  readonly outwards: (method: string, request: McpRequest, signal: AbortSignal, ask: () => Promise<Reply>, asked: () => void) => Promise<Reply>;
  /** Why a tool may not be used, by what has become of its definition. */
  readonly quarantined: (tool: string) => Promise<string | undefined>;
  readonly tainted: (target: string, reply: Pick<MaskedReply, 'places'>) => void;
  /** A task has come to its end, by the server's id. */
  readonly over: (task: string) => void;
}

/** The call that a task came of. */
export interface BegunCall {
  readonly tool: string;
  readonly parts: readonly Facts[];
  /** The same as it is recorded. */
  readonly recorded: Facts;
  readonly outputSchema: JsonObject | undefined;
}

export class Tasks {
  readonly #options: TasksOptions;
  readonly #owner: string;
  /** By the id that the client knows. */
  readonly #own = new Map<string, Task>();
  /** Tasks that are not known to be over, and until when they count as running (epoch milliseconds). */
  readonly #running = new Map<string, number>();
  /** Told to be over, of which no call is known yet. */
  readonly #overAlready = new Set<string>();
  #ended = false;

  constructor(options: TasksOptions) {
    this.#options = options;
    this.#owner = ownerOf(options.session.request.actor.person);
    options.session.signal.addEventListener('abort', () => {
      this.#ended = true;
    });
  }

  /** Whether something may still be going on for which the server has to stay. */
  get running(): boolean {
    const now = this.#options.engine.clock.now();
    for (const [id, until] of this.#running) if (until <= now) this.#running.delete(id);
    return this.#running.size > 0;
  }

  /** Remembers the task of a call's answer, where it began one. @returns the masked answer as the client gets it */
  async begun(raw: Reply, masked: Reply, call: BegunCall): Promise<Reply> {
    const made = begunIn(raw);
    const id = taskIdIn(made);
    if (!made || id === undefined) return masked;
    const { book, session, engine, forward } = this.#options;
    const task = book.begun({
      id,
      owner: this.#owner,
      tool: call.tool,
      headline: call.recorded.headline,
      parts: call.parts,
      outputSchema: call.outputSchema,
      secret: maskJson({ taskId: id }, session.masking).masked > 0,
      home: () => (this.#ended ? undefined : forward),
    });
    this.#own.set(task.shown, task);
    for (const oldest of this.#own.keys()) {
      if (this.#own.size <= MAX_OWN) break;
      this.#own.delete(oldest);
      this.#running.delete(oldest);
    }
    const ttl = made.ttlMs ?? made.ttl;
    if (!isOver(made) && !this.#overAlready.delete(id))
      this.#running.set(task.shown, engine.clock.now() + Math.min(typeof ttl === 'number' && ttl > 0 ? ttl : MAX_TASK_MS, MAX_TASK_MS));
    await book.keep(task, call.recorded).catch((cause: unknown) => engine.log.warn('mcp.task.not-kept', { cause }));
    return withTaskId(masked, task.shown);
  }

  /** A request about a task, or the list of them. */
  async request(method: string, given: JsonObject | undefined, caller: Caller): Promise<Reply> {
    const { connection, session } = this.#options;
    const clean = paramsWithoutSecrets(given, connection, session.masking);
    if (method === 'tasks/list') return this.#list(clean, caller);
    const task = await this.#find(given);
    // Nobody here began it: an operation of its own, which nothing is known of.
    if (!task) return this.#options.decided(method, given, caller);
    const params = clean && { ...clean, taskId: task.shown };
    const request = this.#read(method, params, task);
    if (task.owner !== this.#owner) {
      const refused = 'Refused: this task was begun by somebody else.';
      await this.#options.perform({ method, request, refused, send: async () => NOT_FOUND, target: method }, params, caller);
      return NOT_FOUND;
    }
    switch (method) {
      case 'tasks/update':
        return this.#update(task, params, caller);
      case 'tasks/cancel':
        return this.#cancel(task, request, params, caller);
      case 'tasks/result':
        return this.#result(task, request, params, caller);
      default:
        return this.#look(task, params, caller);
    }
  }

  /** What a server tells of a task to a client of the era of sessions. @returns undefined where it is not this client's to hear */
  told(params: JsonObject | undefined): JsonObject | undefined {
    const id = taskIdIn(params);
    if (!params || id === undefined) return params;
    const own = [...this.#own.values()].find((one) => one.id === id);
    const task = own ?? this.#options.book.of(id);
    if (task && task.owner !== this.#owner) return undefined;
    const masked = maskJson(params, this.#options.session.masking).value;
    if (!task) {
      if (isOver(params)) this.#overBefore(id);
      return masked;
    }
    if (isOver(params)) this.#over(task);
    return { ...masked, taskId: task.shown };
  }

  /** The ids of this person's tasks among those that a client would like to hear of. */
  async watch(ids: readonly string[], signal: AbortSignal, notify: (task: JsonObject) => void, ended: () => void): Promise<readonly string[]> {
    const found = await Promise.all(ids.map((id) => this.#find({ taskId: id })));
    const tasks = found.filter((task) => task !== undefined && task.owner === this.#owner && this.#denied(task) === undefined) as Task[];
    if (tasks.length === 0) return [];
    const acknowledged = Promise.withResolvers<readonly string[]>();
    const timer = setTimeout(() => acknowledged.resolve([]), ACKNOWLEDGE_MS);
    const byId = new Map(tasks.map((task) => [task.id, task]));
    let last = Promise.resolve();
    // In the order in which the server told them, though some have to be decided about.
    const tell = (task: Task, raw: () => Promise<Reply>): void => {
      last = last.then(async () => {
        const reply = await this.#deliver(task, await raw(), { taskId: task.shown }, caller);
        if ('result' in reply && !signal.aborted) notify(reply.result);
      });
    };
    const caller: Caller = {
      signal,
      notify: (method, about) => {
        if (method === 'notifications/subscriptions/acknowledged') {
          const honoured = isObject(about.notifications) && Array.isArray(about.notifications.taskIds) ? (about.notifications.taskIds as readonly Json[]) : [];
          acknowledged.resolve(tasks.filter(({ id }) => honoured.includes(id)).map(({ shown }) => shown));
          return;
        }
        const task = byId.get(taskIdIn(about) ?? '');
        if (method === 'notifications/tasks' && task) tell(task, async () => ({ result: about }));
      },
    };
    const watchers = tasks.map((task) => {
      const look = (): void => tell(task, () => this.#ask('tasks/get', { taskId: task.shown }, task, caller));
      task.watchers.add(look);
      return () => task.watchers.delete(look);
    });
    void this.#options.forward('subscriptions/listen', { notifications: { taskIds: [...byId.keys()] } }, caller).then(() => {
      acknowledged.resolve([]);
      for (const remove of watchers) remove();
      ended();
    });
    return acknowledged.promise.finally(() => clearTimeout(timer));
  }

  #over(task: Task): void {
    this.#running.delete(task.shown);
    this.#options.over(task.id);
  }

  /** A server may be quicker than the way of its answer through the masks and the record: over before it is remembered. */
  #overBefore(id: string): void {
    this.#options.over(id);
    this.#overAlready.add(id);
    for (const oldest of this.#overAlready) {
      if (this.#overAlready.size <= MAX_OWN) break;
      this.#overAlready.delete(oldest);
    }
  }

  async #find(params: JsonObject | undefined): Promise<Task | undefined> {
    const id = taskIdIn(params);
    return id === undefined ? undefined : (this.#own.get(id) ?? (await this.#options.book.find(id)));
  }

  #read(method: string, params: JsonObject | undefined, task: Task): McpRequest {
    const { connection, session } = this.#options;
    return readRequest(method, params, { connection, hints: undefined, masking: session.masking, task: task.headline });
  }

  /** To the process that knows the task, where there is one. */
  #ask(method: string, params: JsonObject | undefined, task: Task, caller: Caller): Promise<Reply> {
    return (task.home() ?? this.#options.forward)(method, { ...params, taskId: task.id }, caller);
  }

  /** Why nothing more is handed out of it; undefined where the policy in force does not deny the call. */
  #denied(task: Task): string | undefined {
    const { actor, connection, protocol, surface, conversation } = this.#options.session.request;
    const context = { actor, connection, protocol, surface, conversationRead: conversation.read };
    for (const part of task.parts) {
      const verdict = this.#options.engine.policy().decide(part, context);
      if (verdict.decision === 'deny') return refusalOf.rule(verdict).sentence;
    }
    return undefined;
  }

  async #refused(task: Task): Promise<string | undefined> {
    return this.#denied(task) ?? (task.tool === '' ? undefined : await this.#options.quarantined(task.tool));
  }

  async #look(task: Task, params: JsonObject | undefined, caller: Caller): Promise<Reply> {
    const denied = this.#denied(task);
    if (denied !== undefined) return this.#turnedAway('tasks/get', task, params, denied, caller);
    return this.#deliver(task, await this.#ask('tasks/get', params, task, caller), params, caller);
  }

  #turnedAway(method: string, task: Task, params: JsonObject | undefined, refused: string, caller: Caller): Promise<Reply> {
    const request = this.#read(method, params, task);
    return this.#options.perform({ method, request, refused, send: async () => NOT_FOUND, target: method }, params, caller);
  }

  /** A task as its server describes it, on its way to the client: what came of it is handed out as what came of the call. */
  async #deliver(task: Task, raw: Reply, params: JsonObject | undefined, caller: Caller): Promise<Reply> {
    if ('error' in raw) return (await maskReply(raw, this.#options.session.masking)).reply;
    const { result, error, inputRequests, ...state } = raw.result;
    if (isOver(state)) this.#over(task);
    const words = maskReply({ result: state }, this.#options.session.masking);
    const masked = words instanceof Promise ? await words : words;
    this.#options.tainted(task.headline, masked);
    const shown = withTaskId(masked.reply, task.shown);
    if ('error' in shown) return shown;
    if (result !== undefined || error !== undefined) return this.#outcome(task, { result, error }, shown.result, params, caller);
    if (inputRequests === undefined) return shown;
    return this.#inputs(task, inputRequests, shown.result);
  }

  async #outcome(
    task: Task,
    { result, error }: { readonly result: Json | undefined; readonly error: Json | undefined },
    state: JsonObject,
    params: JsonObject | undefined,
    caller: Caller,
  ): Promise<Reply> {
    let sent = false;
    const reply = await this.#options.perform(
      {
        method: 'tasks/get',
        request: this.#read('tasks/get', params ?? { taskId: task.shown }, task),
        refused: await this.#refused(task),
        outputSchema: task.outputSchema,
        unfit: refusal('tools/call', UNFIT),
        target: task.headline,
        send: async () => {
          sent = true;
          return outcomeIn(result, error);
        },
      },
      params,
      caller,
    );
    if (!sent) return reply;
    return { result: { ...state, ...('result' in reply ? { result: reply.result } : { error: reply.error as unknown as JsonObject }) } };
  }

  async #result(task: Task, request: McpRequest, params: JsonObject | undefined, caller: Caller): Promise<Reply> {
    const { outputSchema, headline } = task;
    const refused = await this.#refused(task);
    const reply = await this.#options.perform(
      {
        method: 'tasks/result',
        request,
        refused,
        outputSchema,
        unfit: refusal('tools/call', UNFIT),
        target: headline,
        send: (now) => this.#ask('tasks/result', params, task, now),
      },
      params,
      caller,
    );
    this.#over(task);
    return reply;
  }

  async #cancel(task: Task, request: McpRequest, params: JsonObject | undefined, caller: Caller): Promise<Reply> {
    const refused = undefined;
    const send = async (now: Caller): Promise<Reply> => {
      const reply = await this.#ask('tasks/cancel', params, task, now);
      if ('result' in reply) {
        this.#over(task);
        // Nobody need answer any more what was asked for its sake.
        task.asks.abort();
        task.asks = new AbortController();
      }
      return reply;
    };
    return withTaskId(await this.#options.perform({ method: 'tasks/cancel', request, refused, send, target: 'tasks/cancel' }, params, caller), task.shown);
  }

  /** The client's answers to what the server wants to know, as far as it was allowed to ask. */
  async #update(task: Task, params: JsonObject | undefined, caller: Caller): Promise<Reply> {
    const { connection, session, perform } = this.#options;
    const denied = this.#denied(task);
    if (denied !== undefined) return this.#turnedAway('tasks/update', task, params, denied, caller);
    if (!isObject(params?.inputResponses)) return { error: { code: -32_602, message: 'tasks/update needs inputResponses.' } };
    const given = Object.entries(params.inputResponses);
    const known = (): Map<string, string> => new Map([...task.inputs].flatMap(([name, { told, state }]) => (state === 'allowed' ? [[told, name]] : [])));
    let names = known();
    if (given.some(([told]) => !names.has(told))) {
      // It may have been asked before we were there.
      const { inputResponses: _, ...about } = params;
      const raw = await this.#ask('tasks/get', about, task, caller);
      if ('result' in raw && raw.result.inputRequests !== undefined) await this.#inputs(task, raw.result.inputRequests, {});
      names = known();
    }
    const allowed = Object.fromEntries(given.flatMap(([told, response]) => (names.has(told) ? [[names.get(told) ?? '', response]] : [])));
    const clean = withoutSecrets({ result: allowed }, connection, session.masking);
    const inputResponses = 'result' in clean ? clean.result : {};
    const request = this.#read('tasks/update', { ...params, inputResponses }, task);
    const send = (now: Caller): Promise<Reply> => this.#ask('tasks/update', { ...params, inputResponses }, task, now);
    return perform({ method: 'tasks/update', request, refused: undefined, send, target: 'tasks/update' }, params, caller);
  }

  /** What the server wants to know: what is new in it is decided first, and until a person has answered the task is at work. */
  async #inputs(task: Task, requests: Json, state: JsonObject): Promise<Reply> {
    if (!isObject(requests)) return { error: { code: -32_603, message: 'The server asked for something that is not a request.' } };
    const all = Object.entries(requests).map(([name, request]) => ({ name, request, digest: digestOf(request) }));
    const fresh = all.filter(({ name, digest }) => task.inputs.get(name)?.digest !== digest);
    if (task.inputs.size + fresh.length > MAX_INPUTS)
      return { error: { code: -32_603, message: `The server wants to know more than ${MAX_INPUTS} things for one task.` } };
    if (fresh.length > 0) await this.#decide(task, fresh);
    const asked = all.flatMap(({ name }): [string, TaskInput][] => {
      const input = task.inputs.get(name);
      return input ? [[name, input]] : [];
    });
    const allowed = asked.filter(([, input]) => input.state === 'allowed');
    const refused = asked.find(([, input]) => input.state === 'refused');
    if (allowed.length > 0) return { result: { ...state, inputRequests: Object.fromEntries(allowed.map(([, { told, shown }]) => [told, shown])) } };
    if (refused) return { error: { code: -32_000, message: refused[1].sentence } };
    return { result: { ...state, status: 'working', statusMessage: WAITS } };
  }

  /** Resolves when it is decided, or a person has been asked. What is asked together is one operation. */
  #decide(task: Task, fresh: readonly { readonly name: string; readonly request: Json; readonly digest: string }[]): Promise<void> {
    const { connection, session, outwards } = this.#options;
    const { masking } = session;
    const inputs = fresh.map(({ name, digest, request }): TaskInput => {
      const told = masking.scrub(name).text === name ? name : `input-${task.inputs.size + 1}`;
      const input: TaskInput = { told, digest, shown: maskJson(request, masking).value, state: 'deciding', sentence: '' };
      task.inputs.set(name, input);
      return input;
    });
    const shown = Object.fromEntries(inputs.map((input) => [input.told, input.shown]));
    const settle = (state: TaskInput['state'], sentence = ''): void => {
      for (const input of inputs) Object.assign(input, { state, sentence });
    };
    const request = readInputs(shown, { connection, hints: undefined, masking, ofClient: true });
    const signal = AbortSignal.any([task.asks.signal, session.signal]);
    return new Promise((resolve) => {
      let waited = false;
      const asked = (): void => {
        waited = true;
        resolve();
      };
      void outwards('input_required', request, signal, async () => ({ result: {} }), asked)
        .then(
          (reply) => ('error' in reply ? settle('refused', reply.error.message) : settle('allowed')),
          () => settle('refused', 'The proxy failed. Its log says more.'),
        )
        .then(() => {
          resolve();
          if (waited) for (const look of task.watchers) look();
        });
    });
  }

  /** A server may know tasks of others: only this person's are shown. */
  async #list(params: JsonObject | undefined, caller: Caller): Promise<Reply> {
    const { forward, session, tainted } = this.#options;
    const raw = await forward('tasks/list', params, caller);
    if ('error' in raw) return (await maskReply(raw, session.masking)).reply;
    const { tasks, ...rest } = raw.result;
    const own = new Map([...this.#own.values()].map((task) => [task.id, task]));
    const theirs = (Array.isArray(tasks) ? (tasks as readonly Json[]) : []).flatMap((one) => {
      const id = isObject(one) ? taskIdIn(one) : undefined;
      const task = id === undefined ? undefined : (own.get(id) ?? this.#options.book.of(id));
      if (!isObject(one) || task?.owner !== this.#owner || this.#denied(task) !== undefined) return [];
      return [{ raw: one, task }];
    });
    const masked = await maskReply({ result: { ...rest, ...(Array.isArray(tasks) && { tasks: theirs.map((one) => one.raw) }) } }, session.masking);
    tainted('tasks/list', masked);
    if ('error' in masked.reply || !Array.isArray(masked.reply.result.tasks)) return masked.reply;
    const shown = (masked.reply.result.tasks as readonly JsonObject[]).map((one, n) => ({ ...one, taskId: theirs[n]?.task.shown ?? '' }));
    return { result: { ...masked.reply.result, tasks: shown } };
  }
}

function outcomeIn(result: Json | undefined, error: Json | undefined): Reply {
  if (isObject(result)) return { result };
  const { code, message, data } = isObject(error) ? error : {};
  return {
    error: {
      code: typeof code === 'number' ? code : -32_603,
      message: typeof message === 'string' ? message : 'The task failed.',
      ...(data !== undefined && { data }),
    },
  };
}

function digestOf(request: Json): string {
  return createHash('sha256').update(JSON.stringify(request)).digest('hex');
}
