/** Problems found in policy files: where, what, and what to do. Collected, never thrown, so that all show at once. */
import type { PolicyProblem } from '../../contract/control.ts';

/** Most problems that one load reports; the rest would say nothing new. */
export const MAX_PROBLEMS = 100;
/** Longest message, in characters (the contract's cap). */
const MAX_MESSAGE_CHARS = 1000;

export type Path = readonly (string | number)[];

/** 1-based, columns in UTF-16 units. `end` is exclusive. */
export interface Place {
  readonly line: number;
  readonly column: number;
  readonly end?: { readonly line: number; readonly column: number };
}

/** A problem with the place's end, for squiggles; the contract's part of it is what other processes see. */
export type Found = PolicyProblem & { readonly end?: Place['end'] };

/** Errors keep a policy from being used; warnings say that something in it has no effect. */
export interface Problems {
  readonly errors: Found[];
  readonly warnings: Found[];
}

export function noProblems(): Problems {
  return { errors: [], warnings: [] };
}

export function found(file: string, place: Place, message: string): Found {
  return {
    file: file.slice(0, MAX_MESSAGE_CHARS),
    line: place.line,
    column: place.column,
    message: message.length > MAX_MESSAGE_CHARS ? `${message.slice(0, MAX_MESSAGE_CHARS - 1)}…` : message,
    ...(place.end && { end: place.end }),
  };
}

/** Only what the contract knows of. */
export function plain(problem: Found): PolicyProblem {
  const { file, line, column, message } = problem;
  return { file, line, column, message };
}
