/** The corpora of this folder: one JSON object a line. */
import { readFileSync } from 'node:fs';

export const corpusFile = (name: string): URL => new URL(name, import.meta.url);

export function corpusLines<Line>(name: 'sql.jsonl' | 'moves.jsonl' | 'found.jsonl'): Line[] {
  return readFileSync(corpusFile(name), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}

/** Every statement of the corpus that says what each is. */
export function statements(): string[] {
  return corpusLines<{ readonly sql?: string }>('sql.jsonl').flatMap(({ sql }) => sql ?? []);
}
