/** What the statements of one text do to those after them. */
import type { StatementInfo } from './info.ts';
import { type Temporary, temporaryFlows, temporaryMade } from './temporary.ts';

export interface Session {
  /** Undefined: not known any more. */
  searchPath: readonly string[] | undefined;
  readonly prepared: Map<string, string>;
  readonly cursors: Map<string, StatementInfo>;
  readonly temporary: Map<string, Temporary>;
  settingsTainted: boolean;
  /** Names that the catalog does not know as they are now. */
  readonly changed: Set<string>;
  /** The search path was set in this text, so that the end of a transaction may take it back. */
  touchedPath: boolean;
}

/** The server reads a whole text first and then goes through it statement by statement. */
export function trackSettings(session: Session, info: StatementInfo, sql: string): void {
  const { control, creates } = info;
  if (info.changesSession) {
    session.searchPath = undefined;
    if (info.touchesSensitive) session.settingsTainted = true;
  }
  if (creates?.temporary) temporaryMade(session.temporary, creates.name, creates.columns);
  temporaryFlows(session.temporary, info.flows);
  if (!control) return;
  switch (control.kind) {
    case 'set':
      if (control.name === 'search_path' || control.name === '*') {
        session.searchPath = control.value;
        session.touchedPath = true;
      }
      break;
    case 'commit':
    case 'rollback':
    case 'rollback-to':
      if (session.touchedPath) session.searchPath = undefined;
      break;
    case 'prepare':
      session.prepared.set(control.name, sql);
      break;
    case 'deallocate':
      if (control.name === undefined) session.prepared.clear();
      else session.prepared.delete(control.name);
      break;
    case 'declare':
      session.cursors.set(control.name, control.statement);
      break;
    case 'close':
      if (control.name === undefined) session.cursors.clear();
      else session.cursors.delete(control.name);
      break;
    case 'discard':
      session.searchPath = undefined;
      session.prepared.clear();
      break;
    case 'begin':
    case 'savepoint':
    case 'release':
    case 'two-phase':
    case 'show':
    case 'execute':
    case 'fetch':
    case 'listen':
      break;
  }
}
