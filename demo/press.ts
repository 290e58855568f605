/**
 * Presses on what the editor shows for a moment: rows of a quick pick, entries of a menu, its input boxes. None of them hears a press in
 * its first tenth of a second; it stays open, and nothing was chosen. So each is pressed until it has gone.
 */
import type { Locator, Page } from 'playwright-core';

/** How long what was pressed may take to go, in milliseconds, before it is pressed again. */
const HEARD_MS = 2_000;
/** How long all of it may take, in milliseconds, from before it is there. */
const WITHIN_MS = 60_000;

/** Presses what goes with the press: a row, an entry. @throws where it was never there to be pressed, or did not go */
export async function pressAway(item: Locator, withinMs: number = WITHIN_MS): Promise<void> {
  await until(item, withinMs, (ms) => item.click({ timeout: ms }));
}

/** Chooses in the quick pick that stands open. @param title of the pick, where the same words could stand in the one before it */
export async function pick(page: Page, row: string | RegExp, title?: string): Promise<void> {
  if (title !== undefined) await titled(page, title).waitFor({ timeout: WITHIN_MS });
  await pressAway(page.locator('.quick-input-list .monaco-list-row', { hasText: row }).first());
}

/** Goes on from the box or the pick of this title as it stands, or with a text in it. */
export async function goOn(page: Page, title: string, text?: string): Promise<void> {
  const input = page.locator('.quick-input-widget input.input, .quick-input-widget input[type=text]').first();
  await until(titled(page, title), WITHIN_MS, async (ms) => {
    await titled(page, title).waitFor({ timeout: ms });
    if (text !== undefined) await input.fill(text, { timeout: ms });
    await input.press('Enter', { timeout: ms });
  });
}

function titled(page: Page, title: string): Locator {
  return page.locator('.quick-input-widget .quick-input-title', { hasText: title });
}

/** @param press tries once, in so many milliseconds; it rejects where there was nothing to press */
async function until(gone: Locator, withinMs: number, press: (ms: number) => Promise<void>): Promise<void> {
  const deadline = Date.now() + withinMs;
  for (let landed = false; ; ) {
    const left = Math.max(1, deadline - Date.now());
    try {
      await press(landed ? Math.min(HEARD_MS, left) : left);
      landed = true;
    } catch (cause) {
      // After a first press it may have gone just now, which is what is looked at next.
      if (!landed) throw cause;
    }
    try {
      await gone.waitFor({ state: 'hidden', timeout: HEARD_MS });
      return;
    } catch (cause) {
      if (Date.now() > deadline) throw cause;
    }
  }
}
