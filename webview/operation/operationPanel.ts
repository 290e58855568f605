import '@vscode-elements/elements/dist/vscode-tabs/index.js';
import '@vscode-elements/elements/dist/vscode-tab-header/index.js';
import '@vscode-elements/elements/dist/vscode-tab-panel/index.js';
import '../parts/announcer.ts';
import '../parts/payloadView.ts';
import './answerView.ts';
import './timelineView.ts';
import './wrongMaskForm.ts';
import { html, LitElement, nothing, type TemplateResult } from 'lit';
import type { OperationDetail } from '../../contract/control.ts';
import type { Step } from '../../contract/timeline.ts';
import type { FromOperation, ToOperation } from '../../contract/webview.ts';
import type { Announcer } from '../parts/announcer.ts';
import { guardKeys } from '../parts/guardKeys.ts';
import type { Host } from '../parts/host.ts';
import { icon } from '../parts/icon.ts';
import { agentName, ownName, personName } from '../parts/names.ts';
import { safeText } from '../parts/safeText.ts';
import { say, sayOr } from '../parts/strings.ts';
import { duration } from '../parts/timeLeft.ts';
import { readKept } from './kept.ts';
import { operationStyles } from './operationStyles.ts';
import { ruleText } from './ruleText.ts';
import { type Standing, standingOf } from './standing.ts';
import { timing } from './timing.ts';
import { wrongMasks } from './wrongMask.ts';
import type { MaskReportWish } from './wrongMaskForm.ts';

const TABS = ['request', 'response', 'decision', 'timing'] as const;

/** One operation, as it was asked, decided and answered. */
export class OperationPanel extends LitElement {
  static override properties = {
    detail: { state: true },
    missing: { state: true },
    copied: { state: true },
    tab: { state: true },
    compare: { state: true },
    checking: { state: true },
    steps: { state: true },
    reported: { state: true },
  };
  declare detail: OperationDetail | undefined;
  /** Why the operation could not be had, in a sentence. */
  declare missing: string | undefined;
  declare tab: number;
  /** Whether the side before masking is shown beside what the agent saw. */
  declare compare: boolean;
  declare checking: boolean;
  /** The rule made of this operation has just been copied. */
  declare copied: boolean;
  /** What came of a report of a wrong mask, in a sentence. */
  declare reported: string | undefined;
  /** The operation's session, in order; empty until it is known. */
  declare steps: readonly Step[];
  readonly #host: Host<FromOperation, ToOperation>;
  readonly #reports: boolean;
  #stop: (() => void) | undefined;

  static override styles = operationStyles;

  /** @param reports whether wrong masks can be reported where this is shown */
  constructor(host: Host<FromOperation, ToOperation>, { reports = true }: { readonly reports?: boolean } = {}) {
    super();
    this.#host = host;
    this.#reports = reports;
    const kept = readKept(host.kept, TABS.length);
    this.tab = kept.tab ?? TABS.indexOf('response');
    this.compare = kept.compare ?? true;
    this.checking = false;
    this.copied = false;
    this.steps = [];
    guardKeys(this);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#stop = this.#host.listen((message) => this.#take(message));
    this.#host.post({ type: 'ready' });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#stop?.();
  }

  protected override render(): TemplateResult {
    const { detail, missing } = this;
    return html`
      <cs-announcer></cs-announcer>
      <main>
        ${missing === undefined ? nothing : html`<p class="banner" role="alert">${icon('error')}<span>${safeText(missing)}</span></p>`}
        ${detail ? this.#operation(detail) : missing === undefined ? html`<p class="quiet">${say('panel.loading')}</p>` : nothing}
      </main>
    `;
  }

