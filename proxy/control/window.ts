/** One editor window on the control channel: its requests decoded, its host asked, errors typed. */
import type { Socket } from 'node:net';
import {
  createMessageConnection,
  type Disposable,
  ErrorCodes,
  type MessageConnection,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
} from 'vscode-jsonrpc/node';
import { z } from 'zod';
import { type AnswerResult, ApprovalAnswer } from '../../contract/approval.ts';
import {
  CONTROL_VERSION,
  type ConnectionOutput,
  type DoctorCheck,
  Hello,
  METHODS,
  type OperationDetail,
  type OperationPage,
  OperationQuery,
  type OrganisationText,
  PutGateway,
  PutSecret,
  type RuleProposal,
  type Snapshot,
  type SurfaceAccess,
  type VerifyReport,
  Workspace,
} from '../../contract/control.ts';
import { MAX_ID_LENGTH } from '../../contract/ids.ts';
import { withoutPartialTimer } from '../../contract/messageReader.ts';
import { PinAnswer, type PinAnswered, PinQuery, type PinTexts } from '../../contract/pins.ts';
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../pipeline/engine.ts';
import { CappedFrames } from './frames.ts';
import { type LanguageService, serveLanguage } from './language.ts';

/** LSP's code for a request that was understood and could not be done. */
const REQUEST_FAILED = -32_803;
const SERVER_NOT_INITIALIZED = -32_002;
/** A proxy that was asked to leave answers first, in milliseconds. */
const SHUTDOWN_DELAY_MS = 50;
/** A window that takes in nothing is dropped when this many bytes wait for it. */
const MAX_UNSENT_BYTES = 32 * 1024 * 1024;

/** What a window may ask for. Rejections with a `Problem` reach the window as its code and sentence; others do not. */
export interface WindowHost {
  readonly version: string;
  readonly language: LanguageService;
  snapshot(): Snapshot;
  opened(hello: Hello): void;
  closed(hello: Hello): void;
  answer(answer: ApprovalAnswer): AnswerResult | Promise<AnswerResult>;
  endGrant(id: string): boolean | Promise<boolean>;
  connectionOutput(connection: string): ConnectionOutput;
  pinTexts(query: PinQuery): PinTexts;
  pinAnswer(answer: PinAnswer): PinAnswered;
  operations(query: OperationQuery): OperationPage | Promise<OperationPage>;
  operation(id: string, quick: boolean): OperationDetail | null | Promise<OperationDetail | null>;
  proposeRule(operation: string): Promise<RuleProposal | null>;
  access(window: string): SurfaceAccess;
  putSecret(name: string, value: string | null): void;
  signIn(connection: string): Promise<string>;
  signInPage(connection: string, redirect: string): Promise<string>;
  signOut(connection: string): Promise<void>;
  /** @throws Problem */
  putGateway(given: PutGateway): void;
  workspace(window: string, workspace: Workspace): void | Promise<void>;
  organisationPolicy(): OrganisationText;
  doctor(): Promise<DoctorCheck[]>;
  verify(session: string | undefined): Promise<VerifyReport>;
  /** Begins to leave; the answer goes out first. */
  shutdown(reason: string): void;
}

const Empty = z.object({}).nullish();
const ById = z.object({ id: z.string().min(1).max(MAX_ID_LENGTH) });
const ByOperation = z.object({ operation: z.string().min(1).max(MAX_ID_LENGTH) });
const Verify = z.object({ session: z.string().min(1).max(MAX_ID_LENGTH).optional() });
const ByConnection = z.object({ connection: z.string().min(1).max(200) });
const ByRedirect = ByConnection.extend({ redirect: z.string().min(1).max(2_000) });
const Shutdown = z.object({ reason: z.string().max(200) });

export class ControlWindow {
  readonly #socket: Socket;
  readonly #host: WindowHost;
  readonly #log: Log;
  readonly #rpc: MessageConnection;
  readonly #greeted: () => void;
  #hello: Hello | undefined;
  /** A snapshot that waits for the socket to drain. */
  #waiting: { readonly method: string; readonly params: unknown } | undefined;
  #closed = false;

