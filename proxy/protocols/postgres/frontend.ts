/** The frontend's messages, one by one: what each does to the session, and what it needs before it goes upstream. */
import { Problem } from '../../../contract/problem.ts';
import type { Session } from '../../pipeline/session.ts';
import type { Admission, Candidate } from './admission.ts';
import type { Answers } from './answers.ts';
import { CATALOG_LOCKED } from './catalogKeeper.ts';
import type { Batch } from './classify.ts';
import { COPY_REFUSED, CopyGuard, copyFail } from './copyGuard.ts';
import type { Portal, Prepared } from './expected.ts';
import { CALL_REFUSED, readFunctionCall } from './fastPath.ts';
import type { Flight } from './flight.ts';
import { FieldReader, FRONT, IN_TRANSACTION, violation } from './frames.ts';
import type { Ground } from './ground.ts';
import {
  type BindMessage,
  bindMessage,
  describePortal,
  errorResponse,
  executeMessage,
  type OwnError,
  parseMessage,
  queryMessage,
  readBind,
  readParse,
  readyForQuery,
  SQLSTATE,
  SYNC,
} from './messages.ts';
import type { Proposal } from './names.ts';
import type { Outbox } from './outbox.ts';
import type { NamesInSession } from './sessionNames.ts';
import type { StatementInfo } from './sql/classifier.ts';
import type { Revealed } from './tokens.ts';

/** Undefined: done. A promise: those behind it wait. */
export type Wait = Promise<void> | undefined;

export interface FrontendOptions {
  readonly ground: Ground;
  readonly record: Session;
  readonly names: NamesInSession;
  readonly answers: Answers;
  readonly admission: Admission;
  readonly toServer: Outbox;
  readonly readOnly: boolean;
  /** A portal of this name does not exist, and no client can know the name: executing it fails, which aborts a transaction. */
  readonly abortPortal: string;
  /** Until everything that was sent is answered. */
  readonly idle: () => Wait;
  /** Until the server has said whether it takes COPY data. */
  readonly copyAnswered: () => Wait;
  /** Nothing more may be sent until what was changed has been read again. */
  readonly settle: () => void;
  readonly goodbye: () => void;
}

const PORTAL = 0x50;
const STATEMENT = 0x53;

/** A Parse that was not sent yet. */
interface HeldParse {
  readonly frame: Buffer;
  readonly name: string;
  readonly prepared: Prepared;
}

export class Frontend {
  readonly #options: FrontendOptions;
  /** Counts Syncs and Queries: what the server skips after an error ends with its segment. */
  #segment = 0;
  /** Something went upstream since the last of them. */
  #sent = false;
  /** Some of it runs a statement: the server is in a transaction, whatever it said last. */
  executing = false;
  /** Messages are skipped up to the next Sync; `locally` where the server knows nothing of the segment. */
  #skipping: 'no' | 'locally' | 'server' = 'no';
  #held: HeldParse | undefined;

  /** Of the COPY whose data is coming in. */
  #guard: CopyGuard | undefined;

  constructor(options: FrontendOptions) {
    this.#options = options;
  }

  /** The server reads nothing before the client's next Sync. */
  get awaitsSync(): boolean {
    return this.#skipping === 'server';
  }

  /** Something was sent that only a Sync will have answered. */
  get midSegment(): boolean {
    return this.#sent;
  }

  /** A Parse is kept that was not sent yet. */
  get holds(): boolean {
    return this.#held !== undefined;
  }

  /** The server skips the rest of the segment that is being sent. */
  segmentFailed(): void {
    this.#held = undefined;
    this.#skipping = 'server';
  }

