/** What a client sent → an operation for the pipeline: its digest, its text for a person, its text for the record. */
import type { Digest, OperationId } from '../../../contract/ids.ts';
import type { SessionMasking } from '../../masking/masking.ts';
import type { Engine } from '../../pipeline/engine.ts';
import type { Operation } from '../../pipeline/operation.ts';
import type { PostgresConnection } from '../../policy/policy.ts';
import type { ClientIdentity } from '../protocol.ts';
import type { Batch } from './classify.ts';
import { connectFacts } from './classify.ts';
import { type DryRunSession, dryRunOf, noDryRun } from './dryRun.ts';
import type { Reading } from './flight.ts';
import type { Ground } from './ground.ts';
import { Bind, type BindMessage, formatOf } from './messages.ts';
import { ordinalsAt, recordSql } from './sql/recorded.ts';
import type { Revealed } from './tokens.ts';
import { isTextLike, readable } from './types.ts';

/** Most parameters that are shown, and longest text of one, in characters. The digest covers all of them. */
const MAX_SHOWN_PARAMS = 2000;
const MAX_SHOWN_PARAM = 10_000;
const MASKED_PARAM = '‹masked›';

export interface OperationGround {
  readonly engine: Engine;
  readonly connection: PostgresConnection;
  readonly identity: ClientIdentity;
  readonly masking: SessionMasking;
  /** What the session's dry runs stand on, where it can have any. */
  readonly dryRuns?: { readonly ground: Ground; readonly session: DryRunSession } | undefined;
}

/** Parameters as they were bound: with the statement's text they are the exact bytes that run. */
export interface Bound {
  readonly bind: BindMessage;
  readonly types: readonly number[];
}

/** What one statement is asked for with. */
export interface Asked {
  readonly batch: Batch;
  readonly sql: string;
  /** The same as the client sent it, in bytes that stay. */
  readonly bytes: Uint8Array;
  readonly reading: Reading;
  readonly bound: Bound | undefined;
  /** What goes upstream for it, where it holds tokens. */
  readonly revealed: Revealed | undefined;
}

/** A statement. What only the record or a person needs to know of it is worked out when it is asked for. */
export class StatementOperation implements Operation {
  readonly language = 'sql';
  readonly parts: Batch['parts'];
  readonly payload: string;
  readonly reason: string | undefined;
  readonly readOnly: true | undefined;
  readonly asked: Operation['asked'];
  readonly claim: Operation['claim'];
  readonly noDryRun: string | undefined;
  readonly dryRun: Operation['dryRun'];
  readonly #ground: OperationGround;
  readonly #asked: Asked;
  #id: OperationId | undefined;
  #digest: Digest | undefined;
  #params: Operation['params'] | undefined;
  #recorded: Operation['recorded'] | undefined;

  constructor(ground: OperationGround, asked: Asked) {
    const { dryRuns, identity } = ground;
    this.#ground = ground;
    this.#asked = asked;
    this.parts = asked.batch.parts;
    this.payload = asked.sql;
    this.reason = identity.reason;
    this.readOnly = identity.readOnly ? true : undefined;
    this.asked = identity.held?.asked;
    this.claim = identity.held?.claim;
    if (!dryRuns || asked.batch.reads) return;
    const { batch, bound, reading, revealed, sql } = asked;
    const trial = { sql: revealed?.sql ?? sql, batch, reading, bound: revealed && bound ? sentFor(bound, revealed) : bound, digest: this.digest };
    this.noDryRun = noDryRun(trial, dryRuns.session);
    if (this.noDryRun === undefined) this.dryRun = () => dryRunOf(dryRuns.ground, dryRuns.session, trial);
  }

  get id(): OperationId {
    this.#id ??= this.#ground.engine.newId('op') as OperationId;
    return this.#id;
  }

  get digest(): Digest {
    this.#digest ??= digestOf(this.#ground, this.#asked);
    return this.#digest;
  }

  get shape(): string | undefined {
    return this.#asked.batch.shape;
  }

  get size(): number {
    const { batch, bound } = this.#asked;
    return batch.recorded.length + (bound ? sizeOf(bound.bind) : 0);
  }

  get params(): readonly (string | null)[] {
    const { bound } = this.#asked;
    this.#params ??= bound && bound.bind.params.length > 0 ? shownParams(bound) : NO_PARAMS;
    return this.#params;
  }

