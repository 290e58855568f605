import { html, type TemplateResult } from 'lit';

/** Code points in the codicon font, which the page that hosts the panel loads. An icon never stands without words. */
const ICONS = {
  account: 0xeb99,
  allow: 0xebb3,
  ask: 0xeb32,
  broken: 0xeb76,
  check: 0xeab2,
  chevron: 0xeab6,
  copy: 0xebcc,
  database: 0xeace,
  deny: 0xeabd,
  disconnected: 0xead0,
  down: 0xeab4,
  error: 0xea87,
  history: 0xea82,
  hidden: 0xeae7,
  info: 0xea74,
  key: 0xeb11,
  lock: 0xea75,
  next: 0xeab6,
  nextMark: 0xeacf,
  open: 0xea94,
  pause: 0xead1,
  play: 0xeb2c,
  previous: 0xeab5,
  previousMark: 0xeb8e,
  shield: 0xeb53,
  speech: 0xeac7,
  tools: 0xeb6d,
  verified: 0xebe9,
  warning: 0xea6c,
  watch: 0xeb7c,
} as const;

export type IconName = keyof typeof ICONS;

export function icon(name: IconName, extra = ''): TemplateResult {
  return html`<span class="icon ${extra}" aria-hidden="true">${String.fromCodePoint(ICONS[name])}</span>`;
}
