import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readNotes, rememberNote } from '../../../webview/approvals/notes.ts';

test('the three notes used last are kept, newest first, each once', () => {
  let notes: string[] = [];
  for (const note of ['a', 'b', ' a ', 'c', 'd', '  ']) notes = rememberNote(notes, note);
  assert.deepEqual(notes, ['d', 'c', 'a']);
});

test('a very long note was meant for one case', () => {
  assert.deepEqual(rememberNote(['a'], 'x'.repeat(301)), ['a']);
});

test('a state of another shape is no notes', () => {
  for (const state of [undefined, null, 1, 'notes', {}, { notes: 'a' }, { notes: [1, null] }]) assert.deepEqual(readNotes(state), []);
  assert.deepEqual(readNotes({ notes: ['a', 2, 'b', 'c', 'd'] }), ['a', 'b', 'c']);
});