  get recorded(): Operation['recorded'] {
    this.#recorded ??= this.#record();
    return this.#recorded;
  }

  #record(): Operation['recorded'] {
    const { batch, revealed, sql } = this.#asked;
    const { masking } = this.#ground;
    const { params } = this;
    return {
      payload: scrubbed(revealed ? recordedWithTokens(sql, batch, revealed) : batch.recorded, masking),
      params: params.length > 0 ? recordedParams(params, batch, masking, revealed) : undefined,
    };
  }
}

function digestOf({ connection, engine }: OperationGround, { bound, bytes, reading, revealed }: Asked): Digest {
  const digested: (string | Uint8Array | null)[] = ['postgres', contextOf(connection, reading), bytes];
  // The values, too: a token stands for one value, and what is approved is what will be done with it.
  if (revealed) digested.push('revealed', revealed.sql, ...revealed.params);
  if (bound && bound.bind.params.length > 0) digested.push(bound.types.join(), bound.bind.paramFormats.join(), ...bound.bind.params);
  return engine.digest(digested);
}

function sizeOf(bind: BindMessage): number {
  if (bind instanceof Bind) return bind.bytes.length;
  let size = 0;
  for (const param of bind.params) size += 4 + (param?.length ?? 0);
  return size;
}

export function connectOperation(engine: Engine, connection: PostgresConnection, identity: ClientIdentity, user: string): Operation {
  const { database, host, port } = connection.upstream;
  const payload = `CONNECT ${database}`;
  return {
    id: engine.newId('op') as OperationId,
    digest: engine.digest(['postgres', 'connect', connection.name, host, String(port), database, user]),
    parts: [connectFacts(database)],
    payload,
    params: [],
    recorded: { payload },
    language: 'text',
    ...(identity.reason !== undefined && { reason: identity.reason }),
    ...(identity.readOnly && { readOnly: true }),
    ...(identity.held && { asked: identity.held.asked, claim: identity.held.claim }),
  };
}

/** A reading belongs to one connection. */
const contexts = new WeakMap<Reading, string>();

function contextOf({ name, upstream: { database, host, port, user } }: PostgresConnection, reading: Reading): string {
  let context = contexts.get(reading);
  if (context === undefined) {
    context = JSON.stringify([name, host, port, database, user ?? '', reading.searchPath]);
    contexts.set(reading, context);
  }
  return context;
}

const NO_PARAMS: readonly (string | null)[] = [];

function scrubbed(text: string, masking: SessionMasking): string {
  return masking.scrub(text).text;
}

function shownParams({ bind, types }: Bound): readonly (string | null)[] {
  return bind.params.slice(0, MAX_SHOWN_PARAMS).map((bytes, i) => {
    if (bytes === null) return null;
    const text = readable(bytes, 0, bytes.length, formatOf(bind.paramFormats, i), types[i] ?? 0);
    return text.length > MAX_SHOWN_PARAM ? `${text.slice(0, MAX_SHOWN_PARAM)}… (${bytes.length} bytes)` : text;
  });
}

/** What was bound, with the values of its tokens. */
function sentFor({ bind, types }: Bound, { params }: Revealed): Bound {
  return { bind: { ...bind, params }, types };
}

/** A token gives nothing away, and says more than that something stood there. */
function recordedWithTokens(sql: string, batch: Batch, { recordable: { literals } }: Revealed): string {
  const { maskedLiterals } = batch;
  if (typeof maskedLiterals === 'string') return batch.recorded;
  const tokens = new Set(ordinalsAt(sql, [...literals]) ?? []);
  return recordSql(
    sql,
    maskedLiterals.filter((ordinal) => !tokens.has(ordinal)),
  );
}

function recordedParams(params: readonly (string | null)[], batch: Batch, masking: SessionMasking, revealed?: Revealed): readonly (string | null)[] {
  return params.map((param, i) => {
    if (param === null || revealed?.recordable.params.has(i)) return param;
    const sensitive = batch.reach === 'code' || batch.statements.some((s) => s.sensitiveParams.has(i + 1));
    return sensitive ? MASKED_PARAM : scrubbed(param, masking);
  });
}

/** Whether a parameter's bytes are text: in binary format, those of text types, and where the server chooses what may be one. */
export function carriesText(format: number, typeOid: number): boolean {
  return format === 0 || typeOid === 0 || isTextLike(typeOid);
}
