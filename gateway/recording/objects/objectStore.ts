/** Where parts of records lie once their session has ended: a folder, or a bucket. What is written there is never changed. */
export interface ObjectStore {
  /** Names the place: what lies in another one is looked for there. */
  readonly id: string;
  /** For people. */
  readonly title: string;
  /**
   * Resolves when it lies there for good. Something that lies there already stays as it is: whoever puts reads it back.
   * @returns its version, where the place keeps versions
   * @throws Problem `archive-away`
   */
  put(key: string, bytes: Buffer, sha256: Buffer): Promise<string | undefined>;
  /** Undefined: it is not there. @throws Problem `archive-away` */
  get(key: string, version: string | undefined, maxBytes: number): Promise<Buffer | undefined>;
  /** Also of what is not there. @throws Problem `archive-away` */
  remove(key: string, version: string | undefined): Promise<void>;
  /** Tries what it needs, and says what is not as it should be. */
  check(): Promise<readonly Finding[]>;
}

export interface Finding {
  /** It works as it is, and could be better. */
  readonly good: boolean;
  readonly sentence: string;
}

/** What a check writes, reads and removes again. */
export const PROBE = 'check/probe';
