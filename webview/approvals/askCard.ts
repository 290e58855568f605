import '@vscode-elements/elements/dist/vscode-button/index.js';
import '../parts/payloadView.ts';
import './armedButton.ts';
import './denyForm.ts';
import './scopePicker.ts';
import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import type { Person } from '../../contract/actor.ts';
import type { ApprovalAnswer, DecidedApproval, Scope } from '../../contract/approval.ts';
import { NARROWEST } from '../../contract/scopes.ts';
import { icon } from '../parts/icon.ts';
import { agentName, headlineOf, ownName, personName } from '../parts/names.ts';
import type { PayloadView } from '../parts/payloadView.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { timeLeft } from '../parts/timeLeft.ts';
import { plainLine } from '../parts/untrustedText.ts';
import { bothEnds } from './bothEnds.ts';
import { type Actions, actionsOf } from './buttons.ts';
import { cardStyles } from './cardStyles.ts';
import { dryRunSection } from './dryRun.ts';
import { latelyLine } from './lately.ts';
import type { Entry } from './queue.ts';
import { isAllowed } from './scope.ts';

/** What a card asks of the panel; the answer carries id and digest of what was rendered. */
export type CardWish =
  | { readonly wish: 'answer'; readonly answer: ApprovalAnswer }
  | { readonly wish: 'again' }
  | { readonly wish: 'next' }
  | { readonly wish: 'open' }
  | { readonly wish: 'requestAccess' }
  | { readonly wish: 'openRule'; readonly file: string; readonly line: number };

/**
 * One ask, whole.
 *
 * @fires wish as a CustomEvent with a `CardWish`
 */
export class AskCard extends LitElement {
  static override properties = {
    entry: { attribute: false },
    now: { attribute: false },
    linked: { attribute: false },
    mine: { attribute: false },
    own: { attribute: false },
    requestable: { attribute: false },
    me: { attribute: false },
    held: { attribute: false },
    othersLine: { attribute: false },
    notes: { attribute: false },
    decided: { attribute: false },
    nextLabel: { attribute: false },
    denying: { state: true },
    scope: { state: true },
    dryOpen: { state: true },
    partly: { state: true },
  };
  declare entry: Entry;
  /** Epoch milliseconds by the clock that the deadline was set by. */
  declare now: number;
  declare linked: boolean;
  declare mine: boolean;
  /** This person asked it, and others answer. */
  declare own: boolean;
  /** Access over a time can be asked for, so that its like is not asked about each time. */
  declare requestable: boolean;
  /** Who looks at the card. */
  declare me: Person | undefined;
  /** Pointer or focus is in the list: nothing here may change its height by itself. */
  declare held: boolean;
  declare othersLine: string;
  declare notes: readonly string[];
  /** The last decisions, for what was answered of the same kind. */
  declare decided: readonly DecidedApproval[];
  /** The way on once this one is settled; absent where nothing else waits. */
  declare nextLabel: string | undefined;
  declare denying: boolean;
  declare scope: Scope;
  /** Absent until it is known whether the rows may unfold by themselves. */
  declare dryOpen: boolean | undefined;
  declare partly: boolean;
  /** As it was when the card appeared: a line that came later would push the buttons away. */
  #lately: string | undefined;

  static override styles = cardStyles;

  constructor() {
    super();
    this.linked = false;
    this.mine = true;
    this.own = false;
    this.requestable = false;
    this.held = false;
    this.othersLine = '';
    this.notes = [];
    this.decided = [];
    this.denying = false;
    this.scope = NARROWEST;
    this.partly = false;
  }

  /** Puts the keyboard on this card's headline: near the buttons, never on one. */
  focusHeadline(): void {
    this.shadowRoot?.querySelector<HTMLElement>('h2')?.focus();
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    const before = changed.get('entry');
    if (changed.has('entry') && before?.key !== this.entry.key) {
      this.scope = NARROWEST;
      this.denying = false;
      this.dryOpen = undefined;
      this.#lately = latelyLine(this.entry.ask, this.decided);
    }
    if (!isAllowed(this.entry.ask, this.scope)) this.scope = NARROWEST;
    if (this.dryOpen === undefined && this.entry.ask.dryRun.state === 'done') this.dryOpen = !this.held;
  }

  protected override updated(changed: PropertyValues<this>): void {
    this.#drawBar();
    if (changed.has('entry')) void this.#lookWhetherWhole();
  }

