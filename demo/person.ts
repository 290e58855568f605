/** A scripted person at the editor: what `--check`, the editor tests and the pictures have in common. */
import type { FrameLocator, Locator, Page } from 'playwright-core';
import { pressAway } from './press.ts';
import { NOT_OFFERED } from './scriptedModel.ts';
import { runCommand } from './workbench.ts';

/** How long the editor and the agent may take for one step, in milliseconds. */
const STEP_MS = 60_000;
/** How long a menu is waited for before it is opened again, in milliseconds. */
const MENU_MS = 4000;
/** How long a request may take to stand in the conversation before it is said again, in milliseconds. */
const SAID_MS = 10_000;

export class ScriptedPerson {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  /** The editor's one Countersign item in the status bar. */
  get status(): Locator {
    return this.page.locator('.statusbar-item', { hasText: 'Countersign' }).or(this.page.locator('.statusbar-item[id*="countersign"]')).first();
  }

  get chat(): Locator {
    return this.page.locator('.interactive-session');
  }

  /** The panel whose page carries `data-panel`, wherever among the webviews it is. */
  async panel(name: 'approvals' | 'operation'): Promise<FrameLocator> {
    const deadline = Date.now() + STEP_MS;
    for (;;) {
      const count = await this.page.locator('iframe.webview.ready').count();
      for (let i = 0; i < count; i++) {
        const frame = this.page.frameLocator('iframe.webview.ready').nth(i).frameLocator('iframe#active-frame');
        if (
          (await frame
            .locator(`body[data-panel="${name}"]`)
            .count()
            .catch(() => 0)) > 0
        )
          return frame;
      }
      if (Date.now() > deadline) throw new Error(`The ${name} panel did not appear.`);
      await this.page.waitForTimeout(100);
    }
  }

  /** Waits until Countersign says in the status bar that it is on. */
  async waitUntilOn(): Promise<void> {
    await this.status.getByText(/^\s*Countersign\s*$/).waitFor({ timeout: STEP_MS });
  }

  /** Waits until the editor's chat is awake and has its model; the list that woke it has been closed again. */
  async waitForModel(): Promise<void> {
    await this.chat.getByText('Scripted Model').first().waitFor({ timeout: STEP_MS });
    await this.page.locator('.tab', { hasText: 'Language Models' }).waitFor({ state: 'detached', timeout: STEP_MS });
    await runCommand(this.page, 'View: Close All Editors');
  }

  async ask(text: string): Promise<void> {
    await this.waitForAnswer();
    // A new conversation each time: what is waited for must not be found in an earlier answer.
    const said = this.chat.locator('.interactive-item-container').first();
    if ((await said.count()) > 0) {
      await this.page
        .getByRole('button', { name: /^New Chat/ })
        .first()
        .click();
      await said.waitFor({ state: 'detached', timeout: STEP_MS });
    }
    for (const deadline = Date.now() + STEP_MS; ; ) {
      await this.#type(text);
      if (await appears(said, SAID_MS)) return;
      // A conversation that was only just being opened takes what is typed away with the one before.
      if (Date.now() > deadline) throw new Error(`The chat does not take "${text}".`);
    }
  }

