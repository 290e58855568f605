/** Words of others (an agent, a server, a colleague) as part of a line of ours. */
const MAX_CHARS = 120;

/** One line, without control characters and direction marks. */
export function plainLine(text: string, most: number = MAX_CHARS): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim();
  return line.length > most ? `${line.slice(0, most - 1).trimEnd()}…` : line;
}

/** Text in which the editor finds no link. */
export function unlinked(text: string): string {
  return text.replaceAll('](', '] (');
}
