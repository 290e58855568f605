/** What a fuzzer feeds: each takes any bytes, and throws where something that must always hold does not. */
import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { Facts } from '../../contract/facts.ts';
import { Problem } from '../../contract/problem.ts';
import { createSessionMasking } from '../../proxy/masking/masking.ts';
import type { MaskPlan } from '../../proxy/policy/policy.ts';
import { ClientGone } from '../../proxy/protocols/postgres/byteSource.ts';
import { shownColumns } from '../../proxy/protocols/postgres/collect.ts';
import type { Action } from '../../proxy/protocols/postgres/columnMask.ts';
import { CopyOut } from '../../proxy/protocols/postgres/copyOut.ts';
import { FrameReader, FrameWriter } from '../../proxy/protocols/postgres/frames.ts';
import { readBind, readDiagnostic, readParse, readRowDescription } from '../../proxy/protocols/postgres/messages.ts';
import { Outbox } from '../../proxy/protocols/postgres/outbox.ts';
import { Rows } from '../../proxy/protocols/postgres/rows.ts';
import { type Catalog, loadCatalog } from '../../proxy/protocols/postgres/sql/catalog.ts';
import { normalise, SqlClassifier } from '../../proxy/protocols/postgres/sql/classifier.ts';
import { loadParser } from '../../proxy/protocols/postgres/sql/parser.ts';
import { greet } from '../../proxy/protocols/postgres/startup.ts';
import { answersTarget } from './answers.ts';
import { sessionTarget } from './session.ts';

export type Target = (data: Buffer) => void | Promise<void>;
export const TARGETS = ['frames', 'messages', 'startup', 'lexer', 'classifier', 'rows', 'copy', 'answers', 'session'] as const;
export type TargetName = (typeof TARGETS)[number];

const PLAN: MaskPlan = { columns: new Map([['public.customers.email', 'redact']]), detectors: new Map(), otherwise: 'redact' };
const SETTINGS = { searchPath: ['public'], standardConformingStrings: true };
const masking = createSessionMasking({ plan: PLAN, hashKey: Buffer.alloc(32, 7) });
const MASK: Action = { kind: 'mask', mask: 'redact', label: 'customers.email', by: 'column', format: 0, form: 'text', typeOid: 25 };
const COLUMN = { name: 'email', tableOid: 0, attnum: 0, typeOid: 25, format: 0 };

/** Only a refusal in so many words may come of bad bytes. */
function tolerant<T>(work: () => T): T | 'refused' {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof Problem) return 'refused';
    throw cause;
  }
}

function framesOf(chunks: readonly Buffer[]): string {
  const reader = new FrameReader();
  const found: string[] = [];
  const ended = tolerant(() => {
    for (const chunk of chunks) {
      reader.push(chunk);
      while (reader.next()) found.push(reader.buffer.toString('latin1', reader.start, reader.end));
    }
    return 'read';
  });
  return JSON.stringify([found, ended]);
}

function frames(data: Buffer): void {
  const whole = framesOf([data]);
  const step = 1 + ((data[0] ?? 0) % 9);
  const cut: Buffer[] = [];
  for (let at = 0; at < data.length; at += step) cut.push(data.subarray(at, at + step));
  assert.equal(framesOf(cut), whole);
}

function messages(data: Buffer): void {
  const frame = new FrameWriter(data.length + 5).begin(0x51).bytes(data).end().take();
  for (const read of [(...at: Parameters<typeof readBind>) => readBind(...at).params, readDiagnostic, readParse, readRowDescription])
    tolerant(() => read(frame, 0, frame.length));
}

async function startup(data: Buffer): Promise<void> {
  const [near, far] = duplexPair();
  for (const stream of [near, far]) stream.on('error', () => {});
  far.resume();
  far.end(data);
  try {
    await greet(near, undefined, AbortSignal.timeout(10_000));
  } catch (cause) {
    if (!(cause instanceof Problem) && !(cause instanceof ClientGone)) throw cause;
  } finally {
    near.destroy();
    far.destroy();
  }
}