  /** @param greeted called once the window has said hello. */
  constructor(socket: Socket, host: WindowHost, log: Log, greeted: () => void) {
    this.#socket = socket;
    this.#host = host;
    this.#log = log;
    this.#greeted = greeted;
    const frames = new CappedFrames();
    frames.on('error', () => socket.destroy());
    socket.pipe(frames);
    this.#rpc = createMessageConnection(withoutPartialTimer(new StreamMessageReader(frames)), new StreamMessageWriter(socket));
    this.#rpc.onError(() => socket.destroy());
    socket.on('drain', () => this.#sendWaiting());
    socket.once('close', () => this.#close());
  }

  /** Who it is, once `initialize` has said so and speaks our version. */
  get hello(): Hello | undefined {
    return this.#hello;
  }

  listen(): void {
    this.#requests();
    this.#rpc.listen();
  }

  /** Sends a whole state. While the window is slow only the newest one waits for it. */
  notify(method: string, params: unknown): void {
    if (!this.#hello || this.#closed) return;
    this.#waiting = { method, params };
    this.#sendWaiting();
  }

  /** Sends what must not be passed over. */
  tell(method: string, params: unknown): void {
    if (!this.#hello || this.#closed) return;
    this.#rpc.sendNotification(method, params).catch(() => this.#socket.destroy());
  }

  /** Closes the channel when what was answered has gone out. */
  async end(): Promise<void> {
    if (this.#closed) return;
    const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.end();
    const timer = setTimeout(() => this.#socket.destroy(), 500);
    await closed;
    clearTimeout(timer);
  }

  #sendWaiting(): void {
    if (!this.#waiting || this.#closed) return;
    if (this.#socket.writableLength > MAX_UNSENT_BYTES) return void this.#socket.destroy();
    if (this.#socket.writableNeedDrain) return;
    const { method, params } = this.#waiting;
    this.#waiting = undefined;
    this.#rpc.sendNotification(method, params).catch(() => this.#socket.destroy());
  }

  #close(): void {
    this.#closed = true;
    this.#waiting = undefined;
    this.#rpc.dispose();
    if (this.#hello) this.#host.closed(this.#hello);
  }

  #requests(): void {
    const host = this.#host;
    this.#rpc.onRequest('initialize', (params: unknown) => this.#initialize(params));
    this.#rpc.onNotification('initialized', () => this.notify(METHODS.snapshot, host.snapshot()));
    // The language protocol's own leave-taking is the window's, not the proxy's.
    this.#rpc.onRequest('shutdown', () => null);
    this.#rpc.onNotification('exit', () => void this.#socket.end());

    // Open to every version: an older proxy must be able to make room for a newer one.
    const leave = (reason: string): void => void setTimeout(() => host.shutdown(reason), SHUTDOWN_DELAY_MS);
    this.#method(METHODS.shutdown, Shutdown, ({ reason }) => (leave(reason), {}), { anyVersion: true });

    this.#method(METHODS.answer, ApprovalAnswer, async (answer) => ({ result: await host.answer(answer) }));
    this.#method(METHODS.endGrant, ById, async ({ id }) => ({ ended: await host.endGrant(id) }));
    this.#method(METHODS.pinTexts, PinQuery, (query) => host.pinTexts(query));
    this.#method(METHODS.pinAnswer, PinAnswer, (answer) => host.pinAnswer(answer));
    this.#method(METHODS.operations, OperationQuery, (query) => host.operations(query));
    this.#method(METHODS.operation, ByOperation.extend({ quick: z.boolean().default(false) }), ({ operation, quick }) => host.operation(operation, quick));
    this.#method(METHODS.proposeRule, ByOperation, ({ operation }) => host.proposeRule(operation));
    this.#method(METHODS.access, Empty, (_, hello) => host.access(hello.window));
    this.#method(METHODS.putSecret, PutSecret, ({ name, value }) => (host.putSecret(name, value), {}));
    this.#method(METHODS.signIn, ByConnection, async ({ connection }) => ({ listen: await host.signIn(connection) }));
    this.#method(METHODS.signInPage, ByRedirect, async ({ connection, redirect }) => ({ url: await host.signInPage(connection, redirect) }));
    this.#method(METHODS.signOut, ByConnection, async ({ connection }) => (await host.signOut(connection), {}));
    this.#method(METHODS.connectionOutput, ByConnection, ({ connection }) => host.connectionOutput(connection));
    this.#method(METHODS.putGateway, PutGateway, (given) => (host.putGateway(given), {}));
    this.#method(METHODS.workspace, Workspace, async (workspace, hello) => (await host.workspace(hello.window, workspace), {}));
    this.#method(METHODS.organisationPolicy, Empty, () => host.organisationPolicy());
    this.#method(METHODS.doctor, Empty, async () => ({ checks: await host.doctor() }));
    this.#method(METHODS.verify, Verify, ({ session }) => host.verify(session));
    serveLanguage(this.#rpc, host.language, () => this.#hello !== undefined);
  }

  #initialize(params: unknown): unknown {
    if (this.#hello) throw new ResponseError(ErrorCodes.InvalidRequest, 'The channel is open already.');
    const decoded = z.object({ initializationOptions: Hello }).safeParse(params);
    if (!decoded.success) throw invalid('initialize');
    const hello = decoded.data.initializationOptions;
    const ours = hello.controlVersion === CONTROL_VERSION;
    if (ours) {
      this.#hello = hello;
      this.#host.opened(hello);
      this.#greeted();
    }
    return {
      serverInfo: { name: 'countersign', version: this.#host.version },
      capabilities: {
        ...(ours && this.#host.language.capabilities),
        experimental: { countersign: { controlVersion: CONTROL_VERSION, version: this.#host.version } },
      },
    };
  }

  #method<P>(name: string, decoder: z.ZodType<P>, run: (params: P, hello: Hello) => unknown, options?: { anyVersion: true }): Disposable {
    return this.#rpc.onRequest(name, async (params: unknown): Promise<unknown> => {
      const hello = this.#hello;
      if (!hello && !options?.anyVersion) throw new ResponseError(SERVER_NOT_INITIALIZED, 'Say hello first, in this version of the control channel.');
      const decoded = decoder.safeParse(params);
      if (!decoded.success) throw invalid(name);
      try {
        return await run(decoded.data, hello ?? { controlVersion: 0, extensionVersion: '', window: '', editor: '' });
      } catch (cause) {
        if (cause instanceof Problem) throw new ResponseError(REQUEST_FAILED, cause.message, { code: cause.code });
        this.#log.error('control.request-failed', { method: name, cause });
        throw new ResponseError(ErrorCodes.InternalError, 'The proxy failed. Its log says more.', { code: 'internal' });
      }
    });
  }
}

/** What was wrong with the parameters is not repeated: they may hold a secret. */
function invalid(method: string): ResponseError<{ code: string }> {
  return new ResponseError(ErrorCodes.InvalidParams, `The parameters of ${method} are not what it takes.`, { code: 'invalid-params' });
}
