/** What servers were accepted with, where several processes keep it together: the replicas of a gateway. */
import type { PinKind } from '../../contract/pins.ts';
import type { Pinned } from './pinFile.ts';

export interface KeptWaiting {
  readonly kind: PinKind;
  readonly name: string;
  readonly hash: string;
  readonly text: string;
  readonly reasons: readonly string[];
}

/** All that is kept of one connection. */
export interface KeptBook {
  /** Epoch milliseconds of the first contact. */
  readonly since: number;
  readonly kinds: readonly PinKind[];
  readonly pinned: readonly Pinned[];
  readonly rejected: readonly { readonly kind: PinKind; readonly name: string; readonly hash: string }[];
  readonly waiting: readonly KeptWaiting[];
}

/** What one process has to add to it. */
export interface PinNews {
  /** Kinds that were met for the first time, and what was accepted of them without a person. */
  readonly first: ReadonlyMap<PinKind, readonly Pinned[]>;
  /** All that waits for a person, as this process sees the server now. */
  readonly waiting: readonly KeptWaiting[];
}

export interface SharedPins {
  /** Undefined: nothing is kept of it yet. Rejects where it cannot be read: then nothing is trusted. */
  read(connection: string): Promise<KeptBook | undefined>;
  readAll(): Promise<ReadonlyMap<string, KeptBook>>;
  /** @returns false where another process met one of the kinds first: what that one accepted holds */
  keep(connection: string, news: PinNews): Promise<boolean>;
}