  message(type: number, buffer: Buffer, start: number, end: number): Wait {
    if (this.#guard && (type === FRONT.query || type === FRONT.execute)) this.#guard = undefined;
    if (this.#skipping !== 'no' && type !== FRONT.sync && type !== FRONT.terminate) return undefined;
    // A Parse that no Bind follows goes by itself.
    if (this.#held && type !== FRONT.bind && type !== FRONT.terminate) {
      const again = (): Wait => this.message(type, buffer, start, end);
      return after(this.#releaseParse(), again);
    }
    switch (type) {
      case FRONT.query:
        return this.#query(buffer, start, end);
      case FRONT.parse:
        return this.#parse(buffer, start, end);
      case FRONT.bind:
        return this.#bind(buffer, start, end);
      case FRONT.execute:
        return this.#execute(buffer, start, end);
      case FRONT.describe:
        return this.#describe(buffer, start, end);
      case FRONT.close:
        return this.#close(buffer, start, end);
      case FRONT.sync:
        return this.#sync(buffer, start, end);
      case FRONT.flush:
        if (this.#sent) this.#options.toServer.range(buffer, start, end);
        return undefined;
      case FRONT.copyData:
      case FRONT.copyDone:
      case FRONT.copyFail:
        return this.#copy(buffer, start, end);
      case FRONT.terminate:
        this.#options.goodbye();
        return undefined;
      case FRONT.functionCall:
        return this.#functionCall(buffer, start, end);
      default:
        throw violation(`a message of type ${JSON.stringify(String.fromCharCode(type))}`);
    }
  }

  #query(buffer: Buffer, start: number, end: number): Wait {
    const body = FieldReader.body(buffer, start, end);
    const bytes = Buffer.from(body.rawText());
    if (body.left !== 0) throw violation('a Query message with more than its text');
    const { answers, toServer } = this.#options;
    return this.#understood(
      bytes,
      undefined,
      (candidate) => {
        const send = (flight: Flight): void => {
          if (candidate.revealed) toServer.bytes(queryMessage(candidate.revealed.sql));
          else toServer.range(buffer, start, end);
          answers.expect({ kind: 'query', flight });
          this.#endSegment();
        };
        return this.#options.admission.admit(candidate, send, (error) => this.#refuse(error, true));
      },
      true,
    );
  }

  /** Decided as the SELECT that calls the same function. */
  #functionCall(buffer: Buffer, start: number, end: number): Wait {
    const call = readFunctionCall(buffer, start, end);
    if (!call) {
      this.#refuse({ code: SQLSTATE.featureNotSupported, message: CALL_REFUSED }, true);
      return undefined;
    }
    const { admission, answers, toServer } = this.#options;
    const { bind, result, sql, types } = call;
    const send = (flight: Flight): void => {
      toServer.range(buffer, start, end);
      answers.expect({ kind: 'query', flight, call: result });
      this.#endSegment();
    };
    return this.#understood(Buffer.from(sql), { bind, types }, (candidate) => admission.admit(candidate, send, (error) => this.#refuse(error, true)), true);
  }

  #parse(buffer: Buffer, start: number, end: number): Wait {
    const { name, paramTypes, sql } = readParse(buffer, start, end);
    if (name !== '' && this.#options.names.statements.full)
      throw new Problem('too-many', 'Too many prepared statements in one session. Close some, or connect again.');
    // Kept until it is known whether its Bind follows: then it needs no decision of its own, and goes under the Bind's permit.
    this.#held = { frame: buffer.subarray(start, end), name, prepared: { sql: sql.toString(), bytes: Buffer.from(sql), paramTypes } };
    return undefined;
  }

  /** Sends a Parse without its Bind, unless policy denies the statement. Parsing looks names up and runs nothing. */
  #releaseParse(): Wait {
    const held = this.#held;
    if (!held) return undefined;
    return this.#understood(
      bytesOf(held.prepared),
      undefined,
      (candidate) => {
        this.#held = undefined;
        if (!this.#options.admission.denies(candidate)) {
          this.#sendParse(held, candidate.revealed);
          return undefined;
        }
        // Decided once more, for the record; it cannot be sent, whatever comes of it.
        return this.#options.admission.admit(candidate, NEVER_SENT, (error) => this.#refuse(error, false));
      },
      false,
    );
  }

  #sendParse({ frame, name, prepared }: HeldParse, revealed: Revealed | undefined): void {
    const { answers, names, toServer } = this.#options;
    const rewritten = revealed && revealed.literals.size > 0 ? revealed : undefined;
    if (rewritten) prepared.sent = rewritten.sql;
    toServer.bytes(rewritten ? parseMessage(name, rewritten.sql, prepared.paramTypes) : frame);
    this.#sent = true;
    const proposal = names.statements.propose(name, prepared, this.#segment);
    answers.expect({ kind: 'parse', proposal: then(proposal, () => names.parsed(name, prepared)), rewrite: rewritten?.rewrite });
  }

  #bind(buffer: Buffer, start: number, end: number): Wait {
    const { admission, names } = this.#options;
    const bind = readBind(buffer, start, end);
    const again = (): Wait => this.message(FRONT.bind, buffer, start, end);
    if (this.#held && this.#held.name !== bind.statement) return after(this.#releaseParse(), again);
    const carried = this.#held;
    const prepared = carried?.prepared ?? names.statements.lookup(bind.statement, this.#segment);
    if (prepared === 'wait') return after(this.#options.idle(), again);
    if (!prepared) {
      this.#refuse({ code: '26000', message: `prepared statement ${JSON.stringify(bind.statement)} does not exist` }, false);
      return undefined;
    }
    return this.#understood(
      bytesOf(prepared),
      { bind, types: prepared.paramTypes },
      (candidate) => {
        this.#held = undefined;
        const { revealed } = candidate;
        const send = (flight: Flight, batch: Batch): void => {
          if (carried) this.#sendParse(carried, revealed);
          const { toServer } = this.#options;
          if (revealed && revealed.inParams.size > 0) toServer.bytes(bindMessage(bind.with(revealed.params)));
          else toServer.range(buffer, start, end);
          this.#bound(bind, prepared, batch.statements[0] ?? EMPTY, flight);
        };
        return admission.admit(candidate, send, (error) => this.#refuse(error, false));
      },
      false,
      prepared.sql,
    );
  }

  /** A Bind was sent. */
  #bound({ portal: name, resultFormats }: BindMessage, prepared: Prepared, info: StatementInfo, flight: Flight): void {
    const { answers, names } = this.#options;
    this.#sent = true;
    this.executing = true;
    const proposal = names.portals.propose(name, { name, info, flight, prepared, resultFormats }, this.#segment);
    answers.expect({
      kind: 'bind',
      flight,
      proposal: {
        confirm: () => {
          // The unnamed portal is replaced by the next; a named one would have been an error.
          const before = names.portals.confirmed.get(name);
          if (before) answers.closePortal(before);
          proposal.confirm();
          names.bound(name, info);
        },
        drop: () => proposal.drop(),
      },
    });
  }

  #execute(buffer: Buffer, start: number, end: number): Wait {
    const { answers, names, toServer } = this.#options;
    const name = FieldReader.body(buffer, start, end).text();
    const portal = names.portals.lookup(name, this.#segment);
    if (portal === 'wait') return after(this.#options.idle(), () => this.message(FRONT.execute, buffer, start, end));
    if (!portal) {
      this.#refuse({ code: SQLSTATE.invalidCursorName, message: `portal ${JSON.stringify(name)} does not exist` }, false);
      return undefined;
    }
    this.#describeFor(portal);
    toServer.range(buffer, start, end);
    this.#sent = true;
    answers.expect({ kind: 'execute', portal, flight: portal.flight });
    return undefined;
  }

  /** Without a description the rows could not be masked: where the client did not ask for one, we do. */
  #describeFor(portal: Portal): void {
    if (portal.columns || portal.described) return;
    const { answers, toServer } = this.#options;
    const { description } = portal.prepared;
    portal.described = true;
    if (description && description.reading === portal.flight.reading) {
      portal.columns = answers.plans.inFormats(description.columns, portal.resultFormats);
      return;
    }
    toServer.bytes(describePortal(portal.name));
    answers.expect({ kind: 'describe', portal, reading: portal.flight.reading, ours: true });
  }

  #describe(buffer: Buffer, start: number, end: number): Wait {
    const { admission, answers, ground, names, toServer } = this.#options;
    const again = (): Wait => this.message(FRONT.describe, buffer, start, end);
    const body = FieldReader.body(buffer, start, end);
    const kind = body.byte();
    const name = body.text();
    const reading = admission.reading();
    if (!reading)
      return ground.catalogs.fresh().then(
        () => again(),
        (cause: unknown) => this.#notUnderstood(cause, false),
      );
    if (kind === PORTAL) {
      const portal = names.portals.lookup(name, this.#segment);
      if (portal === 'wait') return after(this.#options.idle(), again);
      if (portal) portal.described = true;
      answers.expect({ kind: 'describe', portal, reading: portal?.flight.reading ?? reading, ours: false });
    } else if (kind === STATEMENT) {
      const prepared = names.statements.lookup(name, this.#segment);
      if (prepared === 'wait') return after(this.#options.idle(), again);
      answers.expect({ kind: 'describe', prepared, reading, ours: false });
    } else throw violation('a Describe of neither a statement nor a portal');
    toServer.range(buffer, start, end);
    this.#sent = true;
    return undefined;
  }

  #close(buffer: Buffer, start: number, end: number): Wait {
    const { answers, names, toServer } = this.#options;
    const body = FieldReader.body(buffer, start, end);
    const kind = body.byte();
    const name = body.text();
    let portal: Portal | undefined;
    let proposal: Proposal;
    if (kind === PORTAL) {
      const found = names.portals.lookup(name, this.#segment);
      if (found === 'wait') return after(this.#options.idle(), () => this.message(FRONT.close, buffer, start, end));
      portal = found;
      proposal = then(names.portals.propose(name, undefined, this.#segment), () => names.portalClosed(name));
    } else if (kind === STATEMENT) proposal = then(names.statements.propose(name, undefined, this.#segment), () => names.closed(name));
    else throw violation('a Close of neither a statement nor a portal');
    toServer.range(buffer, start, end);
    this.#sent = true;
    answers.expect({ kind: 'close', portal, proposal });
    return undefined;
  }

  #sync(buffer: Buffer, start: number, end: number): Wait {
    const { answers, toServer } = this.#options;
    // While it takes COPY data, the server ignores it.
    if (answers.copyIn) return undefined;
    const locally = this.#skipping === 'locally';
    this.#skipping = 'no';
    if (locally) {
      // Nothing of this segment went upstream: the server has nothing to be ready from.
      answers.expect({ kind: 'local', bytes: readyForQuery(answers.status) });
      return undefined;
    }
    toServer.range(buffer, start, end);
    answers.expect({ kind: 'sync' });
    this.#endSegment();
    return undefined;
  }

  /** A Query or a Sync went upstream. */
  #endSegment(): void {
    const { admission } = this.#options;
    this.#segment++;
    this.#sent = false;
    this.executing = false;
    admission.doubtful = false;
    if (admission.unsettled !== 'nothing') this.#options.settle();
  }

  #copy(buffer: Buffer, start: number, end: number): Wait {
    const { answers, toServer } = this.#options;
    if (answers.copyIn) {
      const data = buffer[start] === FRONT.copyData;
      if (!data) answers.copyIn = false;
      this.#guard ??= new CopyGuard(this.#options.record.masking);
      // Once it has failed, the rest of the data is dropped; the server says why.
      if (this.#guard.failed) return undefined;
      if (!data || this.#guard.passes(buffer, start + 5, end)) toServer.range(buffer, start, end);
      else toServer.bytes(copyFail(COPY_REFUSED));
      return undefined;
    }
    // Data that nobody asked for is dropped, as the server does.
    if (!answers.copyInExpected) return undefined;
    return after(this.#options.copyAnswered(), () => this.#copy(buffer, start, end));
  }

  /** @param simple of a Query, which has no Sync behind it */
  #understood(bytes: Buffer, bound: Candidate['bound'], go: (candidate: Candidate) => Wait, simple: boolean, sql?: string): Wait {
    const { admission } = this.#options;
    const candidate = admission.understand(bytes, bound, sql);
    if (!(candidate instanceof Promise)) return this.#certain(candidate, bytes, bound, go, simple);
    return candidate.then(
      (late) => (this.#skipping === 'no' ? this.#certain(late, bytes, bound, go, simple) : undefined),
      (cause: unknown) => this.#notUnderstood(cause, simple),
    );
  }

  /** A catalog that is locked is no reason to end the session: this statement fails, as one does that cannot get its lock. */
  #notUnderstood(cause: unknown, simple: boolean): void {
    if (!(cause instanceof Problem) || cause.code !== CATALOG_LOCKED) throw cause;
    this.#held = undefined;
    this.#refuse({ code: SQLSTATE.lockNotAvailable, message: cause.message }, simple);
  }

  /** EXECUTE and FETCH wait until it is certain what their names mean. */
  #certain(candidate: Candidate, bytes: Buffer, bound: Candidate['bound'], go: (candidate: Candidate) => Wait, simple: boolean): Wait {
    const { admission } = this.#options;
    if (!candidate.batch.usesNames || admission.doubtful) return go(candidate);
    if (this.#sent) {
      // A definition of the same segment may still be under way: what the name will mean cannot be waited for.
      admission.doubtful = true;
      return this.#understood(bytes, bound, go, simple);
    }
    if (this.#options.answers.idle) return go(candidate);
    return after(this.#options.idle(), () => this.#understood(bytes, bound, go, simple));
  }

  /**
   * Answers with an error in the place of a message. Where the server is in a transaction, or in the middle of a pipeline
   * that it would commit, it must fail too: it is told to execute a portal that does not exist, and its error for that
   * gives way to ours.
   */
  #refuse(error: OwnError, simple: boolean): void {
    // The server has refused something before it: the client has its error, and skips to its Sync.
    if (this.#skipping !== 'no') return;
    const { abortPortal, answers, toServer } = this.#options;
    const bytes = errorResponse(error);
    if (answers.idle && !this.#sent && answers.status !== IN_TRANSACTION) {
      answers.expect({ kind: 'local', bytes: simple ? Buffer.concat([bytes, readyForQuery(answers.status)]) : bytes });
      if (!simple) this.#skipping = 'locally';
      return;
    }
    toServer.bytes(executeMessage(abortPortal));
    answers.expect({ kind: 'abort', error: bytes });
    if (simple) {
      toServer.bytes(SYNC);
      answers.expect({ kind: 'sync' });
      this.#endSegment();
    } else {
      this.#sent = true;
      this.#skipping = 'server';
    }
  }
}

const NEVER_SENT = (): never => {
  throw new Error('a denied Parse was allowed');
};

/** An empty statement does and gives nothing. */
const EMPTY: StatementInfo = {
  facts: { effect: 'read', verb: 'EMPTY', targets: [], bulk: false, sensitive: [], headline: 'empty query', notes: [] },
  outputs: [],
  sensitiveParams: new Map(),
  touchesSensitive: false,
  changesSession: false,
  flows: [],
};

function bytesOf(prepared: Prepared): Buffer {
  prepared.bytes ??= Buffer.from(prepared.sql);
  return prepared.bytes;
}

function after(wait: Wait, go: () => Wait): Wait {
  return wait ? wait.then(go) : go();
}

function then(proposal: Proposal, confirmed: () => void): Proposal {
  return {
    confirm: () => {
      proposal.confirm();
      confirmed();
    },
    drop: () => proposal.drop(),
  };
}
