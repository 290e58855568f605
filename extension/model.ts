/** What this window knows: how the link stands and the last snapshot. One source for every surface. */
import * as vscode from 'vscode';
import type { Person } from '../contract/actor.ts';
import type { PendingApproval } from '../contract/approval.ts';
import type { Snapshot } from '../contract/control.ts';
import { mine } from './approvals/attention.ts';
import { CONTEXT } from './ids.ts';
import type { ProxyLink } from './proxyLink/link.ts';
import type { LinkState } from './proxyLink/linkState.ts';

export class Model implements vscode.Disposable {
  readonly #link: ProxyLink;
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #subscriptions: vscode.Disposable[];
  readonly #context = new Map<string, boolean>();
  #snapshot: Snapshot | undefined;

  readonly onDidChange = this.#changed.event;

  constructor(link: ProxyLink) {
    this.#link = link;
    this.#subscriptions = [
      link.onDidChange((state) => {
        // Without the proxy nothing can be answered: asks of a dead connection must not stay on the screen.
        if (state.kind !== 'on') this.#snapshot = undefined;
        this.#publish();
      }),
      link.onSnapshot((snapshot) => {
        this.#snapshot = snapshot;
        this.#publish();
      }),
    ];
  }

  get link(): LinkState {
    return this.#link.state;
  }

  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  get me(): Person | undefined {
    return this.#snapshot?.person;
  }

  get waiting(): PendingApproval[] {
    return mine(this.#snapshot?.pending ?? [], this.me);
  }

  dispose(): void {
    for (const subscription of this.#subscriptions) subscription.dispose();
    this.#changed.dispose();
  }

  #publish(): void {
    this.#setContext(CONTEXT.on, this.link.kind === 'on');
    this.#setContext(CONTEXT.off, this.link.kind === 'off');
    this.#setContext(CONTEXT.mayTakeOver, this.link.kind === 'failed' && this.link.takeOver);
    this.#setContext(CONTEXT.connected, (this.#snapshot?.connections.length ?? 0) > 0);
    if ((this.#snapshot?.recordRevision ?? 0) > 0) this.#setContext(CONTEXT.recorded, true);
    if (this.#snapshot?.decided.some((d) => d.why === 'person')) this.#setContext(CONTEXT.decided, true);
    this.#changed.fire();
  }

  #setContext(key: string, value: boolean): void {
    if (this.#context.get(key) === value) return;
    this.#context.set(key, value);
    void vscode.commands.executeCommand('setContext', key, value);
  }
}
