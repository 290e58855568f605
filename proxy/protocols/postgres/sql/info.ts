/** What the wire needs to know of one statement. */
import type { Facts } from '../../../../contract/facts.ts';
import type { MaskKind } from '../../../../contract/verdict.ts';
import type { Flow } from './findings.ts';
import type { TemporaryColumn } from './scope.ts';
import type { SettingChange } from './settings.ts';

/** One result column, by position. */
export type OutputColumn =
  /** Nothing sensitive in it. */
  | { readonly kind: 'clean' }
  /**
   * A plain column, as `schema.table.column`; the mask where it is sensitive. The server names its table, too. Attribute
   * 0 is the whole row, a negative one a system column; both are named `*`.
   */
  | {
      readonly kind: 'origin';
      readonly column: string;
      readonly table: number;
      readonly attribute: number;
      readonly mask?: MaskKind;
      readonly label?: string;
    }
  /**
   * Made from sensitive columns; the server does not say which. Computed from them: that it is NULL or empty can be the answer
   * to a question about them (`substring(ssn from '^1')`).
   */
  | { readonly kind: 'mask'; readonly mask: MaskKind; readonly label: string; readonly computed?: true };

/**
 * Result columns, or `opaque` where their number or meaning is not known: then every column that has no known origin is
 * masked whole. A result that has another number of columns than were foretold is opaque, too.
 */
export type Outputs = readonly OutputColumn[] | 'opaque';

export interface CopyInfo {
  readonly direction: 'out' | 'in';
  /** `client`: over the wire. The others run on the server and are `execute`. */
  readonly via: 'client' | 'file' | 'program';
  readonly format: 'text' | 'csv' | 'binary';
  readonly delimiter: string;
  readonly quote: string;
  readonly escape: string;
  readonly nullText: string;
  readonly header: boolean;
  /** As the statement names it; undefined: the client's encoding. */
  readonly encoding: string | undefined;
  /** `out`: what each field holds, in the order of the fields. */
  readonly columns: Outputs;
}

/** What the statement does to the session, for whoever tracks it. It takes effect only if the statement succeeds. */
export type Control =
  | SettingChange
  | { readonly kind: 'begin'; readonly readOnly: boolean | undefined }
  | { readonly kind: 'commit' | 'rollback'; readonly chain: boolean }
  | { readonly kind: 'savepoint' | 'release' | 'rollback-to'; readonly name: string }
  | { readonly kind: 'two-phase' }
  | { readonly kind: 'show'; readonly name: string }
  | { readonly kind: 'discard'; readonly all: boolean }
  /** `sql` goes into `SqlSettings.prepared` under the name. */
  | { readonly kind: 'prepare'; readonly name: string; readonly sql: string }
  | { readonly kind: 'execute'; readonly name: string }
  | { readonly kind: 'deallocate'; readonly name: string | undefined }
  /** `statement` goes into `SqlSettings.cursors` under the name. */
  | { readonly kind: 'declare'; readonly name: string; readonly hold: boolean; readonly statement: StatementInfo }
  | { readonly kind: 'fetch'; readonly name: string }
  | { readonly kind: 'close'; readonly name: string | undefined }
  | { readonly kind: 'listen'; readonly channel: string };

/** A literal or parameter that is nothing but a value of a sensitive column. */
export interface LiteralPlace {
  /** Byte offset of the literal, or of this mention of the parameter. */
  readonly location: number;
  readonly param?: number;
  readonly use: 'compare' | 'write';
  /** An array of such values: `= ANY ($1)`. */
  readonly array?: true;
  /** `customers.email`. */
  readonly label: string;
  /** What the column is read through. */
  readonly mask: MaskKind;
}

export interface StatementInfo {
  readonly facts: Facts;
  readonly outputs: Outputs;
  /** Parameters that meet a sensitive column: number (1, 2, …) → label. */
  readonly sensitiveParams: ReadonlyMap<number, string>;
  /** Errors, notices and rows of it may hold sensitive values. */
  readonly touchesSensitive: boolean;
  /** Sensitive values that are stored take part in it. Absent where it only writes some, or names their table. */
  readonly reads?: true;
  /** It may change settings, prepared statements, cursors or temporary tables unseen: read them again from the server. */
  readonly changesSession: boolean;
  readonly copy?: CopyInfo;
  readonly control?: Control;
  /** A relation that will be there afterwards; `temporary` ones go into `SqlSettings.temporary`. */
  readonly creates?: { readonly name: string; readonly temporary: boolean; readonly columns: readonly TemporaryColumn[] | 'opaque' };
  /** Where tokens may stand. Absent where they may nowhere. */
  readonly places?: readonly LiteralPlace[];
  /** Literals (byte offset) and parameters (negative number) that go into some column. */
  readonly writes?: ReadonlySet<number>;
  /** It uses such names: even where the server says which column a result comes from, what that holds is not known. */
  readonly doubtful?: true;
  /** Names that mean something else from now on. */
  readonly changes?: readonly string[];
  /** Why it may not run, whatever policy says. */
  readonly refused?: string;
  /** Sensitive data moved into other columns, which should be in the plan from then on. */
  readonly flows: readonly Flow[];
}
