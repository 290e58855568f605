/** How many of the notes used last are offered again. */
const KEPT_NOTES = 3;
/** Longest note that is remembered; longer ones were written for one case, in characters. */
const MAX_KEPT_LENGTH = 300;
/** Kinds of things that are remembered as not to be offered a rule for, and the longest of their keys in characters. */
export const MAX_DECLINED = 50;
const MAX_KEY_LENGTH = 1000;

/** The notes used last, newest first, after one more was used. */
export function rememberNote(notes: readonly string[], used: string): string[] {
  const note = used.trim();
  if (note === '' || note.length > MAX_KEPT_LENGTH) return [...notes];
  return [note, ...notes.filter((n) => n !== note)].slice(0, KEPT_NOTES);
}

/** What was kept by an earlier view of the panel: not trusted to have the right shape. */
export function readNotes(state: unknown): string[] {
  if (typeof state !== 'object' || state === null || !('notes' in state) || !Array.isArray(state.notes)) return [];
  return state.notes.filter((n): n is string => typeof n === 'string' && n.length <= MAX_KEPT_LENGTH).slice(0, KEPT_NOTES);
}

/** The same for what a person wants to go on being asked about. */
export function readDeclined(state: unknown): string[] {
  if (typeof state !== 'object' || state === null || !('declined' in state) || !Array.isArray(state.declined)) return [];
  return state.declined.filter((key): key is string => typeof key === 'string' && key.length <= MAX_KEY_LENGTH).slice(-MAX_DECLINED);
}
