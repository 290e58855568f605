/** What the server still has to answer, in the order in which it was sent: the server answers in that order. */
import type { CopyOut } from './copyOut.ts';
import type { Flight, Reading } from './flight.ts';
import type { Column } from './messages.ts';
import type { Proposal } from './names.ts';
import type { Rewrite } from './rewrite.ts';
import type { Rows } from './rows.ts';
import type { StatementInfo } from './sql/classifier.ts';

/** A statement that has a name (or the empty one), as the client parsed it; of PREPARE in SQL, that whole statement. */
export interface Prepared {
  readonly sql: string;
  /** `sql` as bytes, once they were needed. */
  bytes?: Buffer;
  /** As the server has it, where the client's text holds tokens. */
  sent?: string;
  /** By OID; 0 where the server chooses. */
  paramTypes: readonly number[];
  /** Its result as the server described it, and what was in force then. */
  description?: { readonly columns: readonly Column[]; readonly reading: Reading };
}

/** A bound statement. */
export interface Portal {
  readonly name: string;
  readonly info: StatementInfo;
  readonly flight: Flight;
  readonly prepared: Prepared;
  readonly resultFormats: readonly number[];
  columns?: readonly Column[] | undefined;
  /** Somebody has asked the server to describe it. */
  described?: boolean;
  rows?: Rows | undefined;
}

export type Expected =
  | { readonly kind: 'parse'; readonly proposal: Proposal; readonly rewrite?: Rewrite | undefined }
  | { readonly kind: 'bind'; readonly proposal: Proposal; readonly flight: Flight }
  | { readonly kind: 'close'; readonly proposal: Proposal; readonly portal?: Portal | undefined }
  | {
      readonly kind: 'describe';
      readonly portal?: Portal | undefined;
      readonly prepared?: Prepared | undefined;
      readonly reading: Reading;
      /** Ours, not the client's: its answer goes no further. */
      readonly ours: boolean;
    }
  | { readonly kind: 'execute'; readonly portal: Portal; readonly flight: Flight; copy?: CopyOut }
  | {
      readonly kind: 'query';
      readonly flight: Flight;
      rows?: Rows | undefined;
      copy?: CopyOut | undefined;
      /** The result of a function call by OID, as the column that it would be. */
      readonly call?: Column;
    }
  | { readonly kind: 'sync' }
  /** Bytes of ours at this place among the answers. */
  | { readonly kind: 'local'; readonly bytes: Buffer }
  /** The server's error for the message that aborts a transaction is replaced by the refusal it stands for. */
  | { readonly kind: 'abort'; readonly error: Buffer }
  /** A query of ours. */
  | { readonly kind: 'ours'; readonly rows: (string | null)[][]; readonly done: (rows: readonly (string | null)[][] | undefined) => void; failed?: boolean };
