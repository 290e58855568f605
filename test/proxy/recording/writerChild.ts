/**
 * A process that records until it is killed or its recorder halts. Says `synced <n>` once n operations are on disk, and
 * `halted <sentence>` at the end. Arguments: the recorder's folder, a session's id.
 */
import { writeSync } from 'node:fs';
import { createRecorder } from '../../../proxy/recording/localRecorder.ts';
import { clock, header, intent, outcome, silent } from './records.ts';

const [, , directory = '', session = ''] = process.argv;
const say = (line: string): void => {
  writeSync(1, `${line}\n`);
};

const recorder = await createRecorder({ directory, clock, log: silent, closeGraceMs: 1 });
try {
  const recording = await recorder.open(header(session));
  for (let n = 0; ; ) {
    // Some together, so that a kill also falls between a write and its sync.
    for (let i = 0; i < 1 + (n % 7); i++) {
      recording.append(intent(`op_${n}`, { payload: 'x'.repeat((n * 37) % 3000) }));
      recording.append(outcome(`op_${n}`));
      n++;
    }
    await recording.sync();
    say(`synced ${n}`);
  }
} catch {
  say(`halted ${recorder.halted ?? 'not'}`);
  await recorder.stop('halted');
}
