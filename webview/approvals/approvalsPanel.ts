import '../parts/announcer.ts';
import './accessCard.ts';
import './askCard.ts';
import './quietLists.ts';
import './ruleOffer.ts';
import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { ApprovalAnswer } from '../../contract/approval.ts';
import { waitsForMe } from '../../contract/approvers.ts';
import type { AccessAsk } from '../../contract/gateway/approvals.ts';
import { NARROWEST } from '../../contract/scopes.ts';
import type { ApprovalsSnapshot, FromApprovals, ProposalView, ToApprovals } from '../../contract/webview.ts';
import { type Announcer } from '../parts/announcer.ts';
import { guardKeys } from '../parts/guardKeys.ts';
import type { Host } from '../parts/host.ts';
import { icon } from '../parts/icon.ts';
import { agentName, headlineOf, personName } from '../parts/names.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { clockTime, SOON_MS, timeLeft } from '../parts/timeLeft.ts';
import { plainLine } from '../parts/untrustedText.ts';
import type { AccessPhase } from './accessCard.ts';
import type { AskCard, CardWish } from './askCard.ts';
import { banners } from './banners.ts';
import { approverWords } from './decided.ts';
import { MAX_DECLINED, readDeclined, readNotes, rememberNote } from './notes.ts';
import { panelStyles } from './panelStyles.ts';
import { arrivals, type Entry, type Group, groupsOf, identical, isOpen, nextDeparture, reconcile, settle, withPhase } from './queue.ts';
import { quietLine } from './quietLine.ts';
import type { DecidedList } from './quietLists.ts';
import { type Offer, offerOf } from './sameYes.ts';

/** The Approvals view: what waits, what was decided, what stands. */
export class ApprovalsPanel extends LitElement {
  static override properties = {
    snapshot: { state: true },
    entries: { state: true },
    expanded: { state: true },
    ending: { state: true },
    notes: { state: true },
    held: { state: true },
    declined: { state: true },
    proposals: { state: true },
    access: { state: true },
    now: { state: true },
  };
  declare snapshot: ApprovalsSnapshot | undefined;
  declare entries: readonly Entry[];
  /** Keys of the entries shown whole. */
  declare expanded: ReadonlySet<string>;
  /** Grants being ended. */
  declare ending: ReadonlySet<string>;
  declare notes: readonly string[];
  /** Kinds of things that this person wants to go on being asked about. */
  declare declined: ReadonlySet<string>;
  /** Rules that were asked for, by operation; `undefined` while one is on its way. */
  declare proposals: ReadonlyMap<string, ProposalView | undefined>;
  /** Requests for access that were answered, by id, until they have gone from the list. */
  declare access: ReadonlyMap<string, AccessPhase>;
  /** The pointer or the focus is in the list: nothing in it moves. */
  declare held: boolean;
  declare now: number;
  readonly #host: Host<FromApprovals, ToApprovals>;
  /** The extension's clock minus this page's, in milliseconds: deadlines are set by the former. */
  #skew = 0;
  #pointerIn = false;
  #warned = new Set<string>();
  /** Keys of what waited for this person: what is answered stays where it was, though it waits for nobody any more. */
  #answerable: ReadonlySet<string> = new Set();
  #stop: (() => void)[] = [];

  static override styles = panelStyles;