  protected override render(): TemplateResult {
    const { ask } = this.entry;
    const { actor, facts, conversationSummary: talk } = ask;
    const left = timeLeft(ask.askedAt, ask.deadline, this.now);
    const actions = actionsOf(this.entry, {
      linked: this.linked,
      mine: this.mine,
      own: this.own,
      over: left.state === 'over',
      othersLine: this.othersLine,
    });
    const named = ownName(actor.agent);
    // What waits for somebody else still waits: its time runs on, and it is there to be read.
    const settled = !actions.answer && !actions.again && (this.mine || this.entry.phase.kind !== 'open' || left.state === 'over');
    return html`<article class="card effect-${facts.effect} ${settled ? 'settled' : ''}" aria-label=${plainLine(headlineOf(actor.agent, facts))}>
      <header>
        <h2 tabindex="-1">
          <span class="agent">${safeText(agentName(actor.agent))}</span> <span class="arrow" aria-hidden="true">→</span> <strong>${safeText(facts.headline)}</strong>
        </h2>
        <span class="time ${left.state}" role="timer" aria-label=${say('ask.deadline', { time: left.words })} title=${say('ask.deadline', { time: left.words })}>
          ${left.state === 'soon' ? icon('watch', 'small') : nothing}${left.text}
        </span>
      </header>
      <div class="bar ${left.state}" aria-hidden="true"><div class="rest"></div></div>
      <p class="facts">
        <span class="effect">${facts.effect}</span><span class="fact">${safeText(ask.connection)}</span>${this.me !== undefined && isSame(this.me, actor.person) ? nothing : html`<span class="fact">${safeText(say('ask.for', { who: personName(actor.person) }))}</span>`}${facts.bulk ? html`<span class="fact strong">${icon('warning', 'small')} ${say('ask.bulk')}</span>` : nothing}${facts.notes.map(
          (note) => html`<span class="fact">${safeText(note)}</span>`,
        )}${
          facts.sensitive.length > 0
            ? html`<span class="fact strong">${icon('hidden', 'small')} ${safeText(say('ask.sensitive', { columns: listed(facts.sensitive, 4) }))}</span>`
            : nothing
        }${named === undefined ? nothing : html`<span class="fact quiet">${safeText(say('ask.calls', { name: named }))}</span>`}
      </p>
      <cs-payload
        .text=${ask.payload}
        .language=${ask.language}
        .params=${ask.params}
        @unfolded=${() => void this.#lookWhetherWhole()}
      ></cs-payload>
      ${bothEnds(ask)} ${dryRunSection(ask.dryRun, this.dryOpen ?? false, (open) => (this.dryOpen = open))} ${this.#why()}
      ${
        ask.reason === undefined
          ? nothing
          : html`<details>
              <summary>${icon('chevron')}<span class="one">${say('ask.says')} <span class="tag">${say('ask.unverified')}</span> <span class="quiet">“${safeText(ask.reason)}”</span></span></summary>
              <blockquote class="inside">${safeText(ask.reason, { lines: true })}</blockquote>
            </details>`
      }
      <details>
        <summary>
          ${icon('chevron')}<span class="one"
            >${say('ask.conversation')}
            <span class="quiet">${say('ask.operations', { n: talk.operations })}${talk.sensitive.length > 0 ? html`, ${safeText(say('ask.read', { targets: listed(talk.sensitive, 2) }))}` : nothing}</span></span
          >
        </summary>
        <div class="inside">
          ${
            talk.sensitive.length === 0
              ? html`<p class="quiet">${say('ask.readNothing')}</p>`
              : html`<p class="quiet">${say('ask.readSensitive')}</p>
                  <ul class="list">${talk.sensitive.map((t) => html`<li>${safeText(t)}</li>`)}</ul>`
          }
        </div>
      </details>
      <footer>${this.#actions(actions)}</footer>
    </article>`;
  }

