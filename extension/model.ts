/** What this window knows: how the link stands and the last snapshot. One source for every surface. */
import * as vscode from 'vscode';
import type { Person } from '../contract/actor.ts';
import type { DecidedApproval, PendingApproval } from '../contract/approval.ts';
import type { Snapshot } from '../contract/control.ts';
import type { AccessAsk } from '../contract/gateway/approvals.ts';
import { mine } from './approvals/attention.ts';
import { NO_QUESTIONS, type TeamQuestions } from './gateway/questions.ts';
import { CONTEXT } from './ids.ts';
import type { ProxyLink } from './proxyLink/link.ts';
import type { LinkState } from './proxyLink/linkState.ts';

/** As many as a panel takes. */
const MAX_PENDING = 500;
const MAX_DECIDED = 50;

export class Model implements vscode.Disposable {
  readonly #link: ProxyLink;
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #subscriptions: vscode.Disposable[];
  readonly #context = new Map<string, boolean>();
  #snapshot: Snapshot | undefined;
  #team: TeamQuestions = NO_QUESTIONS;

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

  /** All that waits: the proxy's questions and the gateway's. */
  get pending(): PendingApproval[] {
    return this.#snapshot ? [...this.#snapshot.pending, ...this.#team.pending].sort((a, b) => a.askedAt - b.askedAt).slice(0, MAX_PENDING) : [];
  }

  /** What of it this person may answer: the proxy goes by its own user, the gateway has said of whom it asks. */
  get waiting(): PendingApproval[] {
    const local = new Set(mine(this.#snapshot?.pending ?? [], this.me).map(({ id }) => id));
    return this.pending.filter(({ id }) => local.has(id) || this.#team.mine.includes(id));
  }

  /** Requests for access over a time, where they can be answered. */
  get access(): readonly AccessAsk[] {
    return this.#snapshot ? this.#team.access : [];
  }

  /** How much waits for this person's answer. */
  get toAnswer(): number {
    return this.waiting.length + this.access.filter(({ mine }) => mine === 'approve').length;
  }

  /** Ids of what this person asked and others answer. */
  get own(): readonly string[] {
    return this.#team.own;
  }

  get decided(): DecidedApproval[] {
    return [...this.#team.decided, ...(this.#snapshot?.decided ?? [])].sort((a, b) => b.decidedAt - a.decidedAt).slice(0, MAX_DECIDED);
  }

  /** What the gateway asks, as far as it concerns this person. */
  setTeam(team: TeamQuestions): void {
    if (JSON.stringify(team) === JSON.stringify(this.#team)) return;
    this.#team = team;
    this.#publish();
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
    if (this.decided.some((d) => d.why === 'person')) this.#setContext(CONTEXT.decided, true);
    this.#changed.fire();
  }

  #setContext(key: string, value: boolean): void {
    if (this.#context.get(key) === value) return;
    this.#context.set(key, value);
    void vscode.commands.executeCommand('setContext', key, value);
  }
}
