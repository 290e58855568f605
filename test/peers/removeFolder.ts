import { rmSync } from 'node:fs';

/** A server that has just been stopped may still be letting go of its files. */
export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