  async #type(text: string): Promise<void> {
    const input = this.chat.locator('.interactive-input-part .monaco-editor').first();
    await input.click();
    await input.locator('.native-edit-context:focus, textarea:focus').waitFor({ timeout: STEP_MS });
    await this.page.keyboard.press('ControlOrMeta+A');
    await this.page.keyboard.type(text);
    await this.page.keyboard.press('Enter');
  }

  /** Asks for what takes a tool of a server that has only just been started: the editor offers its tools to the model some time after that. */
  async askOnceOffered(text: string): Promise<void> {
    const missing = this.chat.getByText(NOT_OFFERED).last();
    const theirs = this.chat.locator('.monaco-button', { hasText: 'Allow' }).first();
    for (const deadline = Date.now() + STEP_MS; ; ) {
      await this.ask(text);
      await Promise.any([missing, theirs, this.asks].map((one) => one.waitFor({ timeout: STEP_MS })));
      if (!(await missing.isVisible())) return;
      if (Date.now() > deadline) throw new Error(`The editor does not offer the model what "${text}" takes.`);
    }
  }

  /** Waits until the agent has finished answering. */
  async waitForAnswer(): Promise<void> {
    await this.chat.locator('.chat-response-loading').first().waitFor({ state: 'detached', timeout: STEP_MS });
    await this.page.waitForTimeout(300);
  }

  async waitForChat(text: string | RegExp): Promise<void> {
    await this.chat.getByText(text).last().waitFor({ timeout: STEP_MS });
  }

  async chatText(): Promise<string> {
    return (await this.chat.allInnerTexts()).join('\n');
  }

  /** Where the editor itself asks about a tool before we do, says yes to that, until what the agent does has come to something. */
  async allowToolUntil(done: () => boolean): Promise<void> {
    const allow = this.chat.locator('.monaco-button', { hasText: 'Allow' }).first();
    for (const deadline = Date.now() + STEP_MS; !done() && Date.now() < deadline; ) {
      if (await allow.isVisible()) await allow.click({ timeout: 2000 }).catch(() => undefined);
      await this.page.waitForTimeout(100);
    }
  }

  /** How many requests wait for this person, in the status bar. */
  get asks(): Locator {
    return this.page.locator('.statusbar-item', { hasText: /\d+ asks?/ }).first();
  }

  /** Says yes to the editor's own question about the tool, if it has one, until what the agent asks waits with somebody else. */
  async letToolAsk(other: ScriptedPerson): Promise<void> {
    const theirs = this.chat.locator('.monaco-button', { hasText: 'Allow' }).first();
    await Promise.any([other.asks.waitFor({ timeout: STEP_MS }), theirs.waitFor({ timeout: STEP_MS })]);
    if (await theirs.isVisible()) await theirs.click();
  }

  async openApprovals(): Promise<FrameLocator> {
    await runCommand(this.page, 'Countersign: Show Approvals');
    return this.panel('approvals');
  }

  /**
   * Says yes to the editor's own question about the tool, if it has one, and waits for ours.
   * @returns how long it took from there to the count in the status bar (undefined where the editor did not ask), and
   *   from the count to the request on the screen, in milliseconds.
   */
  async waitForAsk(): Promise<{ countedMs: number | undefined; shownMs: number }> {
    const theirs = this.chat.locator('.monaco-button', { hasText: 'Allow' }).first();
    const { asks } = this;
    await Promise.any([asks.waitFor({ timeout: STEP_MS }), theirs.waitFor({ timeout: STEP_MS })]);
    let startedAt: number | undefined;
    if (await theirs.isVisible()) {
      await theirs.click();
      startedAt = Date.now();
    }
    await asks.waitFor({ timeout: STEP_MS });
    const countedAt = Date.now();
    // Nobody opens the view: it comes by itself.
    const panel = await this.panel('approvals');
    await panel.locator('cs-armed-button.approve').first().waitFor({ timeout: STEP_MS });
    return { countedMs: startedAt === undefined ? undefined : countedAt - startedAt, shownMs: Date.now() - countedAt };
  }

  /** Whether typing would still go where the person was: into the chat. */
  async focusIsInChat(): Promise<boolean> {
    return this.chat.evaluateAll((sessions) => sessions.some((session) => session.contains(document.activeElement)));
  }

  async currentCard(): Promise<string> {
    const panel = await this.panel('approvals');
    return shownText(panel);
  }

  async approve(): Promise<void> {
    const panel = await this.panel('approvals');
    await this.press(panel.locator('cs-armed-button.approve').first());
  }

  /** Presses a button of a panel until it counts. */
  async press(button: Locator): Promise<void> {
    for (const deadline = Date.now() + STEP_MS; ; ) {
      await button.scrollIntoViewIfNeeded({ timeout: STEP_MS });
      // A press counts only after the button has stood still for a moment: as a person would, look first.
      await button.locator('vscode-button:not(.waiting)').waitFor({ timeout: STEP_MS });
      const counts = await button.evaluateHandle((element) => {
        const press = { counted: false };
        element.addEventListener('press', () => Object.assign(press, { counted: true }));
        return press;
      });
      await button.click({ timeout: STEP_MS });
      // What the card learned meanwhile may have moved it under the pointer: such a press does nothing.
      if (await counts.evaluate(({ counted }) => counted)) return;
      if (Date.now() > deadline) throw new Error('The button does not stand still.');
    }
  }

  /** Puts the answered request away, so that what comes next stands open. */
  async done(): Promise<void> {
    const panel = await this.panel('approvals');
    await panel
      .getByRole('button', { name: /^(Done|Next)/ })
      .first()
      .click();
  }

  async deny(note: string): Promise<void> {
    const panel = await this.panel('approvals');
    await panel.locator('vscode-button.deny').first().click();
    const form = panel.locator('cs-deny-form');
    await form.getByRole('textbox').fill(note);
    await form.locator('vscode-button.deny').click();
  }

  /**
   * Signs in to the gateway as a person does: from the Accounts menu, in the browser, at the identity provider.
   * @param asked called where the gateway asks whether the editor may act as them
   */
  async signIn(name: string, asked?: (page: Page) => Promise<void>): Promise<void> {
    const opened = this.page.context().waitForEvent('page', { timeout: STEP_MS });
    opened.catch(() => undefined);
    try {
      await this.#accounts(/^Sign in with Countersign/);
      await this.#who(await opened, name, asked);
    } catch (cause) {
      const said = await this.page.locator('.notification-toast, .monaco-dialog-box').allInnerTexts();
      throw new Error(`${name} could not sign in. On the screen: ${said.join(' | ') || 'no message'}`, { cause });
    }
  }

  /** Approves what policy wants a fresh login for: the first press opens the browser, and after the login there a second one counts. */
  async approveWithFreshLogin(name: string): Promise<void> {
    const opened = this.page.context().waitForEvent('page', { timeout: STEP_MS });
    opened.catch(() => undefined);
    await this.approve();
    await this.#who(await opened, name);
    const panel = await this.panel('approvals');
    await panel.locator('.result', { hasText: 'wants you to sign in again' }).waitFor({ timeout: STEP_MS });
    await this.approve();
  }

  /** Signs out of the gateway, and says yes when it is asked whether that is meant. */
  async signOut(): Promise<void> {
    await runCommand(this.page, 'Countersign: Sign Out of the Gateway');
    await this.page.locator('.monaco-dialog-box').getByRole('button', { name: 'Sign Out' }).click({ timeout: STEP_MS });
  }

  /** Chooses what is there under a name in the Accounts menu. */
  async #accounts(name: RegExp): Promise<void> {
    const button = this.page.getByRole('button', { name: /^Accounts/ }).first();
    const item = this.page.locator('.context-view .action-item, .monaco-menu .action-item').filter({ hasText: name }).last();
    // The entry is there once the extension has said that it may sign in. The menu does not change while it is open, and the
    // editor closes it when something else takes the focus: one looks again, as a person would.
    for (const deadline = Date.now() + STEP_MS; ; ) {
      try {
        await button.click({ timeout: STEP_MS });
        await pressAway(item, MENU_MS);
        return;
      } catch (cause) {
        if (Date.now() > deadline) throw cause;
        await this.page.keyboard.press('Escape');
      }
    }
  }

  /** Says at the identity provider who sits here, on a page that the editor has opened. */
  async #who(page: Page, name: string, asked?: (page: Page) => Promise<void>): Promise<void> {
    await page.getByRole('button', { name: new RegExp(`^${name}`) }).click({ timeout: STEP_MS });
    // A fresh login is for a request that was begun in the gateway; a new one is for an editor, which is asked about.
    const allow = page.getByRole('button', { name: 'Allow' });
    const done = page.getByText(/You have signed in again/);
    await allow.or(done).waitFor({ timeout: STEP_MS });
    if (await allow.isVisible()) {
      await asked?.(page);
      await allow.click({ timeout: STEP_MS });
    }
    await page.getByText(/You are signed in|You have signed in again/).waitFor({ timeout: STEP_MS });
    await page.close();
    await this.page.bringToFront();
  }

  async typeInTerminal(line: string): Promise<void> {
    await runCommand(this.page, 'Terminal: Create New Terminal');
    await this.page.locator('.terminal-wrapper.active .xterm').waitFor({ timeout: STEP_MS });
    await this.page.waitForTimeout(1000);
    await this.page.keyboard.type(line);
    await this.page.keyboard.press('Enter');
  }

  /** Gives the Connections tree its place. */
  async openConnections(): Promise<void> {
    await this.#unfold('Connections', true);
  }

  /** Gives one of our views the whole side bar. */
  async only(view: 'Approvals' | 'Sessions' | 'Connections'): Promise<void> {
    for (const one of ['Approvals', 'Sessions', 'Connections']) await this.#unfold(one, one === view);
  }

  async #unfold(view: string, open: boolean): Promise<void> {
    const header = this.page.locator('.pane-header', { hasText: view }).first();
    await header.waitFor({ timeout: STEP_MS });
    if (((await header.getAttribute('aria-expanded')) === 'true') !== open) await header.click();
  }

  /** Gives the Sessions tree the whole side bar. @param parts waited for: the index follows the record by a moment @returns its text. */
  async openSessions(...parts: readonly string[]): Promise<string> {
    await this.openApprovals();
    await this.only('Sessions');
    const tree = this.page
      .locator('.pane', { has: this.page.locator('.pane-header', { hasText: 'Sessions' }) })
      .locator('.monaco-list')
      .first();
    await tree.waitFor({ timeout: STEP_MS });
    await this.page.waitForTimeout(500);
    for (const deadline = Date.now() + STEP_MS; ; ) {
      const text = await tree.innerText();
      if (parts.every((part) => text.includes(part)) || Date.now() > deadline) return text;
      await this.page.waitForTimeout(100);
    }
  }

  async openOperation(headline: string): Promise<string> {
    await this.page.locator('.monaco-list-row', { hasText: headline }).first().click();
    const panel = await this.panel('operation');
    await panel.getByText('What the agent saw').first().waitFor({ timeout: STEP_MS });
    return shownText(panel);
  }
}

/** What a panel shows, its components' insides too, which `innerText` does not reach. */
function shownText(panel: FrameLocator): Promise<string> {
  return panel.locator('body').evaluate((body) => {
    const texts: string[] = [];
    const visit = (node: Node): void => {
      if (node instanceof Text) texts.push(node.data);
      if (node instanceof HTMLElement && (node.hidden || node.localName === 'style' || node.localName === 'script')) return;
      if (node instanceof HTMLElement && node.shadowRoot) visit(node.shadowRoot);
      for (const child of node instanceof HTMLSlotElement ? node.assignedNodes() : node.childNodes) visit(child);
    };
    visit(body);
    return texts.join('').replaceAll(/[ \t]*\n\s*/g, '\n');
  });
}

function appears(what: Locator, ms: number): Promise<boolean> {
  return what.waitFor({ timeout: ms }).then(
    () => true,
    () => false,
  );
}
