/** A scenario in a real editor: one step stands on the other. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { it, type TestContext } from 'node:test';
import type { Page } from 'playwright-core';
import { withLastWords } from '../../demo/lastWords.ts';
import { WAKE_CHAT } from '../../demo/scriptedModel.ts';

export const ROOT = resolve(import.meta.dirname, '../..');

/** The packaged extension. @throws where nobody has built it */
export function packaged(): string {
  const vsix = process.env['COUNTERSIGN_VSIX'] ?? join(ROOT, 'out', 'countersign.vsix');
  for (const file of [vsix, WAKE_CHAT])
    if (!existsSync(file)) throw new Error(`${file} is missing, which the tests in the editor install. Run "npm run build", which makes it.`);
  return vsix;
}

export interface Scenario {
  /** Brings it up. */
  readonly ready: (work: () => Promise<void>) => () => Promise<void>;
  /** What fails says what was on the screens and in the logs; what would come after it is left out, and not waited for. */
  readonly step: (name: string, work: (t: TestContext) => void | Promise<void>) => void;
}

/** @param folder the one that everything of it is kept in */
export function scenario(folder: string, pages: () => Readonly<Record<string, Page | undefined>>): Scenario {
  let failed: string | undefined;
  /** Why it did not come up: said by the first step, once, where a hook's failure would be said by each. */
  let down: unknown;
  const telling = async (work: () => void | Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (cause) {
      throw await withLastWords(cause, pages(), folder);
    }
  };
  return {
    ready: (work) => () =>
      telling(work).catch((cause: unknown) => {
        down = cause;
      }),
    step: (name, work) => {
      it(name, async (t) => {
        if (failed !== undefined) return t.skip(`it stands on what failed: ${failed}`);
        failed = name;
        if (down !== undefined) throw down;
        await telling(() => work(t));
        failed = undefined;
      });
    },
  };
}
