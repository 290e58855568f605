/** Entry point of the index's thread; see `backgroundIndex.ts`. Bundled by itself. */
import { readlinkSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { basename } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { OperationIndex } from './index.ts';
import type { FromIndex, IndexThreadData, ToIndex } from './indexMessages.ts';

/** How long a word that the proxy is busy counts, in milliseconds. */
const BUSY_FOR_MS = 1_500;

function serve(port: NonNullable<typeof parentPort>, { directory }: IndexThreadData): void {
  const say = (message: FromIndex): void => port.postMessage(message);
  let busyUntil = 0;
  const index = new OperationIndex({
    directory,
    log: {
      warn: (event, fields = {}) => {
        const { cause, ...rest } = fields;
        say({ kind: 'warning', event, fields: { ...rest, ...(cause !== undefined && { cause: cause instanceof Error ? cause.message : 'unknown' }) } });
      },
    },
    onChange: () => say({ kind: 'changed' }),
    busy: () => performance.now() < busyUntil,
  });
  index.start();

  port.on('message', (message: ToIndex) => {
    switch (message.kind) {
      case 'grown':
        busyUntil = message.busy ? performance.now() + BUSY_FOR_MS : 0;
        for (const [session, file] of message.files) index.note(session, file);
        return;
      case 'operations':
        void index.operations(message.query, message.now).then(
          (answer) => say({ kind: 'answer', id: message.id, answer }),
          () => say({ kind: 'answer', id: message.id, answer: undefined }),
        );
        return;
      case 'find':
        void index.find(message.operation).then(
          (answer) => say({ kind: 'answer', id: message.id, answer }),
          () => say({ kind: 'answer', id: message.id, answer: undefined }),
        );
        return;
      case 'stop':
        index.stop();
        port.close();
    }
  });
}

/**
 * The system gives the processor to whoever carries a statement first: the agent, the database and the thread of the bytes
 * wait for each other, and this thread would come between them. Only Linux has a priority for each thread, named like a
 * process; elsewhere the whole proxy would be meant.
 */
function stepBack(): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(Number(basename(readlinkSync('/proc/thread-self'))), constants.priority.PRIORITY_LOW);
  } catch {
    // Not allowed, or no /proc: it works as well, only not as politely.
  }
}

if (parentPort) {
  stepBack();
  serve(parentPort, workerData as IndexThreadData);
}
