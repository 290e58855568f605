/** A connection of the dry run's own: one step after the other, rows handed on one by one, cancelled and let go of for sure. */
import { Problem } from '../../../contract/problem.ts';
import type { PostgresConnection } from '../../policy/policy.ts';
import { type Backend, cancelBackend, closeBackend } from './backend.ts';
import { BACK, FieldReader, FRONT, FrameReader, FrameWriter, violation } from './frames.ts';
import { type BindMessage, type Column, queryMessage, readDiagnostic, readRowDescription, rowsOfTag, SYNC } from './messages.ts';

/** Largest message that is taken, in bytes: a row that is larger is too large to be shown. */
const MAX_FRAME_BYTES = 4 * 1024 * 1024;
/** How long the server may take to let go after it was told to, in milliseconds; then the connection is cut. */
const LET_GO_MS = 1500;

/** The server refused a step; its words may quote data and are not kept. */
export class Refused extends Error {
  readonly sqlstate: string;

  constructor(sqlstate: string) {
    super(`refused with SQLSTATE ${sqlstate}`);
    this.sqlstate = sqlstate;
  }
}

/** Parameters as the client bound them. */
export interface Parameters {
  readonly types: readonly number[];
  readonly bind: Pick<BindMessage, 'paramFormats' | 'params'>;
}

export const NO_PARAMETERS: Parameters = { types: [], bind: { paramFormats: [], params: [] } };

export interface Step {
  readonly columns: readonly Column[];
  /** As the server's tag tells it; undefined where rows are left. */
  readonly rows: number | undefined;
}

/** A DataRow's body, which is good until the callback returns. */
export type OnRow = (row: FieldReader, columns: readonly Column[]) => void;

interface Running {
  readonly onRow: OnRow | undefined;
  columns: readonly Column[];
  rows: number | undefined;
  error: Error | undefined;
  readonly resolve: (step: Step) => void;
  readonly reject: (cause: Error) => void;
}

export class DryRunLink {
  readonly #backend: Backend;
  readonly #connection: PostgresConnection;
  readonly #reader = new FrameReader(MAX_FRAME_BYTES);
  #running: Running | undefined;
  /** Resolves when the step that runs is over, well or not. */
  #over: Promise<unknown> = Promise.resolve();
  #broken: Error | undefined;
  /** Nothing but the roll-back is sent any more: whoever is between two steps must not begin the next. */
  #lettingGo = false;

  constructor(connection: PostgresConnection, backend: Backend) {
    this.#connection = connection;
    this.#backend = backend;
    const { socket } = backend;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (cause) => this.#fail(cause));
    socket.on('close', () => this.#fail(new Problem('unreachable', 'the database closed the dry run’s connection')));
    socket.resume();
  }

  /** Statements of our own, without parameters. */
  simple(sql: string, onRow?: OnRow): Promise<Step> {
    return this.#send(queryMessage(sql), onRow);
  }

  /**
   * One statement with the client's parameters, values as text.
   * @param limit most rows that are sent; 0: all
   */
  extended(portal: string, sql: string, { bind, types }: Parameters, limit: number, onRow?: OnRow): Promise<Step> {
    const writer = new FrameWriter(sql.length + 256).begin(FRONT.parse).text('').text(sql).int16(types.length);
    for (const type of types) writer.uint32(type);
    writer.end().begin(FRONT.bind).text(portal).text('').int16(bind.paramFormats.length);
    for (const format of bind.paramFormats) writer.int16(format);
    writer.int16(bind.params.length);
    for (const param of bind.params) {
      if (param === null) writer.int32(-1);
      else writer.int32(param.length).bytes(param);
    }
    writer.int16(0).end().begin(FRONT.describe).byte(0x50).text(portal).end();
    writer.begin(FRONT.execute).text(portal).int32(limit).end().bytes(SYNC);
    return this.#send(writer.take(), onRow);
  }

  /**
   * Rolls back and lets go. Resolves when the server has, or when it has had its time for it: without the connection it
   * rolls back by itself.
   */
  async release(): Promise<void> {
    const { socket } = this.#backend;
    this.#lettingGo = true;
    if (socket.destroyed) return;
    let cut: NodeJS.Timeout | undefined;
    try {
      await Promise.race([
        this.#rolledBack(),
        new Promise<void>((resolve) => {
          cut = setTimeout(resolve, LET_GO_MS);
        }),
      ]);
    } finally {
      clearTimeout(cut);
      if (this.#running || this.#broken) socket.destroy();
      else closeBackend(this.#backend);
    }
  }

  async #rolledBack(): Promise<void> {
    try {
      if (this.#running) {
        await cancelBackend(this.#connection, this.#backend, AbortSignal.timeout(LET_GO_MS)).catch(() => {});
        await this.#over;
      }
      if (!this.#broken) await this.#write(queryMessage('ROLLBACK'), undefined);
    } catch {
      // What could not be rolled back is cut off, which is a rollback too.
      this.#broken ??= new Error('not rolled back');
    }
  }

  #send(bytes: Buffer, onRow: OnRow | undefined): Promise<Step> {
    return this.#lettingGo ? Promise.reject(new Error('given up')) : this.#write(bytes, onRow);
  }

  #write(bytes: Buffer, onRow: OnRow | undefined): Promise<Step> {
    const step = new Promise<Step>((resolve, reject) => {
      if (this.#broken) return reject(this.#broken);
      if (this.#running) return reject(new Error('a step is running already'));
      this.#running = { onRow, columns: [], rows: undefined, error: undefined, resolve, reject };
      this.#backend.socket.write(bytes);
    });
    this.#over = step.then(
      () => {},
      () => {},
    );
    return step;
  }

  #take(chunk: Buffer): void {
    try {
      this.#reader.push(chunk);
      while (this.#reader.next()) this.#message();
    } catch (cause) {
      this.#fail(
        cause instanceof Problem
          ? new Problem('no-dry-run', 'a row is too large to be shown', { cause })
          : cause instanceof Error
            ? cause
            : new Error(String(cause)),
      );
      this.#backend.socket.destroy();
    }
  }

  #message(): void {
    const { buffer, end, start, type } = this.#reader;
    const running = this.#running;
    if (!running) {
      if (type === BACK.notice || type === BACK.parameterStatus || type === BACK.notification) return;
      throw violation(`message ${String.fromCharCode(type)} that answers nothing`);
    }
    switch (type) {
      case BACK.rowDescription:
        running.columns = readRowDescription(buffer, start, end);
        return;
      case BACK.dataRow:
        // What a row's reader throws ends the step, not the connection.
        try {
          if (!running.error) running.onRow?.(FieldReader.body(buffer, start, end), running.columns);
        } catch (cause) {
          running.error = cause instanceof Error ? cause : new Error(String(cause));
        }
        return;
      case BACK.commandComplete:
        running.rows = rowsOfTag(FieldReader.body(buffer, start, end).text());
        return;
      case BACK.error:
        running.error ??= new Refused(readDiagnostic(buffer, start, end).get('C') ?? 'XX000');
        return;
      case BACK.ready: {
        this.#running = undefined;
        if (running.error) running.reject(running.error);
        else running.resolve({ columns: running.columns, rows: running.rows });
        return;
      }
      default:
    }
  }

  #fail(cause: Error): void {
    this.#broken ??= cause;
    const running = this.#running;
    this.#running = undefined;
    running?.reject(this.#broken);
  }
}
