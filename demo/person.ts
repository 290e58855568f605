/** A scripted person at the editor: what `--check`, the editor tests and the pictures have in common. */
import type { FrameLocator, Locator, Page } from 'playwright-core';
import { runCommand } from './workbench.ts';

/** How long the editor and the agent may take for one step, in milliseconds. */
const STEP_MS = 60_000;

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

  /** Makes the built-in chat ready: listing the models is what switches it on where nobody is signed in. */
  async openChat(): Promise<void> {
    await runCommand(this.page, 'Chat: Manage Language Models');
    await this.page.getByText('Scripted Model').first().waitFor({ timeout: STEP_MS });
    await this.page.keyboard.press('Escape');
    await runCommand(this.page, 'View: Close All Editors');
  }

  async ask(text: string): Promise<void> {
    await runCommand(this.page, 'Chat: New Chat');
    await runCommand(this.page, 'Chat: Open Chat (Agent)');
    await this.page.keyboard.type(text);
    await this.page.keyboard.press('Enter');
  }

  /** Where the editor itself asks about a tool before we do, says yes to that. */
  async allowTool(): Promise<void> {
    const allow = this.chat.locator('.monaco-button', { hasText: 'Allow' }).first();
    await allow.waitFor({ timeout: STEP_MS });
    await allow.click();
  }

  async waitForChat(text: string | RegExp): Promise<void> {
    await this.chat.getByText(text).last().waitFor({ timeout: STEP_MS });
  }

  async chatText(): Promise<string> {
    return (await this.chat.allInnerTexts()).join('\n');
  }

  /** The same, where the editor may have been told not to ask. */
  async allowToolIfAsked(): Promise<void> {
    const allow = this.chat.locator('.monaco-button', { hasText: 'Allow' }).first();
    if (
      await allow.waitFor({ timeout: 3000 }).then(
        () => true,
        () => false,
      )
    )
      await allow.click();
  }

  async openApprovals(): Promise<FrameLocator> {
    await runCommand(this.page, 'Countersign: Show Approvals');
    return this.panel('approvals');
  }

  /**
   * Says yes to the editor's own question about the tool, and waits for ours.
   * @returns how long ours took to show, in milliseconds.
   */
  async waitForAsk(): Promise<{ waitedMs: number }> {
    const panel = await this.openApprovals();
    await this.allowTool();
    const startedAt = Date.now();
    await panel.getByRole('button', { name: 'Approve' }).first().waitFor({ timeout: STEP_MS });
    return { waitedMs: Date.now() - startedAt };
  }

  async currentCard(): Promise<string> {
    const panel = await this.panel('approvals');
    return panel.locator('body').innerText();
  }

  async approve(): Promise<void> {
    const panel = await this.panel('approvals');
    await panel.getByRole('button', { name: 'Approve' }).first().click();
  }

  async deny(note: string): Promise<void> {
    const panel = await this.panel('approvals');
    await panel.getByRole('button', { name: 'Deny…' }).first().click();
    await panel.getByRole('textbox').first().fill(note);
    await panel.getByRole('button', { name: 'Deny', exact: true }).first().click();
  }

  async typeInTerminal(line: string): Promise<void> {
    await runCommand(this.page, 'Terminal: Create New Terminal');
    await this.page.locator('.terminal-wrapper.active .xterm').waitFor({ timeout: STEP_MS });
    await this.page.waitForTimeout(1000);
    await this.page.keyboard.type(line);
    await this.page.keyboard.press('Enter');
  }

  /** @returns the text of the Sessions tree. */
  async openSessions(): Promise<string> {
    await runCommand(this.page, 'Countersign: Show Sessions');
    const tree = this.page.locator('.pane', { hasText: 'Sessions' }).locator('.monaco-list').first();
    await tree.waitFor({ timeout: STEP_MS });
    return tree.innerText();
  }

  async openOperation(headline: string): Promise<string> {
    await this.page.locator('.monaco-list-row', { hasText: headline }).first().click();
    const panel = await this.panel('operation');
    await panel.getByText('What the agent saw').first().waitFor({ timeout: STEP_MS });
    return panel.locator('body').innerText();
  }
}