  constructor(host: Host<FromApprovals, ToApprovals>) {
    super();
    this.#host = host;
    this.entries = [];
    this.expanded = new Set();
    this.ending = new Set();
    this.notes = readNotes(host.kept);
    this.declined = new Set(readDeclined(host.kept));
    this.proposals = new Map();
    this.access = new Map();
    this.held = false;
    this.now = Date.now();
    guardKeys(this);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const ticking = setInterval(() => this.#tick(), 1000);
    const hold = (): void => this.#hold();
    const leave = (): void => {
      this.#pointerIn = false;
      this.#hold();
    };
    document.addEventListener('pointerleave', leave);
    document.addEventListener('visibilitychange', leave);
    window.addEventListener('blur', hold);
    window.addEventListener('focus', hold);
    this.#stop = [
      this.#host.listen((message) => this.#take(message)),
      () => clearInterval(ticking),
      () => document.removeEventListener('pointerleave', leave),
      () => document.removeEventListener('visibilitychange', leave),
      () => window.removeEventListener('blur', hold),
      () => window.removeEventListener('focus', hold),
    ];
    this.#host.post({ type: 'ready' });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    for (const stop of this.#stop.splice(0)) stop();
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has('entries') || changed.has('held')) this.#expandFirst();
  }

  protected override render(): TemplateResult {
    const { snapshot } = this;
    // The announcer stays the same element throughout: a live region speaks only of what changes in it.
    return html`<cs-announcer></cs-announcer>${snapshot ? this.#content(snapshot) : html`<p class="loading quiet">${say('panel.loading')}</p>`}`;
  }

  #content(snapshot: ApprovalsSnapshot): TemplateResult {
    const mine = this.entries.filter((e) => this.#isMine(e));
    const others = this.entries.filter((e) => !this.#isMine(e));
    const asked = (snapshot.access ?? []).filter(({ id, mine: way }) => way === 'approve' && this.access.get(id)?.kind !== 'sending');
    const waiting = mine.filter(isOpen).length + asked.length;
    const offer = this.#offer(snapshot);
    return html`<main aria-label=${say('panel.approvals')}>
        ${banners(snapshot, (command) => this.#host.post({ type: 'run', command }))}
        ${this.entries.length === 0 && (snapshot.access ?? []).length === 0 ? this.#empty(snapshot, offer !== nothing) : nothing}
        ${waiting > 0 ? html`<p class="count quiet">${say('ask.waiting', { n: waiting })}</p>` : nothing}
        <div
          class="lists"
          @pointerenter=${() => this.#point(true)}
          @pointerleave=${() => this.#point(false)}
          @focusin=${() => this.#hold()}
          @focusout=${() => queueMicrotask(() => this.#hold())}
        >
          ${mine.length > 0 ? this.#list(mine) : nothing}
          ${others.length > 0 ? html`<h2 class="section">${say(others.some(isOpen) ? 'ask.others' : 'ask.othersDone')}</h2>${this.#list(others)}` : nothing}
        </div>
        ${this.#accessAsks(snapshot)}
        ${offer}
        <cs-grants
          .grants=${snapshot.grants}
          .ending=${this.ending}
          @end=${(e: CustomEvent<string>) => {
            this.ending = new Set([...this.ending, e.detail]);
            this.#host.post({ type: 'endGrant', id: e.detail });
          }}
        ></cs-grants>
        <cs-decided .decided=${snapshot.decided} @open=${(e: CustomEvent<string>) => this.#host.post({ type: 'open', operation: e.detail })}></cs-decided>
      </main>
    `;
  }

  #accessAsks({ access = [], link }: ApprovalsSnapshot): TemplateResult | typeof nothing {
    if (access.length === 0) return nothing;
    return html`<h2 class="section">${say('access.title')}</h2>
      <ol class="list">
        ${repeat(
          access,
          ({ id, digest }) => `${id}\n${digest}`,
          (ask) =>
            html`<li>
              <cs-access-card
                .ask=${ask}
                .phase=${this.access.get(ask.id)}
                .linked=${link.state === 'on'}
                .notes=${this.notes}
                .now=${this.now}
                @answer=${(e: CustomEvent<ApprovalAnswer>) => this.#answerAccess(e.detail)}
              ></cs-access-card>
            </li>`,
        )}
      </ol>`;
  }

  #answerAccess(answer: ApprovalAnswer): void {
    this.access = new Map([...this.access, [answer.id, { kind: 'sending', answer: answer.answer }]]);
    if (answer.answer === 'deny' && answer.note !== undefined) this.#remember(answer.note);
    this.#host.post({ type: 'answer', answer });
  }

  /** An answer that counted takes the request off the list by itself. */
  #accessAnswered({ id, result, sentence }: Extract<ToApprovals, { type: 'answered' }>): void {
    if (!this.access.has(id) || result === 'accepted') return;
    const words = sentence ?? say(`result.${result}`);
    this.access = new Map([...this.access, [id, { kind: 'failed', sentence: words }]]);
    this.#say(words);
  }

  #takeAccess(before: readonly AccessAsk[], after: readonly AccessAsk[]): void {
    const waits = new Set(after.map(({ id }) => id));
    if ([...this.access].some(([id, { kind }]) => kind === 'sending' && !waits.has(id))) this.#say(say('access.answered'));
    this.access = new Map([...this.access].filter(([id]) => waits.has(id)));
    const fresh = after.filter(({ id, mine }) => mine === 'approve' && !before.some((one) => one.id === id));
    const [first] = fresh;
    if (!first) return;
    const headline = plainLine(`${personName(first.requester)}, ${first.access.connection}`);
    this.#say(say('access.new', { n: fresh.length, headline }));
  }

  #offer({ decided, link, ruleable }: ApprovalsSnapshot): TemplateResult | typeof nothing {
    const offer = link.state === 'on' ? offerOf(decided, ruleable ?? [], this.declined) : undefined;
    if (!offer) return nothing;
    const { operation } = offer;
    return html`<cs-rule-offer
      .offer=${offer}
      .asked=${this.proposals.has(operation)}
      .proposal=${this.proposals.get(operation)}
      @look=${() => {
        this.proposals = new Map([...this.proposals, [operation, undefined]]);
        this.#host.post({ type: 'proposeRule', operation });
      }}
      @add=${(e: CustomEvent<string>) => this.#host.post({ type: 'addRule', operation, rule: e.detail })}
      @dismiss=${() => this.#decline(offer)}
      @open=${(e: CustomEvent<string>) => this.#host.post({ type: 'open', operation: e.detail })}
    ></cs-rule-offer>`;
  }

  /** It is not offered again: it stands in the policy now, or the person wants to be asked. */
  #decline({ key }: Offer): void {
    this.declined = new Set([...this.declined, key]);
    this.#keep();
  }

  #empty({ link }: ApprovalsSnapshot, offered: boolean): TemplateResult | typeof nothing {
    if (link.state !== 'on') return nothing;
    // What is offered has the room.
    if (offered) return html`<p class="count quiet">${say('empty.title')}</p>`;
    return html`<div class="empty">${icon('shield')}<p><strong>${say('empty.title')}</strong></p><p class="quiet">${say('empty.text')}</p></div>`;
  }

  #list(entries: readonly Entry[]): TemplateResult {
    return html`<ol class="list">
      ${repeat(
        groupsOf(entries),
        (g) => g.key,
        (g) => html`<li>${this.#group(g)}</li>`,
      )}
    </ol>`;
  }

  #group({ entries }: Group): TemplateResult {
    const shown = entries.filter((e, i) => i === 0 || e.quiet || this.expanded.has(e.key));
    const folded = entries.filter((e) => !shown.includes(e));
    const open = entries.filter((e) => e.phase.kind === 'open' && this.#isMine(e));
    return html`${repeat(
      shown,
      (e) => e.key,
      (e) => this.#entry(e),
    )}
    ${
      folded.length === 0
        ? nothing
        : html`<details class="more">
            <summary>${icon('chevron')}<span>${say('group.more', { n: folded.length })}</span></summary>
            <div class="rows">
              ${repeat(
                folded,
                (e) => e.key,
                (e) => this.#row(e),
              )}
              ${open.length > 1 && this.snapshot?.link.state === 'on' ? this.#groupActions(open) : nothing}
            </div>
          </details>`
    }`;
  }

  #groupActions(open: readonly Entry[]): TemplateResult {
    // Who has read one of identical asks has read all; alike ones are read one by one, and can be denied together.
    const same = identical(open);
    return html`<div class="together">
      ${same ? html`<span class="quiet">${say('group.identical')}</span>` : nothing}
      <div class="buttons">
        ${same ? html`<cs-armed-button @press=${() => this.#answerAll(open, 'approve')}>${say('group.approveAll', { n: open.length })}</cs-armed-button>` : nothing}
        <cs-armed-button secondary @press=${() => this.#answerAll(open, 'deny')}>${say('group.denyAll', { n: open.length })}</cs-armed-button>
      </div>
    </div>`;
  }

  #entry(entry: Entry): TemplateResult {
    if (entry.quiet) return quietLine(entry);
    if (!this.expanded.has(entry.key)) return this.#row(entry);
    return html`<cs-ask-card
      .entry=${entry}
      .now=${this.now}
      .linked=${this.snapshot?.link.state === 'on'}
      .mine=${this.#isMine(entry)}
      .own=${this.snapshot?.own?.includes(entry.ask.id) ?? false}
      .requestable=${this.snapshot?.requestable?.includes(entry.ask.id) ?? false}
      .me=${this.snapshot?.me}
      .held=${this.held}
      .notes=${this.notes}
      .decided=${this.snapshot?.decided ?? []}
      .othersLine=${say('ask.othersLine', { who: entry.ask.verdict.approvers.map(approverWords).join(', '), time: clockTime(entry.ask.askedAt) })}
      .nextLabel=${this.#nextLabel(entry)}
      @wish=${(e: CustomEvent<CardWish>) => this.#wish(entry, e.detail)}
    ></cs-ask-card>`;
  }

  #row(entry: Entry): TemplateResult {
    const { ask } = entry;
    const left = timeLeft(ask.askedAt, ask.deadline, this.now);
    return html`<button class="row" @click=${() => void this.#reveal(entry.key)} aria-expanded="false">
      ${icon('chevron', 'small')}<span class="headline"><span class="quiet">${safeText(agentName(ask.actor.agent))} →</span> ${safeText(ask.facts.headline)}</span>
      <span class="time ${left.state}">${left.text}</span>
    </button>`;
  }

  #nextLabel(entry: Entry): string | undefined {
    if (isOpen(entry)) return undefined;
    return this.entries.some((e) => e !== entry && e.phase.kind === 'open' && this.#isMine(e)) ? say('do.next') : say('do.close');
  }

  #isMine(entry: Entry): boolean {
    return isOpen(entry) ? this.#waitsForMe(entry) : this.#answerable.has(entry.key);
  }

  #waitsForMe({ ask }: Entry): boolean {
    const { me, mine } = this.snapshot ?? {};
    return mine ? mine.includes(ask.id) : me === undefined || waitsForMe(ask, me);
  }

  #wish(entry: Entry, wish: CardWish): void {
    switch (wish.wish) {
      case 'answer':
        this.#host.post({ type: 'answer', answer: wish.answer });
        if (wish.answer.answer === 'deny' && wish.answer.note !== undefined) this.#remember(wish.answer.note);
        this.entries = withPhase(this.entries, wish.answer.id, { kind: 'sending', answer: wish.answer.answer }, this.now, wish.answer.digest);
        void this.#focusResult(entry.key);
        return;
      case 'again':
        this.entries = withPhase(this.entries, entry.ask.id, { kind: 'open' }, this.now, entry.ask.digest);
        return;
      case 'next':
        void this.#next();
        return;
      case 'open':
        this.#host.post({ type: 'open', operation: entry.ask.operation });
        return;
      case 'requestAccess':
        this.#host.post({ type: 'requestAccess', id: entry.ask.id });
        return;
      case 'openRule':
        this.#host.post({ type: 'openRule', file: wish.file, line: wish.line });
    }
  }

  #answerAll(entries: readonly Entry[], answer: 'approve' | 'deny'): void {
    for (const { key, ask } of entries) {
      const { id, digest } = ask;
      this.#wish(entries.find((e) => e.key === key) ?? (entries[0] as Entry), {
        wish: 'answer',
        answer: answer === 'approve' ? { answer, id, digest, scope: NARROWEST } : { answer, id, digest },
      });
    }
  }

  #remember(note: string): void {
    this.notes = rememberNote(this.notes, note);
    this.#keep();
  }

  #keep(): void {
    this.#host.keep({ notes: this.notes, declined: [...this.declined].slice(-MAX_DECLINED) });
  }

  #take(message: ToApprovals): void {
    switch (message.type) {
      case 'snapshot': {
        if (message.now !== undefined) this.#skew = message.now - Date.now();
        this.now = Date.now() + this.#skew;
        const before = this.entries;
        this.#takeAccess(this.snapshot?.access ?? [], message.access ?? []);
        this.snapshot = message;
        this.ending = new Set([...this.ending].filter((id) => message.grants.some((g) => g.id === id)));
        this.entries = reconcile(before, message, this.now, this.held);
        this.#answerable = new Set(this.entries.filter((e) => (isOpen(e) && this.#waitsForMe(e)) || this.#answerable.has(e.key)).map(({ key }) => key));
        const fresh = arrivals(
          before,
          this.entries.filter((e) => this.#isMine(e)),
        );
        if (fresh) this.#say(say(fresh.n === 1 ? 'ask.new' : 'ask.several', { n: fresh.n, headline: plainLine(fresh.headline) }), 'urgent');
        return;
      }
      case 'answered': {
        const entry = this.entries.find((e) => e.ask.id === message.id);
        const answer = entry?.phase.kind === 'sending' || entry?.phase.kind === 'answered' ? entry.phase.answer : undefined;
        if (!entry || answer === undefined) return this.#accessAnswered(message);
        const { result, sentence } = message;
        this.entries = withPhase(this.entries, message.id, { kind: 'answered', answer, result, ...(sentence !== undefined && { sentence }) }, this.now);
        if (!this.held) this.entries = settle(this.entries, this.now, false);
        const words = result === 'accepted' ? say(answer === 'approve' ? 'result.approved' : 'result.denied') : (sentence ?? say(`result.${result}`));
        this.#say(words);
        return;
      }
      case 'proposal':
        if (this.proposals.has(message.operation)) this.proposals = new Map([...this.proposals, [message.operation, message.proposal]]);
        return;
      case 'ruleAdded': {
        const offer = this.snapshot && offerOf(this.snapshot.decided, this.snapshot.ruleable ?? [], this.declined);
        if (offer?.operation === message.operation) this.#decline(offer);
        return;
      }
      case 'reveal': {
        const entry = this.entries.find((e) => e.ask.id === message.id);
        if (entry) void this.#reveal(entry.key);
        else void this.updateComplete.then(() => this.shadowRoot?.querySelector<DecidedList>('cs-decided')?.reveal(message.id));
      }
    }
  }

  /** When nothing open is shown whole, the first that waits for this person is; never while that would move something held. */
  #expandFirst(): void {
    const open = this.entries.filter((e) => this.#isMine(e) && isOpen(e));
    const [first] = open;
    if (!first || open.some((e) => this.expanded.has(e.key)) || (this.held && this.expanded.size > 0)) return;
    this.expanded = new Set([...this.expanded].filter((k) => this.entries.some((e) => e.key === k)).concat(first.key));
  }

  /** The person is done with what is on screen: settled cards fold, and the next ask comes to where they look. */
  async #next(): Promise<void> {
    this.entries = settle(this.entries, this.now, false);
    const next = this.entries.find((e) => e.phase.kind === 'open' && this.#isMine(e));
    if (next) await this.#reveal(next.key);
    else {
      await this.updateComplete;
      this.#hold();
    }
  }

  async #reveal(key: string): Promise<void> {
    this.expanded = new Set([...this.expanded, key]);
    await this.updateComplete;
    const card = this.#card(key);
    await card?.updateComplete;
    card?.scrollIntoView({ block: 'nearest' });
    card?.focusHeadline();
  }

  async #focusResult(key: string): Promise<void> {
    const card = this.#card(key);
    const hadFocus = card?.matches(':focus-within') ?? false;
    await this.updateComplete;
    await card?.updateComplete;
    // The button that had the focus is gone: without this, the keyboard would start again at the top of the page.
    if (hadFocus) card?.shadowRoot?.querySelector<HTMLElement>('.result')?.focus();
  }

  #card(key: string): AskCard | undefined {
    return [...(this.shadowRoot?.querySelectorAll<AskCard>('cs-ask-card') ?? [])].find((c) => c.entry.key === key);
  }

  #tick(): void {
    this.now = Date.now() + this.#skew;
    for (const { key, ask, phase } of this.entries) {
      const left = ask.deadline - this.now;
      if (phase.kind !== 'open' || left > SOON_MS || left <= 0 || this.#warned.has(key)) continue;
      this.#warned.add(key);
      this.#say(say('ask.minuteLeft', { headline: plainLine(headlineOf(ask.actor.agent, ask.facts)) }));
    }
    const due = nextDeparture(this.entries);
    if (due !== undefined && due <= this.now && !this.held) this.entries = settle(this.entries, this.now, false);
  }

  #point(inside: boolean): void {
    this.#pointerIn = inside;
    this.#hold();
  }

  #hold(): void {
    const lists = this.shadowRoot?.querySelector('.lists');
    const focused = document.hasFocus() && (lists?.matches(':focus-within') ?? false);
    const held = this.#pointerIn || focused;
    if (held === this.held) return;
    this.held = held;
    if (!held) this.entries = settle(this.entries, this.now, false);
  }

  #say(text: string, how: 'polite' | 'urgent' = 'polite'): void {
    this.shadowRoot?.querySelector<Announcer>('cs-announcer')?.say(text, how);
  }
}
customElements.define('cs-approvals', ApprovalsPanel);
