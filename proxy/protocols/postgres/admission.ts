/** Understands a statement under what is in force, and has it decided: the pipeline's `run`, one operation after the other. */
import type { Facts } from '../../../contract/facts.ts';
import { Problem } from '../../../contract/problem.ts';
import { bytesMayHoldMask, mayHoldMask } from '../../masking/masking.ts';
import { decide } from '../../pipeline/decide.ts';
import { type Awaitable, Later } from '../../pipeline/later.ts';
import type { Operation, Outcome } from '../../pipeline/operation.ts';
import type { Permit } from '../../pipeline/permit.ts';
import { pass, run } from '../../pipeline/run.ts';
import type { Session } from '../../pipeline/session.ts';
import type { ClientIdentity } from '../protocol.ts';
import { CATALOG_LOCKED } from './catalogKeeper.ts';
import { type Batch, classify } from './classify.ts';
import type { DryRunSession } from './dryRun.ts';
import { Flight, type Reading } from './flight.ts';
import type { Ground } from './ground.ts';
import { meaning } from './meaning.ts';
import { Bind, type OwnError, SQLSTATE } from './messages.ts';
import { type Bound, type OperationGround, StatementOperation } from './operations.ts';
import { recordRefused, refusalError } from './refusals.ts';
import type { NamesInSession } from './sessionNames.ts';
import { type Catalog, type Inside, insideTransaction } from './sql/catalog.ts';
import { lookForTokens, type Revealed } from './tokens.ts';

/** A name that the catalog does not know makes it be read again, if it is older than this, in milliseconds. */
const MISS_REFRESH_MS = 250;

export interface AdmissionOptions {
  readonly ground: Ground;
  readonly identity: ClientIdentity;
  readonly record: Session;
  readonly names: NamesInSession;
  readonly failed: (cause: unknown) => void;
  /** Does it once the client has what has come for it. */
  readonly afterwards: (work: () => void) => void;
  /** Called when an operation is not decided at once. */
  readonly waiting: () => void;
  /** Reads what the transaction that is open has changed itself. Undefined: not now. */
  readonly look: (inside: Inside) => Promise<Catalog | undefined>;
  /** What a dry run of this session's statements needs. */
  readonly dryRuns: Pick<DryRunSession, 'login' | 'settled'>;
}