  #operation(detail: OperationDetail): TemplateResult {
    return html`${this.#header(detail)}
      <cs-timeline .steps=${this.steps} .operation=${detail.summary.operation} @step=${(e: CustomEvent<string>) => this.#host.post({ type: 'step', operation: e.detail })}></cs-timeline>
      <vscode-tabs aria-label=${say('op.sections')} .selectedIndex=${this.tab} @vsc-tabs-select=${(e: CustomEvent<{ selectedIndex: number }>) => this.#select(e.detail.selectedIndex)}>
        ${TABS.map((tab) => html`<vscode-tab-header slot="header" @keydown=${(e: KeyboardEvent) => this.#tabKey(e)}>${say(`op.${tab}`)}</vscode-tab-header>`)}
        <vscode-tab-panel>${this.#request(detail)}</vscode-tab-panel>
        <vscode-tab-panel>${this.#response(detail)}</vscode-tab-panel>
        <vscode-tab-panel>${this.#decision(detail)}</vscode-tab-panel>
        <vscode-tab-panel>${this.#timing(detail)}</vscode-tab-panel>
      </vscode-tabs>`;
  }

  #header(detail: OperationDetail): TemplateResult {
    const { summary, verified } = detail;
    const standing = standingOf(detail);
    return html`<header>
      <h1>${standingIcon(standing)}<span><span class="quiet">${safeText(summary.connection)} ·</span> ${safeText(summary.headline)}</span></h1>
      <p class="facts">
        <span class="standing ${standing.tone}">${safeText(standing.text)}</span>
        ${summary.rows === undefined ? nothing : html`<span>${say('op.rows', { n: summary.rows })}</span>`}
        ${standing.tone === 'bad' && summary.masked === 0 ? nothing : html`<span>${summary.masked === 0 ? say('op.maskedNone') : say('op.masked', { n: summary.masked })}</span>`}
        <span>${safeText(personName(summary.actor.person))} · ${safeText(agentName(summary.actor.agent))}</span>
        <span><time datetime=${new Date(summary.at).toISOString()}>${new Date(summary.at).toLocaleString()}</time></span>
      </p>
      <p class="seal ${verified === undefined || verified.ok ? '' : 'bad'}">
        ${verified === undefined ? icon('watch') : icon(verified.ok ? 'verified' : 'broken', verified.ok ? 'good' : 'bad')}
        <span>${
          verified === undefined
            ? say('op.unchecked')
            : verified.ok
              ? html`${say('op.verified', { n: verified.entries, head: '' })}<code title=${verified.head}>${verified.head.slice(0, 12)}</code>`
              : safeText(say('op.unverified', { problem: verified.problem ?? '' }))
        }</span>
        <button class="link" ?disabled=${this.checking} @click=${() => this.#verify(summary.session)}>${say(verified === undefined ? 'op.checkNow' : 'op.check')}</button>
      </p>
    </header>`;
  }

  #request({ payload, params, facts, summary }: OperationDetail): TemplateResult {
    const language = facts.sql ? 'sql' : facts.mcp ? 'json' : summary.protocol === 'shell' ? 'shell' : 'text';
    return html`<section aria-label=${say('op.request')}>
      <div class="tools"><button class="link" @click=${() => this.#host.post({ type: 'copy', text: payload })}>${icon('copy', 'small')} ${say('payload.copy')}</button></div>
      <cs-payload .text=${payload} .language=${language} .params=${params}></cs-payload>
      <dl>
        ${row(say('op.effect'), facts.effect)} ${row(say('op.targets'), facts.targets.map((t) => `${t.kind} ${t.name}`).join(', '))}
        ${row(say('op.notes'), [...(facts.bulk ? [say('ask.bulk')] : []), ...facts.notes].join(' · '))} ${row(say('op.sensitive'), facts.sensitive.join(', '))}
        ${row(say('op.agent'), agentName(summary.actor.agent) + (ownName(summary.actor.agent) === undefined ? '' : `, ${say('ask.calls', { name: ownName(summary.actor.agent) ?? '' })}`))}
      </dl>
    </section>`;
  }

  #response(detail: OperationDetail): TemplateResult {
    const { answer, raw, error, summary, approval } = detail;
    const denied = summary.outcome === 'denied' || summary.decision === 'deny' || approval?.answer === 'denied';
    return html`<section aria-label=${say('op.response')}>
      ${error === undefined ? nothing : html`<div class="error"><p>${icon('error', 'bad')} <strong>${say('op.error')}</strong> <code>${safeText(error.code)}</code></p><p class="message">${safeText(error.message, { lines: true })}</p></div>`}
      ${
        answer === undefined
          ? html`<p class="quiet">${denied ? safeText(say('op.notForwarded', { connection: summary.connection })) : summary.outcome === undefined ? say('op.outcome.open') : say('op.noAnswer')}</p>`
          : html`<cs-answer .answer=${answer} .raw=${raw} .compare=${this.compare} @compare=${(e: CustomEvent<boolean>) => this.#compare(e.detail)}></cs-answer>
              ${this.#reports ? html`<cs-wrong-mask .choices=${wrongMasks(answer, detail)} .said=${this.reported} @report=${(e: CustomEvent<MaskReportWish>) => this.#report(summary.operation, e.detail)}></cs-wrong-mask>` : nothing}`
      }
    </section>`;
  }

  #decision(detail: OperationDetail): TemplateResult {
    const { verdict, approval, summary } = detail;
    const { rule } = verdict;
    const { file, line } = rule;
    const place = [say(`ask.layer.${rule.layer}`), file, line === undefined ? undefined : say('ask.line', { line })].filter((p) => p !== undefined).join(', ');
    return html`<section aria-label=${say('op.decision')}>
      <dl>
        ${row(say('op.verdict'), say(`op.verdict.${verdict.decision}`))}
        <div><dt>${say('op.rule')}</dt><dd><strong>${safeText(rule.id)}</strong> <span class="quiet">${safeText(place)}</span>
          ${file === undefined ? nothing : html` <button class="link" @click=${() => this.#host.post({ type: 'openRule', file, line: line ?? 1 })}>${say('ask.openRule')}</button>`}</dd></div>
        ${row(say('op.because'), verdict.because)} ${row(say('op.say'), verdict.say ?? '')}
        ${
          approval === undefined
            ? row(say('op.approval'), verdict.decision === 'ask' ? say('op.outcome.open') : say('op.noApproval'))
            : html`${row(say('op.approval'), approval.why === 'person' ? say(approval.answer === 'approved' ? 'decided.approved' : 'decided.denied') : sayOr(`decided.${approval.why}`, `${approval.answer}: ${approval.why}`))}
              ${approval.by ? row(say(approval.answer === 'approved' ? 'op.approved' : 'op.denied'), personName(approval.by)) : nothing} ${row(say('op.note'), approval.note ?? '')}
              ${row(say('op.waited'), duration(approval.waitedMs))}`
        }
        ${row(say('op.policyVersion'), verdict.policyVersion.slice(0, 16))} ${row(say('op.id'), summary.operation)} ${row(say('op.session'), summary.session)} ${row(say('op.conversation'), summary.conversation)}
      </dl>
      ${this.#makeRule(detail)}
    </section>`;
  }

  /** A person's edit of the policy, prepared: no panel writes one. */
  #makeRule(detail: OperationDetail): TemplateResult {
    const text = ruleText(detail);
    return html`<details class="rule">
      <summary>${icon('chevron')}<span>${say('op.makeRule')}</span></summary>
      <div class="inside">
        <p class="quiet">${say('op.makeRuleHow')}</p>
        <pre tabindex="0" aria-label=${say('op.rule')}>${safeText(text, { lines: true })}</pre>
        <p><button class="link" @click=${() => this.#copyRule(text)}>${icon('copy', 'small')} ${say('op.copyRule')}</button> ${this.copied ? html`<span class="quiet" aria-hidden="true">${say('op.copiedRule')}</span>` : nothing}</p>
      </div>
    </details>`;
  }

  #report(operation: string, { note, wrong: { by, kind, line, mask, name } }: MaskReportWish): void {
    this.reported = undefined;
    const report = { kind, name, note, ...(by !== undefined && { by }), ...(mask !== undefined && { mask }), ...(line !== undefined && { line }) };
    this.#host.post({ type: 'reportMask', operation, report });
  }

  #copyRule(text: string): void {
    this.#host.post({ type: 'copy', text });
    this.copied = true;
    this.shadowRoot?.querySelector<Announcer>('cs-announcer')?.say(say('op.copiedRule'));
  }

  #timing(detail: OperationDetail): TemplateResult {
    const spans = timing(detail);
    if (spans.length === 0) return html`<p class="quiet">${say('op.noTiming')}</p>`;
    return html`<section aria-label=${say('op.timing')}>
      <ul class="timing">
        ${spans.map(
          (s) =>
            html`<li>
              <span class="what">${say(s.kind === 'waited' ? 'op.waited' : 'op.took')}</span>
              <span class="track" aria-hidden="true"><span class="span ${s.kind}" data-from=${s.from} data-to=${s.to}></span></span>
              <span class="ms">${duration(s.ms)}</span>
            </li>`,
        )}
        <li class="total"><span class="what">${say('op.total')}</span><span class="track" aria-hidden="true"></span><span class="ms">${duration(detail.summary.tookMs ?? 0)}</span></li>
      </ul>
    </section>`;
  }

  protected override updated(): void {
    // By script, for no inline style passes the page's content security policy.
    for (const span of this.shadowRoot?.querySelectorAll<HTMLElement>('.span') ?? []) {
      const from = Number(span.dataset['from']);
      span.style.left = `${from * 100}%`;
      span.style.width = `max(2px, ${(Number(span.dataset['to']) - from) * 100}%)`;
    }
  }

  #take(message: ToOperation): void {
    if (message.type === 'missing') {
      this.missing = message.sentence;
      this.checking = false;
      return;
    }
    if (message.type === 'timeline') {
      this.steps = message.steps;
      return;
    }
    if (message.type === 'maskReported') {
      this.reported = message.sentence;
      return;
    }
    if (this.checking && message.detail.verified) {
      const { ok, entries, problem } = message.detail.verified;
      this.shadowRoot
        ?.querySelector<Announcer>('cs-announcer')
        ?.say(ok ? say('op.verified', { n: entries, head: '' }) : say('op.unverified', { problem: problem ?? '' }));
    }
    this.checking = false;
    this.missing = undefined;
    if (this.detail?.summary.operation !== message.detail.summary.operation) {
      this.copied = false;
      this.reported = undefined;
    }
    this.detail = message.detail;
  }

  #verify(session: string): void {
    this.checking = true;
    this.#host.post({ type: 'verify', session });
  }

  #select(tab: number): void {
    this.tab = tab;
    this.#keep();
  }

  #compare(compare: boolean): void {
    this.compare = compare;
    this.#keep();
  }

  #keep(): void {
    this.#host.keep({ tab: this.tab, compare: this.compare });
  }

  /** The tabs of the library open on Enter; a person also expects Space, Home and End. */
  #tabKey(event: KeyboardEvent): void {
    const headers = [...(this.shadowRoot?.querySelectorAll<HTMLElement>('vscode-tab-header') ?? [])];
    const at =
      event.key === 'Home' ? 0 : event.key === 'End' ? headers.length - 1 : event.key === ' ' ? headers.indexOf(event.currentTarget as HTMLElement) : -1;
    if (at < 0) return;
    event.preventDefault();
    this.#select(at);
    headers[at]?.focus();
  }
}
customElements.define('cs-operation', OperationPanel);

function row(name: string, value: string): TemplateResult | typeof nothing {
  return value === '' ? nothing : html`<div><dt>${name}</dt><dd>${safeText(value, { lines: true })}</dd></div>`;
}

function standingIcon({ tone }: Standing): TemplateResult {
  return tone === 'good' ? icon('allow', 'good') : tone === 'bad' ? icon('deny', 'bad') : icon('watch', 'soon');
}
