/** What the recorder's thread and the index's thread say to each other. Both are this program, of one version. */
import type { OperationPage, OperationQuery, OperationSummary } from '../../contract/control.ts';
import type { OperationPlaces } from './operationLines.ts';

/** Given to the thread at its start. */
export interface IndexThreadData {
  /** The recorder's folder. */
  readonly directory: string;
}

export type ToIndex =
  /** These files have grown (session → file), while the proxy was busy or not. */
  | { readonly kind: 'grown'; readonly files: ReadonlyMap<string, string>; readonly busy: boolean }
  | { readonly kind: 'operations'; readonly id: number; readonly query: OperationQuery; readonly now: number }
  | { readonly kind: 'find'; readonly id: number; readonly operation: string }
  | { readonly kind: 'stop' };

/** Without places where its session's file has no row yet. */
export type Found = { readonly session: string; readonly summary: OperationSummary; readonly places?: OperationPlaces };

export type FromIndex =
  | { readonly kind: 'changed' }
  | { readonly kind: 'warning'; readonly event: string; readonly fields: Readonly<Record<string, unknown>> }
  /** Without an answer where the index failed; it has said so. */
  | { readonly kind: 'answer'; readonly id: number; readonly answer: OperationPage | Found | undefined };
