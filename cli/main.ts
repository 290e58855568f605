#!/usr/bin/env node
import { text } from 'node:stream/consumers';
import { run } from './run.ts';

// A reader that leaves early (`| head`) is no error.
process.stdout.on('error', (cause: NodeJS.ErrnoException) => {
  if (cause.code !== 'EPIPE') throw cause;
  process.exitCode ??= 0;
});

// That Node's SQLite is new is nothing that whoever reads a record can act on.
process.removeAllListeners('warning').on('warning', ({ name, message }) => {
  if (name !== 'ExperimentalWarning') process.stderr.write(`${name}: ${message}\n`);
});

run(process.argv.slice(2), {
  out: (line) => void process.stdout.write(`${line}\n`),
  error: (line) => void process.stderr.write(`${line}\n`),
  input: () => text(process.stdin),
  cwd: process.cwd(),
}).then(
  (code) => {
    process.exitCode = code;
  },
  (cause: unknown) => {
    process.stderr.write(`${cause instanceof Error ? cause.message : 'The command failed.'}\n`);
    process.exitCode = 1;
  },
);