  #why(): TemplateResult {
    const { rule, because, say: sentence } = this.entry.ask.verdict;
    const place = [say(`ask.layer.${rule.layer}`), rule.line === undefined ? '' : say('ask.line', { line: rule.line })].filter(Boolean).join(', ');
    const { file, line } = rule;
    return html`<details>
      <summary>${icon('chevron')}<span class="one">${say('ask.why')} <span class="quiet">${safeText(rule.id)} (${place})</span></span></summary>
      <div class="inside">
        ${sentence === undefined ? nothing : html`<p>${safeText(sentence)}</p>`}
        <p class="quiet">${safeText(because)}</p>
        ${
          file === undefined
            ? nothing
            : html`<button class="link" @click=${() => this.#wish({ wish: 'openRule', file, line: line ?? 1 })}>${say('ask.openRule')}</button>`
        }
      </div>
    </details>`;
  }

  #actions({ answer, again, sentence, tone, withdraw }: Actions): TemplateResult {
    const { ask } = this.entry;
    const headline = plainLine(headlineOf(ask.actor.agent, ask.facts));
    const details = html`<button class="link details" aria-label=${say('do.detailsFor', { headline })} @click=${() => this.#wish({ wish: 'open' })}>${say('ask.details')}</button>`;
    const line =
      sentence === undefined
        ? nothing
        : html`<p class="result ${tone}" tabindex="-1">${tone === 'bad' ? icon('error') : tone === 'good' ? icon('allow') : nothing}<span>${safeText(sentence)}</span></p>`;
    if (!answer) {
      return html`${line}
        <div class="buttons">
          ${withdraw ? html`<vscode-button class="withdraw" secondary aria-label=${say('do.withdrawFor', { headline })} @click=${() => this.#deny('')}>${say('do.withdraw')}</vscode-button>` : nothing}
          ${
            withdraw && this.requestable
              ? html`<vscode-button class="request" secondary aria-label=${say('do.requestAccessFor', { headline })} @click=${() => this.#wish({ wish: 'requestAccess' })}>${say('do.requestAccess')}</vscode-button>`
              : nothing
          }
          ${again ? html`<vscode-button secondary @click=${() => this.#wish({ wish: 'again' })}>${say('do.again')}</vscode-button>` : nothing}
          ${this.nextLabel !== undefined && tone !== 'wait' ? html`<vscode-button class="next" secondary @click=${() => this.#wish({ wish: 'next' })}>${this.nextLabel}</vscode-button>` : nothing}
          ${details}
        </div>`;
    }
    if (this.denying) {
      return html`${line}<cs-deny-form .notes=${this.notes} @deny=${(e: CustomEvent<string>) => this.#deny(e.detail)} @cancel=${() => void this.#back()}></cs-deny-form>`;
    }
    return html`${line}
      <cs-scope-picker .ask=${ask} .now=${this.now} .scope=${this.scope} @change=${(e: Event) => (this.scope = (e.currentTarget as HTMLElement & { scope: Scope }).scope)}></cs-scope-picker>
      ${this.#lately === undefined ? nothing : html`<p class="lately quiet">${safeText(this.#lately)}</p>`}
      ${this.partly ? html`<p class="partly">${icon('warning', 'small')}<span>${say('payload.unseen')}</span></p>` : nothing}
      <div class="buttons">
        <cs-armed-button class="approve" .label=${say('do.approveFor', { headline })} @press=${() => this.#approve()}>${say('do.approve')}</cs-armed-button>
        <vscode-button class="deny" secondary aria-label=${say('do.denyFor', { headline })} @click=${() => (this.denying = true)}>${say('do.deny')}</vscode-button>
        ${details}
      </div>`;
  }

  #approve(): void {
    const { id, digest } = this.entry.ask;
    this.#wish({ wish: 'answer', answer: { answer: 'approve', id, digest, scope: this.scope } });
  }

  #deny(note: string): void {
    const { id, digest } = this.entry.ask;
    this.denying = false;
    this.#wish({ wish: 'answer', answer: { answer: 'deny', id, digest, ...(note.trim() !== '' && { note }) } });
  }

  async #back(): Promise<void> {
    this.denying = false;
    await this.updateComplete;
    this.shadowRoot?.querySelector<HTMLElement>('vscode-button.deny')?.focus();
  }

  async #lookWhetherWhole(): Promise<void> {
    const payload = this.shadowRoot?.querySelector<PayloadView>('cs-payload');
    await payload?.updateComplete;
    this.partly = payload?.partly ?? false;
  }

  #drawBar(): void {
    const { askedAt, deadline } = this.entry.ask;
    const rest = this.shadowRoot?.querySelector<HTMLElement>('.rest');
    if (rest) rest.style.transform = `scaleX(${timeLeft(askedAt, deadline, this.now).fraction})`;
  }

  #wish(detail: CardWish): void {
    this.dispatchEvent(new CustomEvent('wish', { detail }));
  }
}
customElements.define('cs-ask-card', AskCard);

function isSame(a: Person, b: Person): boolean {
  return a.issuer === b.issuer && a.subject === b.subject;
}

function listed(names: readonly string[], most: number): string {
  const rest = names.length - most;
  return rest > 0 ? `${names.slice(0, most).join(', ')} ${say('ask.and', { n: rest })}` : names.join(', ');
}