function lexer(data: Buffer): void {
  const sql = data.toString();
  assert.equal(normalise(sql), normalise(sql));
}

/** A server without any table: what a statement names is not known, and no name may make that an error. */
function emptyCatalog(): Promise<Catalog> {
  return loadCatalog(async () => []);
}

async function classifier(): Promise<Target> {
  const [classifying, parser, catalog] = [await SqlClassifier.load(), await loadParser(), await emptyCatalog()];
  return (data) => {
    const sql = data.toString();
    const { parts, shape } = classifying.classify(sql, catalog, PLAN, SETTINGS);
    assert.ok(parts.length > 0);
    for (const part of parts) Facts.parse(part);
    if (shape !== undefined) assert.equal(shape, normalise(sql));
    if (!parser.parse(sql).ok) for (const { effect } of parts) assert.equal(effect, 'unknown', 'what cannot be parsed is not understood');
  };
}

const secretOf = (data: Buffer): string => `s3cret-${data.toString('hex').slice(0, 40)}`;

const PLAN_OF_ROWS = {
  columns: [COLUMN, COLUMN],
  actions: [MASK, undefined],
  names: shownColumns([masking.scrub('email').text, masking.scrub('note').text]),
  last: 1,
  masks: true,
} as const;
const rowOf = (first: string, second: Buffer): Buffer => new FrameWriter().begin(0x44).int16(2).field(first).int32(second.length).bytes(second).end().take();
/** More rows than are kept for a person: those behind them are rewritten in another way. */
const FILLER = Buffer.concat(Array.from({ length: 200 }, () => rowOf('a', Buffer.from('b'))));

/** Rows of any bytes; then one that is well-formed, whose masked column may not come through. */
function rows(data: Buffer): void {
  for (const before of [Buffer.alloc(0), FILLER]) {
    const send = (row: Buffer): Buffer => {
      const out = new Outbox();
      const result = new Rows(PLAN_OF_ROWS, masking);
      result.send(before, 0, before.length, out);
      out.take();
      result.send(row, 0, row.length, out);
      return out.take();
    };
    tolerant(() => send(new FrameWriter().begin(0x44).int16(2).bytes(data).end().take()));
    const sent = send(rowOf(secretOf(data), data));
    assert.ok(!sent.includes(secretOf(data)), 'a masked value came through');
    assert.equal(sent.readInt32BE(1), sent.length - 1);
    assert.ok(data.length === 0 || sent.subarray(-data.length).equals(data), 'what is not masked was changed');
  }
}

function copy(data: Buffer): void {
  const shape = { delimiter: '\t', quote: '"', escape: '"', nullText: '\\N', header: false } as const;
  for (const format of ['text', 'csv', 'binary'] as const) {
    const send = (line: Buffer): Buffer => {
      const out = new Outbox();
      const frame = new FrameWriter().begin(0x64).bytes(line).end().take();
      new CopyOut({ ...shape, format }, ['email', 'note'], [MASK, undefined], masking).send(frame, 0, frame.length, out);
      return out.take();
    };
    tolerant(() => send(data));
    if (format === 'binary') continue;
    // The secret stands first: no rest of the row, whatever it is, may bring it through.
    const sent = tolerant(() => send(Buffer.concat([Buffer.from(`${secretOf(data)}\t`), data, Buffer.from('\n')])));
    if (sent !== 'refused') assert.ok(!sent.includes(secretOf(data)), `a masked value came through COPY in ${format}`);
  }
}

export async function targetOf(name: TargetName): Promise<Target> {
  switch (name) {
    case 'frames':
      return frames;
    case 'messages':
      return messages;
    case 'startup':
      return startup;
    case 'lexer':
      return lexer;
    case 'classifier':
      return classifier();
    case 'rows':
      return rows;
    case 'copy':
      return copy;
    case 'answers':
      return answersTarget(masking, await emptyCatalog(), PLAN);
    case 'session':
      return sessionTarget(await SqlClassifier.load(), await emptyCatalog());
  }
}
