/** Accepted definitions of a test, kept in memory: what would be on disk, to be looked at and spoilt. */
import type { Contents, Loaded, PinStorage } from '../../proxy/pinning/pinFile.ts';

export class PinsInMemory implements PinStorage {
  saved: Contents | undefined;
  spoilt = false;

  load(): Loaded {
    if (this.spoilt) return { state: 'spoilt' };
    return this.saved ? { state: 'read', contents: structuredClone(this.saved) } : { state: 'missing' };
  }

  save(contents: Contents): void {
    this.saved = structuredClone(contents);
  }
}
