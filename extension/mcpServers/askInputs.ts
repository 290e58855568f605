/** Asks the person for what an entry would have its agent ask for (`${input:…}`): now, once, instead of at each start. */
import * as vscode from 'vscode';
import { z } from 'zod';
import type { Definition } from './definition.ts';
import { inputsOf } from './plan.ts';
import type { InputAnswers } from './protect.ts';

const Inputs = z.array(
  z.object({
    id: z.string().max(200),
    type: z.string().max(40).optional(),
    description: z.string().max(1000).optional(),
    default: z.string().max(4000).optional(),
    password: z.boolean().optional(),
    options: z
      .array(z.union([z.string(), z.object({ label: z.string(), value: z.string() })]))
      .max(200)
      .optional(),
  }),
);

/** Undefined: they would rather not, and nothing is protected. */
export async function askInputs(definition: Definition, raw: unknown): Promise<InputAnswers | undefined> {
  const answers = new Map<string, { readonly value: string; readonly secret: boolean }>();
  const known = Inputs.safeParse(raw);
  for (const id of inputsOf(definition)) {
    const input = known.success ? known.data.find((one) => one.id === id) : undefined;
    const title = vscode.l10n.t('Value for "{0}", which the agent would ask for', id);
    if (input?.options && input.options.length > 0) {
      const picked = await vscode.window.showQuickPick(
        input.options.map((option) => (typeof option === 'string' ? { label: option, value: option } : option)),
        { title, placeHolder: input.description ?? id, ignoreFocusOut: true },
      );
      if (picked === undefined) return undefined;
      answers.set(id, { value: picked.value, secret: false });
      continue;
    }
    // What is not known to be harmless is taken for a secret.
    const secret = input?.password ?? input === undefined;
    const value = await vscode.window.showInputBox({
      title,
      prompt: input?.description ?? '',
      password: secret,
      ignoreFocusOut: true,
      ...(input?.default !== undefined && { value: input.default }),
    });
    if (value === undefined) return undefined;
    answers.set(id, { value, secret });
  }
  return answers;
}