/** One statement as it is about to run. */
export interface Candidate {
  readonly sql: string;
  readonly bytes: Buffer;
  readonly bound?: Bound | undefined;
  readonly batch: Batch;
  readonly reading: Reading;
  readonly operation: Operation;
  /** What goes upstream in place of it, where it holds tokens. */
  readonly revealed?: Revealed | undefined;
}

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #operations: OperationGround;
  #abort = new AbortController();
  #asking = false;
  /** Operations without an outcome. */
  #running = 0;
  #allOver: (() => void) | undefined;
  /** What must be read again from the server before the next statement is understood. */
  unsettled: Batch['unsettles'] = 'nothing';
  /** The rest of this segment is in doubt: something before it changes what names mean. */
  doubtful = false;
  /** The client wants the statement that it has sent, and that is not decided yet, no more. */
  cancelled = false;
  #catalogTouched = false;
  /** The search path was changed in the transaction that is open: its end may take that back. */
  #pathTouched = false;
  /** What the open transaction sees, with all that it has changed; the reading that everybody has, that it stands for. */
  #inside: { readonly shared: Reading; readonly reading: Reading } | undefined;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    const { dryRuns, ground, identity, record } = options;
    this.#operations = {
      engine: ground.engine,
      connection: ground.connection,
      identity,
      masking: record.masking,
      dryRuns: { ground, session: { ...dryRuns, masking: record.masking, understand: (sql, reading) => this.#classify(sql, reading) } },
    };
  }

  /** What statements are understood with now. Undefined: the catalog must be read first. */
  reading(): Reading | undefined {
    const { ground, names } = this.#options;
    const shared = ground.reading(names.searchPath);
    const inside = this.#inside;
    if (!shared || !inside) return shared;
    if (inside.shared === shared) return inside.reading;
    // Where others have changed the catalog, what was seen inside is old, too.
    this.#inside = inside.shared.catalog === shared.catalog ? { shared, reading: { ...shared, catalog: inside.reading.catalog } } : undefined;
    return this.#inside?.reading ?? shared;
  }

  /**
   * Understands a statement; a promise where the catalog must be read first.
   * @param sql the same text, where it is at hand
   * @param looked there is no more to be seen inside of the transaction
   */
  understand(bytes: Buffer, bound?: Bound, sql: string = bytes.toString(), looked = false): Candidate | Promise<Candidate> {
    const { ground } = this.#options;
    let reading = this.reading();
    if (!reading) return ground.catalogs.fresh().then(() => this.understand(bytes, bound, sql, looked));
    const marked = mayHoldMask(sql) || (bound !== undefined && boundMayHoldMask(bound));
    let batch = this.#classify(sql, reading, marked);
    // What the first statements of a text take back, those after them do not see.
    const takesBack = this.#inside !== undefined && batch.endsTransaction && batch.statements.length > 1;
    if (this.#inside && takesBack) {
      reading = this.#inside.shared;
      this.#inside = undefined;
      batch = this.#classify(sql, reading, marked);
    }
    const inside = looked || takesBack ? undefined : this.#hidden(batch, reading);
    if (inside) return this.#look(inside, reading).then(() => this.understand(bytes, bound, sql, true));
    if (batch.misses.length > 0 && ground.catalogs.olderThan(MISS_REFRESH_MS)) {
      ground.catalogs.stale();
      return ground.catalogs.fresh().then(() => this.understand(bytes, bound, sql, looked));
    }
    let revealed: Revealed | undefined;
    if (marked) {
      const looked = lookForTokens(ground.classifier, sql, bound, batch, this.#options.record.masking, reading.plan);
      if (looked.kind === 'revealed') ({ revealed } = looked);
      if (looked.kind === 'refused') batch = { ...batch, refused: batch.refused ?? looked.why };
      else if (looked.writesMask) batch = writingMask(batch);
    }
    const operation = new StatementOperation(this.#operations, { sql, bytes, bound, batch, reading, revealed });
    return { sql, bytes, bound, batch, reading, operation, revealed };
  }

  /** What to ask for where a statement is not understood because of what its own transaction may have changed. */
  #hidden({ misses, statements }: Batch, { catalog }: Reading): Inside | undefined {
    if (!this.#catalogTouched || this.#inside || (misses.length === 0 && !statements.some((s) => s.doubtful || s.refused !== undefined))) return undefined;
    return insideTransaction(catalog, this.#options.names.known.changed ?? NO_NAMES);
  }

  async #look(inside: Inside, shared: Reading): Promise<void> {
    const catalog = await this.#options.look(inside);
    if (catalog) this.#inside = { shared, reading: { ...shared, catalog } };
  }

  /** Whether policy denies it outright, whatever a person would say. */
  denies({ batch, operation }: Candidate): boolean {
    if (batch.refused !== undefined) return true;
    if (operation.readOnly && batch.parts.some((part) => part.effect !== 'read')) return true;
    return decide(this.#options.ground.engine.policy(), this.#options.record, operation).decision === 'deny';
  }

  /**
   * Has it decided and, where that allows it, sent. Undefined: it was sent at once. Otherwise resolves when it was sent or
   * refused; an answer to it is not waited for.
   */
  admit(candidate: Candidate, send: (flight: Flight, batch: Batch) => void, refused: (error: OwnError) => void): Promise<void> | undefined {
    const { afterwards, failed, ground, record } = this.#options;
    const { batch, operation } = candidate;
    if (batch.refused !== undefined) {
      recordRefused(ground.engine, record, operation, batch.refused);
      refused({ code: SQLSTATE.insufficientPrivilege, message: batch.refused });
      return undefined;
    }
    if (this.cancelled) {
      this.cancelled = false;
      recordRefused(ground.engine, record, operation, 'cancelled by the client');
      refused({ code: SQLSTATE.queryCanceled, message: 'canceling statement due to user request' });
      return undefined;
    }
    const passage = pass(ground.engine, record, operation, this.#abort.signal);
    if (passage) {
      // Nothing has been waited for: it is what it was when it was decided.
      passage.permit.use(operation);
      this.#running++;
      this.#forwarded(batch);
      const landed = (flight: Flight): void =>
        afterwards(() => {
          try {
            passage.end(flight, flight.raw);
          } catch (cause) {
            failed(cause);
          } finally {
            this.#landed();
          }
        });
      const flight = this.#flight(candidate, batch, candidate.reading, landed);
      try {
        send(flight, batch);
      } catch (cause) {
        flight.end('failed');
        throw cause;
      }
      return undefined;
    }
    return this.#run(candidate, send, refused);
  }

  /** The same for what may have to wait, or to be refused. */
  #run(candidate: Candidate, send: (flight: Flight, batch: Batch) => void, refused: (error: OwnError) => void): Promise<void> | undefined {
    const { afterwards, failed, ground, record } = this.#options;
    const { batch, operation } = candidate;
    let sent = false;
    let admitted: (() => void) | undefined;
    const go = (batch: Batch, reading: Reading): Awaitable<Outcome> => {
      const outcome = new Later<Outcome>();
      const flight = this.#flight(candidate, batch, reading, (landed) => afterwards(() => outcome.resolve(landed.outcome)));
      sent = true;
      this.#forwarded(batch);
      send(flight, batch);
      admitted?.();
      return outcome;
    };
    const afterWait = async (permit: Permit): Promise<Outcome> => {
      // Others may have changed the schema past us meanwhile. What is allowed by itself has hardly waited.
      if (permit.basis.startsWith('approval:')) ground.catalogs.stale();
      const still = await this.#still(candidate);
      if (!still) return CHANGED;
      permit.use(operation);
      return await go(still.batch, still.reading);
    };
    this.#running++;
    let over = false;
    const ended = (): void => {
      over = true;
      admitted?.();
      this.#landed();
    };
    run(ground.engine, record, operation, this.#abort.signal, (permit) => {
      // Nothing has been waited for: it is what it was when it was decided.
      if (!admitted) {
        permit.use(operation);
        return go(batch, candidate.reading);
      }
      return afterWait(permit);
    }).then(
      (result) => {
        if (!result.forwarded) refused(refusalError(result.refusal));
        else if (!sent) refused({ code: '40001', message: CHANGED.error.message });
        ended();
      },
      (cause) => {
        failed(cause);
        ended();
      },
    );
    if (sent || over) return undefined;
    this.#asking = true;
    this.#options.waiting();
    return new Promise<void>((resolve) => {
      admitted = resolve;
    }).finally(() => {
      this.#asking = false;
    });
  }

  #flight(candidate: Candidate, batch: Batch, reading: Reading, landed: (flight: Flight) => void): Flight {
    const { plan, reach, statements } = batch;
    return new Flight(landed, statements, plan ? { ...reading, plan } : reading, reach, ownText(candidate), candidate.revealed?.rewrite);
  }

  #landed(): void {
    this.#running--;
    if (this.#running === 0) this.#allOver?.();
  }

  /** Withdraws what waits for a person; false where nothing does. */
  withdraw(reason: string): boolean {
    if (!this.#asking) return false;
    const abort = this.#abort;
    this.#abort = new AbortController();
    abort.abort(reason);
    return true;
  }

  /** Resolves when every operation has its outcome. */
  async settled(): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      this.#allOver = resolve;
    });
  }

  /**
   * Whether a statement that may have changed the catalog has been sent.
   * @param last nothing else is under way: what was sent so far has happened
   */
  takeCatalogTouched(last: boolean): boolean {
    const touched = this.#catalogTouched;
    this.#inside = undefined;
    if (touched && last) {
      this.#catalogTouched = false;
      this.#options.names.catalogRead();
    }
    return touched;
  }

  /** Names and settings have been read again. */
  settledNow(inTransaction: boolean): void {
    this.unsettled = 'nothing';
    this.doubtful = false;
    this.#pathTouched = inTransaction;
  }

  #classify(sql: string, reading: Reading, exactly = false): Batch {
    const { ground, identity, names } = this.#options;
    const ending = this.#pathTouched || names.hasTemporary;
    const known = reading === this.#inside?.reading ? { ...names.known, changed: NO_NAMES } : names.known;
    return classify(ground.classifier, sql, reading, known, {
      uncertain: this.doubtful || this.unsettled !== 'nothing',
      uncertainAfterTransaction: ending,
      readOnly: identity.readOnly ?? false,
      exactly,
    });
  }

  #forwarded(batch: Batch): void {
    const { names } = this.#options;
    let unsettles = batch.unsettles;
    if (batch.endsTransaction && names.hasTemporary) unsettles = 'all';
    else if (batch.endsTransaction && this.#pathTouched && unsettles === 'nothing') unsettles = 'path';
    if (unsettles !== 'nothing') {
      if (this.unsettled !== 'all') this.unsettled = unsettles;
      this.doubtful = true;
    }
    if (batch.changesCatalog || batch.endsTransaction) this.#inside = undefined;
    if (batch.changesCatalog) {
      this.#catalogTouched = true;
      for (const { changes } of batch.statements) if (changes) names.changes(changes);
    }
    // From now on, not from when it is done: what is pipelined behind it may read what it moves.
    const flows = batch.statements.flatMap((statement) => statement.flows);
    if (flows.length > 0) {
      this.#options.ground.follow(flows);
      names.moves(flows);
    }
  }

  /** After a wait: whether the statement still means what was approved. The catalog or the masking may be others now. */
  async #still(candidate: Candidate): Promise<{ readonly batch: Batch; readonly reading: Reading } | undefined> {
    const { ground } = this.#options;
    let reading = this.reading();
    while (!reading) {
      try {
        await ground.catalogs.fresh();
      } catch (cause) {
        if (cause instanceof Problem && cause.code === CATALOG_LOCKED) return undefined;
        throw cause;
      }
      reading = this.reading();
    }
    if (reading === candidate.reading) return candidate;
    // Where its values may go was decided by the columns as they were.
    if (candidate.revealed) return undefined;
    const batch = this.#classify(candidate.sql, reading);
    return meaning(batch, reading) === meaning(candidate.batch, candidate.reading) ? { batch, reading } : undefined;
  }
}

const NO_NAMES: ReadonlySet<string> = new Set();

const CHANGED = {
  outcome: 'cancelled',
  masked: 0,
  error: {
    code: '40001',
    message: 'The database’s schema changed while this waited for an answer, or is locked, so that it may not do what was approved. Send it again.',
  },
} as const;

/** It writes what stood in place of a value. */
function writingMask(batch: Batch): Batch {
  const [first, ...rest] = batch.parts;
  const marked = (facts: Facts): Facts => (facts.sql ? { ...facts, sql: { ...facts.sql, masks: true } } : facts);
  return { ...batch, parts: [marked(first), ...rest.map(marked)] };
}

/** Looks at all of a Bind's bytes first: most hold no mark at all. */
function boundMayHoldMask({ bind }: Bound): boolean {
  if (bind instanceof Bind && !bytesMayHoldMask(bind.bytes)) return false;
  return bind.params.some((param) => param !== null && bytesMayHoldMask(param));
}

/** What the client sent, for errors that quote it back. */
function ownText({ bound, operation, sql }: Candidate): () => string {
  return bound ? () => `${sql}\n${operation.params.join('\n')}` : () => sql;
}
