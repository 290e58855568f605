/** What a protocol shows the conformance tests. One file and one line in `harnesses.ts` each. */
import type { TestEngine } from '../support/engine.ts';

/** Decision for the harness's write. */
export type Decision = 'allow' | 'ask' | 'deny';

export interface Harness {
  /** As the protocol is registered. */
  readonly protocol: string;
  /** A policy with one connection, under which reads are allowed and writes are decided as told. */
  start(write: Decision): Promise<Running>;
}

export interface Running {
  readonly t: TestEngine;
  /** Puts a policy in force that decides writes otherwise. */
  decideWrites(decision: Decision): void;
  /** All that has reached the upstream so far, as text: what it was sent, seen from its own side. */
  upstream(): Promise<string>;
  client(): Promise<ConformanceClient>;
  /**
   * For every place at which a request or its answer can be cut: what a client got. All of them must be alike.
   * @returns labelled answers
   */
  cutEverywhere(): Promise<readonly { readonly where: string; readonly got: string }[]>;
  stop(): Promise<void>;
}

/** A real client of the protocol. A refused request rejects with what the client was told. */
export interface ConformanceClient {
  /** Reads something harmless; the marker stands in the request. */
  read(marker: string): Promise<string>;
  /** Reads something that holds `CANARY_VALUE`. */
  readSecret(): Promise<string>;
  /** The marker stands in the request, so that it can be found upstream. */
  write(marker: string, signal?: AbortSignal): Promise<string>;
  /** Prepares a write now, to be executed by the function it gives; undefined where the protocol prepares nothing. */
  prepare?(marker: string): Promise<() => Promise<string>>;
  /** Goes away without a word. */
  vanish(): void;
  close(): Promise<void>;
}

export const CANARY_VALUE = '4012888888881881';
