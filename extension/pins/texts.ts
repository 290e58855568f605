/** Definitions as a person reads them, and what is said about those that wait. Pure. */
import type { Quarantined } from '../../contract/pins.ts';
import type { Translate } from '../translate.ts';

/** What cannot be seen, or changes how other characters are seen; tab and line ends are plain. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu;

/** A definition with everything hidden in it written out, so that what is compared is what is there. */
export function readable(text: string): string {
  return text.replace(HIDDEN, (char) =>
    char === '\n' || char === '\t' ? char : `⟦U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}⟧`,
  );
}

/** One line, whatever a server calls its tools. */
export function oneLine(text: string, max = 120): string {
  const line = readable(text).replace(/\s+/g, ' ');
  return line.length > max ? `${line.slice(0, max - 1)}…` : line;
}

export function kindName(kind: Quarantined['kind'], t: Translate): string {
  switch (kind) {
    case 'tool':
      return t('tool');
    case 'prompt':
      return t('prompt');
    case 'template':
      return t('resource template');
    case 'instructions':
      return t('instructions of the server');
  }
}

/** `14 tools, 1 quarantined`; undefined while nothing is known of the server. */
export function pinsText(pins: { readonly tools: number; readonly quarantined: readonly Quarantined[] } | undefined, t: Translate): string | undefined {
  if (!pins) return undefined;
  const waiting = pins.quarantined.filter((one) => !one.rejected).length;
  const rejected = pins.quarantined.length - waiting;
  if (pins.tools === 0 && pins.quarantined.length === 0) return undefined;
  const parts = [pins.tools === 1 ? t('1 tool') : t('{0} tools', pins.tools)];
  if (waiting > 0) parts.push(t('{0} quarantined', waiting));
  if (rejected > 0) parts.push(t('{0} rejected', rejected));
  return parts.join(', ');
}

export function noticeOf(connection: string, items: readonly Quarantined[], t: Translate): string {
  const [first] = items;
  if (!first) return '';
  return items.length === 1
    ? t(
        '{0} offers agents something that you have not seen: {1} “{2}”. They cannot use it until you accept it.',
        connection,
        kindName(first.kind, t),
        oneLine(first.name, 60),
      )
    : t('{0} offers agents {1} things that you have not seen. They cannot use them until you accept them.', connection, items.length);
}
