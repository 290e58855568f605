/** The whole record as the proxy uses it: writing, finding, reading again. */
import type { OperationDetail, OperationPage, OperationQuery, OperationSummary, VerifyReport } from '../../contract/control.ts';
import { Entry, type EntryBody } from '../../contract/recording.ts';
import { orMissing } from './auditReader.ts';
import { BackgroundIndex } from './backgroundIndex.ts';
import { createRecorder, type LocalRecorder, type RecorderOptions } from './localRecorder.ts';
import { type OperationLines, readOperationLines } from './operationLines.ts';
import { verifyRecord } from './verify.ts';

export interface RecordOptions extends Omit<RecorderOptions, 'onWritten'> {
  /** Called when there is more to show: at most a few times a second. */
  readonly onChange?: () => void;
}

export interface LocalRecord extends LocalRecorder {
  /** Raised whenever `operations` would answer otherwise. */
  readonly revision: () => number;
  operations(query: OperationQuery): Promise<OperationPage>;
  /** @param quick its own lines alone: how they stand in the record is not looked at then, and not said */
  operation(id: string, quick?: boolean): Promise<OperationDetail | null>;
  verify(session: string | undefined): Promise<VerifyReport>;
}

/** Never rejects: where the folder cannot be used, the record comes up halted and says why. */
export async function openRecord(options: RecordOptions): Promise<LocalRecord> {
  const { directory, clock, log } = options;
  let revision = 0;
  const index = new BackgroundIndex({
    directory,
    log,
    onChange: () => {
      revision++;
      options.onChange?.();
    },
  });
  const recorder = await createRecorder({ ...options, onWritten: (session, file) => index.note(session, file) });
  // Another proxy's index, or a folder that cannot be written, is left alone.
  if (recorder.halted === undefined) index.start();

  return {
    directory,
    get halted() {
      return recorder.halted;
    },
    get fingerprint() {
      return recorder.fingerprint;
    },
    open: (header) => recorder.open(header),
    keepRaw: (operation, raw) => recorder.keepRaw(operation, raw),
    raw: (operation) => recorder.raw(operation),
    flush: () => recorder.flush(),
    revision: () => revision,
    operations: async (query) => {
      // Who has just done something finds it.
      if (recorder.halted === undefined) await recorder.flush();
      return index.operations(query, clock.now());
    },
    operation: async (id, quick = false) => {
      if (recorder.halted === undefined) await recorder.flush();
      const found = await index.find(id);
      if (!found) return null;
      const lines = quick && found.places ? await orMissing(readOperationLines(directory, id, found.places)) : undefined;
      return lines ? detailOf(found.summary, lines, recorder.raw(id)) : await readOperation(directory, found.session, found.summary, recorder.raw(id));
    },
    verify: async (session) => {
      if (recorder.halted === undefined) await recorder.flush();
      const { ok, sessions, entries, problems } = await verifyRecord(directory, session === undefined ? {} : { session });
      return { ok, sessions, entries, problems };
    },
    stop: async (reason) => {
      await recorder.stop(reason);
      await index.stop();
    },
  };
}

type Of<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Reads the session's file again, whole, and checks it on the way. Null where the operation is not in it. */
async function readOperation(directory: string, session: string, summary: OperationSummary, raw?: OperationDetail['raw']): Promise<OperationDetail | null> {
  const mine = `"operation":${JSON.stringify(summary.operation)}`;
  let intent: Of<'operation.intent'> | undefined;
  let approval: Of<'operation.approval'> | undefined;
  let outcome: Of<'operation.outcome'> | undefined;
  const verified = await verifyRecord(directory, {
    session,
    onLine: (text) => {
      if (!text.includes(mine)) return;
      const body = entryOf(text)?.body;
      if (body === undefined || !('operation' in body) || body.operation !== summary.operation) return;
      if (body.type === 'operation.intent') intent ??= body;
      // Asked again after a change of policy: the last answer is the one that counted.
      else if (body.type === 'operation.approval') approval = body;
      else if (body.type === 'operation.outcome') outcome ??= body;
    },
  });
  if (!intent) return null;
  const problem = verified.problems[0];
  const { ok, reading } = verified;
  return {
    ...detailOf(summary, { intent, ...(approval && { approval }), ...(outcome && { outcome }) }, raw),
    verified: { ok, entries: reading?.entries ?? 0, head: reading?.head ?? '', ...(problem !== undefined && { problem }) },
  };
}

function detailOf(summary: OperationSummary, { approval, intent, outcome }: OperationLines, raw: OperationDetail['raw']): OperationDetail {
  return {
    summary,
    payload: intent.payload,
    params: intent.params ?? [],
    facts: intent.facts,
    verdict: intent.verdict,
    ...(approval && {
      approval: {
        answer: approval.answer,
        why: approval.why,
        ...(approval.by && { by: approval.by }),
        ...(approval.note !== undefined && { note: approval.note }),
        waitedMs: approval.waitedMs,
      },
    }),
    ...(outcome?.error && { error: outcome.error }),
    ...(outcome?.answer && { answer: outcome.answer }),
    ...(raw && { raw }),
  };
}

function entryOf(text: string): Entry | undefined {
  try {
    return Entry.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
