/** Runs the proxy's own statements on a connection that no client uses, one at a time. */
import { Problem } from '../../../contract/problem.ts';
import type { Backend } from './backend.ts';
import { BACK, FieldReader, FrameReader } from './frames.ts';
import { queryMessage, readDiagnostic } from './messages.ts';

/** How long one of our own statements may take, in milliseconds. */
const STATEMENT_TIMEOUT_MS = 30_000;
/** Most rows that one of our own statements may return. */
const MAX_ROWS = 2_000_000;

/** The database refused one of our own statements. */
export class StatementRefused extends Problem {
  readonly sqlstate: string;

  constructor(sqlstate: string, message: string) {
    super('own-statement', `the database refused one of the proxy’s own statements: ${message}`);
    this.sqlstate = sqlstate;
  }
}

interface Running {
  readonly rows: (string | null)[][];
  error?: StatementRefused;
  readonly resolve: (rows: (string | null)[][]) => void;
  readonly reject: (cause: Error) => void;
}

/** @returns a function that runs SQL (simple protocol) and gives the rows of all its statements, values as text */
export function ownQueries(backend: Backend): (sql: string) => Promise<(string | null)[][]> {
  const { socket } = backend;
  const reader = new FrameReader();
  let running: Running | undefined;
  let broken: Error | undefined;
  let late: NodeJS.Timeout | undefined;
  const fail = (cause: Error): void => {
    broken ??= cause;
    clearTimeout(late);
    running?.reject(broken);
    running = undefined;
  };
  socket.on('data', (chunk: Buffer) => {
    try {
      late?.refresh();
      reader.push(chunk);
      while (running && reader.next()) {
        const body = FieldReader.body(reader.buffer, reader.start, reader.end);
        if (reader.type === BACK.dataRow) {
          if (running.rows.length >= MAX_ROWS) throw new Problem('too-large', `the catalog has more than ${MAX_ROWS} rows`);
          running.rows.push(readRow(body));
        } else if (reader.type === BACK.error) {
          const diagnostic = readDiagnostic(reader.buffer, reader.start, reader.end);
          running.error ??= new StatementRefused(diagnostic.get('C') ?? '', diagnostic.get('M') ?? 'error');
        } else if (reader.type === BACK.ready) {
          const { error, resolve, reject, rows } = running;
          running = undefined;
          // Between statements it may rest as long as it likes.
          clearTimeout(late);
          late = undefined;
          if (error === undefined) resolve(rows);
          else reject(error);
        }
      }
    } catch (cause) {
      socket.destroy();
      fail(cause instanceof Error ? cause : new Error(String(cause)));
    }
  });
  socket.on('error', fail);
  socket.on('close', () => fail(new Problem('unreachable', 'the database closed the connection')));
  socket.resume();
  return (sql) =>
    new Promise((resolve, reject) => {
      if (broken) return reject(broken);
      if (running) return reject(new Error('a statement is running already'));
      running = { rows: [], resolve, reject };
      late = setTimeout(() => socket.destroy(new Problem('unreachable', 'the database did not answer in time')), STATEMENT_TIMEOUT_MS);
      socket.write(queryMessage(sql));
    });
}

export function readRow(body: FieldReader): (string | null)[] {
  const count = body.uint16();
  const row: (string | null)[] = [];
  for (let i = 0; i < count; i++) {
    const length = body.int32();
    row.push(length === -1 ? null : body.bytes(length).toString());
  }
  return row;
}
