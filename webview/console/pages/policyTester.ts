/** "Try an operation": whom, with what, where and what; then what it is taken for, which rule decides, and what a draft would change. */
import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import { AGENT_NAMES } from '../../../contract/agentName.ts';
import { EFFECTS, type Effect, type Facts } from '../../../contract/facts.ts';
import type { ExplainedVerdict, ExplainPolicy, PolicyExplanation } from '../../../contract/gateway/explain.ts';
import type { PersonView } from '../../../contract/gateway/identity.ts';
import type { SharedConnection } from '../../../contract/gateway/policy.ts';
import type { RuleRef, Verdict } from '../../../contract/verdict.ts';
import { type IconName, icon } from '../../parts/icon.ts';
import { personName } from '../../parts/names.ts';
import { safeText } from '../../parts/safeText.ts';
import { type Api, sentenceOf } from '../api.ts';
import { pageStyles } from '../styles.ts';

type Kind = ExplainPolicy['operation']['kind'];
type AgentKind = ExplainPolicy['agent'];

const AGENTS = Object.keys(AGENT_NAMES) as AgentKind[];
const DECIDED: Readonly<Record<Verdict['decision'], { readonly mark: IconName; readonly word: string; readonly kind: string }>> = {
  allow: { mark: 'allow', word: 'Allowed', kind: 'good' },
  ask: { mark: 'ask', word: 'Asks', kind: 'soon' },
  deny: { mark: 'deny', word: 'Denied', kind: 'bad' },
};

export class PolicyTester extends LitElement {
  static override properties = {
    api: { attribute: false },
    draft: { attribute: false },
    connections: { attribute: false },
    people: { attribute: false },
    connection: { state: true },
    kind: { state: true },
    busy: { state: true },
    problem: { state: true },
    explanation: { state: true },
    asked: { state: true },
  };
  declare api: Api;
  /** A text that is not in force; undefined: there is none. */
  declare draft: string | undefined;
  declare connections: readonly SharedConnection[];
  declare people: readonly PersonView[];
  declare connection: string | undefined;
  declare kind: Kind | undefined;
  declare busy: boolean;
  declare problem: string | undefined;
  declare explanation: PolicyExplanation | undefined;
  /** The draft that the explanation is of: another is being written by now. */
  declare asked: string | undefined;

  static override styles = [
    ...pageStyles,
    css`
      form {
        grid-template-columns: minmax(0, 1fr);
        max-width: none;
      }
      form label,
      form select,
      form input:not([type='checkbox'], [type='radio']) {
        min-width: 0;
      }
      form .who select,
      form .who input {
        width: 100%;
      }
      form > label.inline {
        justify-self: start;
      }
      .who {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(min(100%, 11em), 1fr));
        gap: 12px;
        max-width: 60em;
      }
      .answers {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(min(100%, 22em), 1fr));
        gap: 12px;
        margin: 12px 0;
      }
      .answer {
        border: 1px solid var(--edge);
        border-radius: 4px;
        padding: 10px 12px;
        min-width: 0;
        overflow-wrap: anywhere;
      }
      .answer h3 {
        font-weight: 400;
        color: var(--quiet);
      }
      .answer .word {
        font-size: 1.1rem;
        font-weight: 600;
        margin: 2px 0 4px;
      }
      .facts {
        margin: 8px 0;
      }
      details {
        margin-top: 8px;
      }
      summary {
        display: flex;
        align-items: center;
        gap: 2px;
        width: fit-content;
        cursor: pointer;
      }
      details[open] summary .icon {
        transform: rotate(90deg);
      }
      .answer .chip {
        vertical-align: baseline;
        margin-bottom: 4px;
      }
      .answer h3 .chip {
        color: var(--vscode-foreground);
        margin: 0 0 0 6px;
      }
      details li {
        margin: 4px 0 4px 2px;
      }
      .part {
        margin: 16px 0 0;
      }
      @media (forced-colors: active) {
        .answer {
          border-color: CanvasText;
        }
      }
    `,
  ];

  constructor() {
    super();
    this.connections = [];
    this.people = [];
    this.busy = false;
  }

