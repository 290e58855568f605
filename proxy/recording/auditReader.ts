/** Reads the audit, and holds it against the last signed checkpoint. */
import { join } from 'node:path';
import { AuditView } from './audit.ts';
import { type ChainReading, readChain } from './chainReader.ts';
import type { CheckpointReading } from './checkpoint.ts';
import { AUDIT_FILE } from './layout.ts';

export interface AuditReading {
  readonly view: AuditView;
  readonly reading: ChainReading | undefined;
  /** Hashes at the places that were asked for. */
  readonly seen: ReadonlyMap<number, string>;
}

/** Reads the audit whole. @param places lengths at which its hash is wanted. */
export async function readAudit(directory: string, ...places: readonly (number | undefined)[]): Promise<AuditReading> {
  const view = new AuditView();
  const seen = new Map<number, string>();
  const reading = await orMissing(
    readChain(join(directory, AUDIT_FILE), {
      session: undefined,
      onLine: (text, seq, _offset, head) => {
        view.take(text, seq);
        if (places.includes(seq + 1)) seen.set(seq + 1, head);
      },
    }),
  );
  return { view, reading, seen };
}

/** What the last signed checkpoint says against the audit. */
export function checkpointProblems(checkpoint: CheckpointReading, { view, reading: audit, seen }: AuditReading): string[] {
  switch (checkpoint.state) {
    case 'none':
      return audit && audit.entries > 0 ? ['The signed checkpoint is missing: it was removed.'] : [];
    case 'bad':
      return [`The signed checkpoint does not hold: ${checkpoint.why}.`];
    case 'good': {
      const { entries, head, key } = checkpoint.checkpoint;
      if (entries === 0) return [];
      if (!audit) return ['The audit was removed: there is a checkpoint and nothing that it covers.'];
      if (audit.entries < entries) return [`The end of the audit was removed: it has ${audit.entries} entries, and a checkpoint was signed over ${entries}.`];
      if (seen.get(entries) !== head) return ['The audit was rewritten: it does not contain what the last checkpoint was signed over.'];
      return view.key === key ? [] : ['The checkpoint’s key is not the one that the audit names.'];
    }
  }
}

/** Undefined where there is no such file. */
export async function orMissing<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
}
