/**
 * Asking for access to a shared connection over a time: what for, on what, how long, who should look at it, and why. The answer is
 * other people's, at the gateway; nothing here grants anything. No editor in here.
 */
import type { PendingApproval } from '../../contract/approval.ts';
import type { AccessRequest } from '../../contract/gateway/approvals.ts';
import type { Translate } from '../translate.ts';

const EFFECTS = ['read', 'write', 'delete', 'schema', 'send', 'execute', 'admin'] as const;
type Effect = (typeof EFFECTS)[number];
const MINUTES = [15, 30, 60, 120, 240, 480] as const;
const MAX_TARGETS = 100;
const MAX_TARGET_CHARS = 300;
const MAX_REASON_CHARS = 2000;

export interface Choice<Value> {
  readonly label: string;
  readonly description?: string;
  readonly value: Value;
  readonly picked?: boolean;
}

/** What the editor does for it; `undefined` where the person gave up. */
export interface AccessUi {
  one<Value>(title: string, choices: readonly Choice<Value>[]): Promise<Value | undefined>;
  several<Value>(title: string, choices: readonly Choice<Value>[]): Promise<readonly Value[] | undefined>;
  text(title: string, prompt: string, value: string, wrong: (text: string) => string | undefined): Promise<string | undefined>;
}

/** What the person was looking at when they asked: the form begins with it. */
export interface AccessStart {
  readonly connection?: string;
  readonly question?: Pick<PendingApproval, 'connection' | 'facts' | 'verdict'>;
}

/** @param connections shared ones, by name. @returns undefined where the person gave up */
export async function askForAccess(ui: AccessUi, connections: readonly string[], start: AccessStart, t: Translate): Promise<AccessRequest | undefined> {
  const { question } = start;
  const connection = start.connection ?? question?.connection ?? (await ui.one(t('Access to which shared connection?'), connections.map(choice)));
  if (connection === undefined) return undefined;
  const approvers = (question?.verdict.approvers ?? []).filter((who) => who !== 'requester');
  // One alone that may answer is no choice.
  const steps = approvers.length < 2 ? 4 : 5;
  const effects = await effectsOf(ui, question?.facts.effect, steps, t);
  if (effects === undefined) return undefined;
  const named = [...new Set(question?.facts.targets.map(({ name }) => name) ?? [])].filter((name) => name !== '' && !name.includes(','));
  const targets = await ui.text(
    t('On what? ({0} of {1})', 2, steps),
    t('Tables, tools or other targets with commas between; * for any. The narrower, the sooner somebody says yes.'),
    named.join(', '),
    (text) => {
      const parts = targetsIn(text);
      if (parts.length === 0) return t('Name at least one target.');
      return parts.length > MAX_TARGETS || parts.some((part) => part.length > MAX_TARGET_CHARS) ? t('That is more than one request can name.') : undefined;
    },
  );
  if (targets === undefined) return undefined;
  const minutes = await ui.one(
    t('For how long? ({0} of {1})', 3, steps),
    MINUTES.map((value) => ({ label: value < 60 ? t('{0} minutes', value) : value === 60 ? t('1 hour') : t('{0} hours', value / 60), value })),
  );
  if (minutes === undefined) return undefined;
  const reviewers =
    approvers.length < 2
      ? []
      : await ui.several(
          t('Who should look at it? Nobody chosen: whoever may. ({0} of {1})', 4, steps),
          approvers.map((who) => ({ label: who, value: who })),
        );
  if (reviewers === undefined) return undefined;
  const reason = await ui.text(t('Why? ({0} of {1})', steps, steps), t('Whoever answers reads this first.'), '', (text) =>
    text.trim() === '' ? t('Say why: nobody can judge it otherwise.') : text.length > MAX_REASON_CHARS ? t('Shorten it.') : undefined,
  );
  if (reason === undefined) return undefined;
  return { connection, effects: [...effects], targets: targetsIn(targets), minutes, reason: reason.trim(), reviewers: [...reviewers] };
}

/** Asked again where nothing is chosen: a form that goes away without a word has lost what was meant. */
async function effectsOf(ui: AccessUi, wanted: string | undefined, steps: number, t: Translate): Promise<readonly Effect[] | undefined> {
  const means: Readonly<Record<Effect, string>> = {
    read: t('look at what is there'),
    write: t('add or change something'),
    delete: t('remove something'),
    schema: t('change how it is built'),
    send: t('send something outside'),
    execute: t('run code, or a tool'),
    admin: t('change how the server is run'),
  };
  const choices = EFFECTS.map((effect) => ({ label: effect, description: means[effect], value: effect, picked: effect === wanted }));
  for (let title = t('What for? ({0} of {1})', 1, steps); ; title = t('Choose at least one. What for? ({0} of {1})', 1, steps)) {
    const chosen = await ui.several(title, choices);
    if (chosen === undefined || chosen.length > 0) return chosen;
  }
}

function choice(name: string): Choice<string> {
  return { label: name, value: name };
}

function targetsIn(text: string): string[] {
  return [
    ...new Set(
      text
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== ''),
    ),
  ];
}
