/**
 * A person looks at what a server has changed, and says yes or no to exactly that. The commands here only show: an answer goes out
 * after a modal dialog, which no command, URI or terminal can answer, and names the hashes that were on the screen.
 */
import { METHODS } from '../../contract/control.ts';
import { PinAnswered, type PinQuery, type PinsView, PinTexts, type Quarantined } from '../../contract/pins.ts';
import type { Translate } from '../translate.ts';
import { kindName, oneLine, readable } from './texts.ts';

type Item = PinQuery['items'][number];

export interface Shown {
  readonly connection: string;
  readonly items: readonly Item[];
  readonly title: string;
  readonly before: string;
  readonly after: string;
  readonly reasons: readonly string[];
}

/** What the editor does for it. */
export interface ReviewUi {
  pick(connection: string, items: readonly Quarantined[]): Promise<readonly Quarantined[] | undefined>;
  compare(shown: Shown): Promise<void>;
  /** A modal dialog: true where a person pressed the button. */
  confirm(question: string, detail: string, button: string): Promise<boolean>;
  tell(sentence: string): void;
}

export interface ReviewLink {
  request(method: string, params: unknown, schema: typeof PinTexts): Promise<PinTexts>;
  request(method: string, params: unknown, schema: typeof PinAnswered): Promise<PinAnswered>;
}

export interface ReviewDeps {
  readonly ui: ReviewUi;
  readonly link: ReviewLink;
  readonly t: Translate;
}

/** Shows what waits of a server beside what was accepted before. */
export async function review({ ui, link, t }: ReviewDeps, connection: string, pins: PinsView | undefined, wanted?: Item): Promise<void> {
  const waiting = pins?.quarantined ?? [];
  const chosen = wanted ? waiting.filter((one) => one.kind === wanted.kind && one.name === wanted.name) : await ui.pick(connection, waiting);
  if (chosen === undefined) return;
  if (chosen.length === 0) return ui.tell(t('Nothing of {0} waits for you.', connection));
  const items = chosen.map(({ kind, name, hash }) => ({ kind, name, hash }));
  const texts = await link.request(METHODS.pinTexts, { connection, items }, PinTexts);
  if (texts.items.length === 0) return ui.tell(t('It has changed again. Look once more.'));
  const part = (text: string | undefined, item: Item): string =>
    texts.items.length > 1 ? `// ${kindName(item.kind, t)} ${oneLine(item.name)}\n${text ?? ''}` : (text ?? '');
  const [only] = texts.items;
  const what = texts.items.length === 1 && only ? oneLine(only.name, 60) : t('{0} things', texts.items.length);
  await ui.compare({
    connection,
    items: texts.items.map(({ kind, name, hash }) => ({ kind, name, hash })),
    title: t('{0}: {1} (accepted ↔ now)', connection, what),
    before: texts.items.map((item) => part(item.before === undefined ? undefined : readable(item.before), item)).join('\n\n'),
    after: texts.items.map((item) => part(readable(item.after), item)).join('\n\n'),
    reasons: [...new Set(texts.items.flatMap((item) => item.reasons))],
  });
}

/** Asks once more, in a dialog that only a person can answer, then sends the answer to what was shown. */
export async function answer({ ui, link, t }: ReviewDeps, shown: Shown | undefined, yes: boolean): Promise<void> {
  if (!shown) return ui.tell(t('Open the comparison first: an answer counts for what you have seen.'));
  const { connection, items, reasons } = shown;
  const [first] = items;
  const what = items.length === 1 && first ? `${kindName(first.kind, t)} “${oneLine(first.name, 60)}”` : t('{0} things', items.length);
  const question = yes ? t('Accept {0} of {1} as it is now?', what, connection) : t('Keep {0} of {1} from agents?', what, connection);
  const why = reasons.slice(0, 8).map((reason) => `• ${oneLine(reason, 300)}`);
  const detail = [
    ...why,
    '',
    yes ? t('Agents can read it and call it from then on, as long as it stays exactly like this.') : t('It stays out of sight. You can still accept it later.'),
  ].join('\n');
  if (!(await ui.confirm(question, detail, yes ? t('Accept') : t('Reject')))) return;
  const { done, stale } = await link.request(METHODS.pinAnswer, { connection, items, answer: yes ? 'accept' : 'reject' }, PinAnswered);
  if (stale > 0) ui.tell(t('It has changed again since you looked, so your answer did not count for it. Look once more.'));
  else if (done > 0 && yes) ui.tell(t('Accepted: agents can use {0} of {1}.', what, connection));
}
