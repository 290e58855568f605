/** A connection for lines, as a bridge has one, with what it brings as a stream. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { type Login, openLines } from '../../proxy/http/openLines.ts';

export interface OpenedLines {
  readonly socket: Socket;
  readonly answers: PassThrough;
}

export async function openedLines(login: Login): Promise<OpenedLines> {
  const lines = await openLines(login);
  assert.ok(lines && lines !== 'login', 'no lines are taken');
  const answers = new PassThrough();
  answers.on('drain', () => lines.socket.resume());
  // What it is handed is borrowed.
  lines.onBytes((bytes) => {
    if (!answers.write(Buffer.from(bytes))) lines.socket.pause();
  });
  return { socket: lines.socket, answers };
}