  protected override render(): TemplateResult {
    const connection = this.connections.find(({ name }) => name === this.connection) ?? this.connections[0];
    const kind = this.#kindFor(connection);
    return html`<h2>Try an operation</h2>
      ${connection === undefined ? html`<p class="quiet">There is no shared connection yet to try one on.</p>` : html`<p class="quiet lead">What would happen, and which rule says so. Nothing is sent or run.</p>${this.#form(connection, kind)}`}
      <div aria-live="polite">
        ${this.problem === undefined ? nothing : html`<p class="banner error" role="alert">${icon('error')}<span>${safeText(this.problem)}</span></p>`}
        ${this.explanation ? this.#result(this.explanation) : nothing}
      </div>`;
  }

  #kindFor(connection: SharedConnection | undefined): Kind {
    const own: Kind = connection?.protocol === 'mcp' ? 'tool' : 'sql';
    return this.kind === 'facts' ? 'facts' : own;
  }

  #form(connection: SharedConnection, kind: Kind): TemplateResult {
    const own: Kind = connection.protocol === 'mcp' ? 'tool' : 'sql';
    return html`<form @submit=${(e: SubmitEvent) => void this.#explain(e, kind)} @keydown=${(e: KeyboardEvent) => {
      if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) (e.currentTarget as HTMLFormElement).requestSubmit();
    }}>
      <div class="who">
        <label>Connection
          <select name="connection" @change=${(e: Event) => (this.connection = (e.target as HTMLSelectElement).value)}>${this.connections.map(({ name }) => html`<option value=${name} ?selected=${name === connection.name}>${safeText(name)}</option>`)}</select></label>
        <label>Person
          <select name="person">
            <option value="">Anyone, in no group</option>
            ${this.people.map(({ id, person }) => html`<option value=${id}>${safeText(personName(person))}${person.groups.length > 0 ? safeText(` (${person.groups.join(', ')})`) : nothing}</option>`)}
          </select></label>
        <label>Agent
          <select name="agent">${AGENTS.map((agent) => html`<option value=${agent} ?selected=${agent === 'claude-code'}>${AGENT_NAMES[agent] ?? 'Not known'}</option>`)}</select></label>
      </div>
      <fieldset><legend>What it does</legend>
        ${([own, 'facts'] as const).map((one) => html`<label class="inline"><input type="radio" name="kind" .checked=${one === kind} @change=${() => (this.kind = one)} />${one === 'sql' ? 'An SQL statement' : one === 'tool' ? 'A call of a tool' : 'By hand: its effect and targets'}</label>`)}
      </fieldset>
      ${this.#what(kind)}
      <label class="inline"><input type="checkbox" name="read" />The conversation has read sensitive data before</label>
      <div class="tools"><vscode-button ?disabled=${this.busy} @click=${(e: Event) => (e.currentTarget as HTMLElement).closest('form')?.requestSubmit()}>Explain</vscode-button>
        ${this.draft === undefined ? nothing : html`<span class="quiet">Your draft is compared with what is in force.</span>`}</div>
    </form>`;
  }

  #what(kind: Kind): TemplateResult {
    switch (kind) {
      case 'sql':
        return html`<label>Statement <textarea class="short" name="text" required maxlength="20000" spellcheck="false" autocapitalize="off" placeholder="UPDATE orders SET status = 'refunded' WHERE id = 7"></textarea></label>`;
      case 'tool':
        return html`<div class="who"><label>Tool <input name="tool" required maxlength="200" autocomplete="off" autocapitalize="off" /></label></div>
          <label>Arguments, as JSON <textarea class="short" name="args" maxlength="20000" spellcheck="false" placeholder='{ "title": "…" }'></textarea></label>`;
      case 'facts':
        return html`<div class="who">
          <label>Effect <select name="effect">${EFFECTS.map((effect) => html`<option value=${effect} ?selected=${effect === 'write'}>${effect}</option>`)}</select></label>
          <label>Targets, with commas between <input name="targets" autocomplete="off" autocapitalize="off" placeholder="orders, billing.invoices" /></label>
        </div>
        <label class="inline"><input type="checkbox" name="bulk" />It changes or removes everything there (bulk)</label>`;
    }
  }

  async #explain(event: SubmitEvent, kind: Kind): Promise<void> {
    event.preventDefault();
    if (this.busy) return;
    const form = new FormData(event.target as HTMLFormElement);
    const text = (name: string): string => {
      const value = form.get(name);
      return typeof value === 'string' ? value.trim() : '';
    };
    const person = this.people.find(({ id }) => id === text('person'))?.person;
    const draft = this.draft;
    this.busy = true;
    try {
      this.explanation = await this.api.call('explainPolicy', {
        body: {
          ...(draft !== undefined && { text: draft }),
          person: person ? { subject: person.subject, groups: person.groups } : { subject: 'anyone', groups: [] },
          agent: text('agent') as AgentKind,
          connection: text('connection'),
          operation: operationOf(kind, text, form.has('bulk')),
          read: form.has('read') ? [`${text('connection')}/sensitive`] : [],
        },
      });
      this.asked = draft;
      this.problem = undefined;
    } catch (cause) {
      this.problem = sentenceOf(cause);
      this.explanation = undefined;
    } finally {
      this.busy = false;
    }
  }

  #result({ parts, inForce, draft, notes }: PolicyExplanation): TemplateResult {
    const [now, then] = [parts[inForce.part]?.inForce, draft && parts[draft.part]?.draft];
    if (!now) return html``;
    const stale = this.asked !== this.draft;
    return html`${notes.map((note) => html`<p class="banner">${icon('info')}<span>${safeText(note)}</span></p>`)}
      <div class="answers">
        ${answer('In force', now, parts.length > 1 ? inForce.part : undefined)}
        ${then && draft ? answer(stale ? 'Your draft, as it was' : 'Your draft', then, parts.length > 1 ? draft.part : undefined, differs(now, then) ? 'Another answer than what is in force' : 'The same answer') : nothing}
      </div>
      ${parts.length > 1 ? html`<p class="quiet">${parts.length} statements, decided one by one; the strictest answer stands for the whole.</p>` : nothing}`;
  }
}
customElements.define('cs-policy-tester', PolicyTester);

function operationOf(kind: Kind, text: (name: string) => string, bulk: boolean): ExplainPolicy['operation'] {
  switch (kind) {
    case 'sql':
      return { kind, text: text('text') };
    case 'tool':
      return { kind, tool: text('tool'), args: text('args') };
    case 'facts':
      return {
        kind,
        effect: text('effect') as Effect,
        targets: text('targets')
          .split(',')
          .map((target) => target.trim())
          .filter((target) => target !== ''),
        bulk,
      };
  }
}

function answer(title: string, { facts, verdict, rules }: ExplainedVerdict, part: number | undefined, change?: string): TemplateResult {
  const { kind, mark, word } = DECIDED[verdict.decision];
  return html`<section class="answer" aria-label=${title}>
    <h3>${title}${part === undefined ? nothing : ` · statement ${part + 1} decides`}${change === undefined ? nothing : html` <span class="chip">${change}</span>`}</h3>
    <p class="word ${kind}">${icon(mark)} ${word}</p>
    <p>Rule <strong>${safeText(verdict.rule.id)}</strong> <span class="quiet">(${where(verdict.rule)})</span>: ${safeText(verdict.because)}.</p>
    ${verdict.say === undefined ? nothing : html`<blockquote>${safeText(verdict.say)}</blockquote>`}
    ${verdict.decision === 'ask' ? html`<p>${safeText(terms(verdict))}</p>` : nothing}
    <p class="facts"><span class="quiet">Taken for</span> ${factChips(facts)}</p>
    <details><summary>${icon('chevron', 'small')}${rules.length} ${rules.length === 1 ? 'rule or default speaks' : 'rules and defaults speak'} of it</summary>
      <ul>${rules.map(({ decision, isDefault, matched, ref, why }) => html`<li>${icon(DECIDED[decision].mark, 'small')} ${DECIDED[decision].word}: <strong>${safeText(ref.id)}</strong> <span class="quiet">(${where(ref)}${isDefault ? ', default' : ''}${matched === 'failed' ? ', could not be worked out' : ''})</span> ${safeText(why)}</li>`)}</ul></details>
  </section>`;
}

function factChips({ bulk, effect, mcp, sensitive, sql, targets, verb }: Facts): TemplateResult {
  const said = [
    effect,
    verb,
    ...targets.map(({ kind, name }) => `${kind} ${name}`),
    ...(bulk ? ['bulk'] : []),
    ...sensitive.map((column) => `sensitive ${column}`),
    ...(sql?.functions ?? []).map((name) => `calls ${name}`),
    ...(mcp?.secrets ?? []).map((id) => `holds ${id}`),
    ...(mcp?.outward ? ['may carry out'] : []),
  ];
  return html`${said.map((one) => html`<span class="chip">${safeText(one)}</span>`)}`;
}

function terms({ approvers, escalate, expiresMs, freshLogin, quorum }: Verdict): string {
  const who = approvers.map((one) => (one === 'requester' ? 'whoever asked' : one.replace(':', ' '))).join(', ');
  const many = quorum > 1 ? `${quorum} of: ${who}` : who;
  const later = escalate ? `; after ${inMinutes(escalate.afterMs)} also ${escalate.to.map((one) => one.replace(':', ' ')).join(', ')}` : '';
  return `May approve: ${many}${freshLogin ? ', each with a fresh login' : ''}, within ${inMinutes(expiresMs)}${later}.`;
}

function inMinutes(ms: number): string {
  return ms < 60_000 ? `${Math.round(ms / 1000)} s` : ms < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

function where({ layer, line }: RuleRef): string {
  return layer === 'builtin' ? 'built in' : line === undefined ? layer : `line ${line}`;
}

/** Whether an operation would fare otherwise: by the answer, or by who may give it. */
function differs(a: ExplainedVerdict, b: ExplainedVerdict): boolean {
  const of = ({ verdict }: ExplainedVerdict): string => {
    const { approvers, decision, escalate, expiresMs, freshLogin, preview, quorum, rule } = verdict;
    return JSON.stringify([decision, rule.id, decision === 'ask' ? [approvers, quorum, expiresMs, freshLogin, preview, escalate] : []]);
  };
  return of(a) !== of(b);
}
