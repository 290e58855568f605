/** Questions: the same panel as in the editor, fed by the gateway's API; and requests for access over a time. */
import '../../approvals/armedButton.ts';
import { css, html, nothing, type TemplateResult } from 'lit';
import type { DecidedApproval, GrantView } from '../../../contract/approval.ts';
import type { GatewayApproval, GatewayApprovals, GatewayGrant } from '../../../contract/gateway/approvals.ts';
import type { FromApprovals, ToApprovals } from '../../../contract/webview.ts';
import { ApprovalsPanel } from '../../approvals/approvalsPanel.ts';
import type { Host } from '../../parts/host.ts';
import { agentName, personName } from '../../parts/names.ts';
import { safeText } from '../../parts/safeText.ts';
import { sentenceOf } from '../api.ts';
import { ConsolePage, type PageContext, when } from '../page.ts';
import { pageStyles } from '../styles.ts';

type Answer = Extract<FromApprovals, { type: 'answer' }>['answer'];

/** Where the panel keeps its notes between two visits. */
const KEPT = 'countersign.approvals';

export class ApprovalsPage extends ConsolePage {
  static override properties = { ...ConsolePage.properties, approvals: { state: true } };
  declare approvals: GatewayApprovals | undefined;
  readonly heading = 'Approvals';
  readonly follows = ['approval', 'grant'];
  readonly #panel: ApprovalsPanel;
  #grants: readonly GatewayGrant[] = [];
  #tell: ((message: ToApprovals) => void) | undefined;

  static override styles = [
    ...pageStyles,
    css`
      .panel {
        max-width: 760px;
        margin: 0 -10px;
      }
      .access {
        display: grid;
        gap: 4px;
        max-width: 740px;
        padding: 10px 12px;
        margin-bottom: 10px;
        border: 1px solid var(--edge);
        border-radius: 4px;
      }
      .access .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        margin-top: 4px;
      }
    `,
  ];

  constructor(context: PageContext) {
    super(context);
    this.#panel = new ApprovalsPanel(this.#host());
  }

  protected async load(): Promise<void> {
    const [approvals, { grants }] = await Promise.all([this.api.call('approvals'), this.api.call('grants')]);
    this.approvals = approvals;
    this.#grants = grants;
    this.#tell?.(this.#snapshot(approvals));
  }

  protected content(): TemplateResult {
    const access = (this.approvals?.pending ?? []).filter((approval) => approval.kind === 'access');
    return html`<h1>Approvals</h1>
      ${access.map((approval) => this.#access(approval))}
      <div class="panel">${this.#panel}</div>`;
  }

  /** What the editor's extension is to the panel there, this page is to it here. */
  #host(): Host<FromApprovals, ToApprovals> {
    return {
      post: (message) => void this.#from(message),
      listen: (take) => {
        this.#tell = take;
        return () => {
          this.#tell = undefined;
        };
      },
      get kept(): unknown {
        try {
          return JSON.parse(localStorage.getItem(KEPT) ?? 'null') ?? undefined;
        } catch {
          return undefined;
        }
      },
      keep: (state) => localStorage.setItem(KEPT, JSON.stringify(state)),
    };
  }

  async #from(message: FromApprovals): Promise<void> {
    switch (message.type) {
      case 'ready':
        if (this.approvals) this.#tell?.(this.#snapshot(this.approvals));
        return;
      case 'answer':
        return this.#answer(message.answer);
      case 'endGrant':
        return this.act(async () => {
          await this.api.call('endGrant', { id: message.id });
          return 'The grant has ended, and so has what lived on it.';
        });
      case 'copy':
        return navigator.clipboard.writeText(message.text);
      case 'open':
        return this.#open(message.operation);
      case 'openRule':
        location.hash = '#/policy';
        return;
      // Access is asked for, and the organisation's policy written, on pages of their own.
      case 'requestAccess':
      case 'proposeRule':
      case 'addRule':
      case 'run':
        return undefined;
    }
  }

  async #answer(answer: Answer): Promise<void> {
    try {
      const { result, sentence } = await this.api.call('answer', { id: answer.id, body: answer });
      if (result === 'needs-fresh-login') return await this.#freshLogin(answer.id);
      const known = result === 'answered-before' ? 'already-decided' : result;
      this.#tell?.({ type: 'answered', id: answer.id, result: known, ...(sentence !== undefined && { sentence }) });
      await this.reload();
    } catch (cause) {
      this.#tell?.({ type: 'answered', id: answer.id, result: 'failed', sentence: sentenceOf(cause) });
    }
  }

  /** Policy wants to know anew who answers: the provider asks, and comes back here. The answer is given after that. */
  async #freshLogin(id: string): Promise<void> {
    const { url } = await this.api.call('freshLogin', { id });
    location.assign(url);
  }

  #open(operation: string): void {
    const all = [...(this.approvals?.pending ?? []), ...(this.approvals?.decided ?? [])];
    const session = all.find(({ question }) => question?.operation === operation)?.question?.session;
    if (session !== undefined) location.hash = `#/sessions/${encodeURIComponent(session)}/${encodeURIComponent(operation)}`;
  }

  #snapshot({ pending, decided }: GatewayApprovals): Extract<ToApprovals, { type: 'snapshot' }> {
    const questions = pending.filter(({ question }) => question !== undefined);
    return {
      type: 'snapshot',
      link: { state: 'on' },
      me: this.me.person,
      pending: questions.flatMap(({ question }) => question ?? []),
      mine: questions.filter(({ mine }) => mine.mayApprove).map(({ id }) => id),
      own: questions.filter(({ mine }) => mine.requested && mine.mayAnswer && !mine.mayApprove).map(({ id }) => id),
      decided: decided.flatMap((approval) => decidedOf(approval) ?? []),
      grants: this.#grants.filter(({ endedAt }) => endedAt === undefined).map((grant) => grantOf(grant)),
      policyProblems: 0,
      now: Date.now(),
    };
  }

  #access({ id, digest, access, requester, actor, deadline, mine, answers, quorum }: GatewayApproval): TemplateResult | typeof nothing {
    if (!access) return nothing;
    const answer = (body: Answer): void => void this.act(async () => this.#decided(await this.api.call('answer', { id, body }), id));
    return html`<section class="access" aria-label="Request for access">
      <p><strong>${safeText(personName(requester))}</strong> asks for <strong>${access.effects.join(', ')}</strong> on <strong>${safeText(access.connection)}</strong> for ${access.minutes} minutes</p>
      <p>${access.targets.map((target) => html`<span class="chip">${safeText(target)}</span>`)}</p>
      <blockquote>${safeText(access.reason, { lines: true })}</blockquote>
      <p class="quiet">
        ${actor === undefined ? nothing : html`by way of ${safeText(agentName(actor.agent))} · `}until ${when(deadline)}${quorum > 1 ? html` · ${answers.filter((given) => given.answer === 'approve').length} of ${quorum} approvals` : nothing}
      </p>
      ${
        mine.mayApprove
          ? html`<div class="buttons">
              <cs-armed-button @press=${() => answer({ answer: 'approve', id, digest, scope: { what: 'exact', howLong: 'once' } })}>Grant ${access.minutes} minutes</cs-armed-button>
              <vscode-button secondary ?disabled=${this.busy} @click=${() => answer({ answer: 'deny', id, digest })}>Deny</vscode-button>
            </div>`
          : html`<p class="quiet">${mine.requested ? 'You asked for this.' : mine.answered ? 'You have answered.' : 'Waits for someone else.'} ${mine.mayAnswer ? html`<button class="link" ?disabled=${this.busy} @click=${() => answer({ answer: 'deny', id, digest })}>Take it back</button>` : nothing}</p>`
      }
    </section>`;
  }

  async #decided({ result, sentence }: { result: string; sentence?: string | undefined }, id: string): Promise<string | undefined> {
    if (result === 'needs-fresh-login') {
      await this.#freshLogin(id);
      return undefined;
    }
    return result === 'accepted' ? 'Answered.' : (sentence ?? 'That was answered already.');
  }
}
customElements.define('cs-approvals-page', ApprovalsPage);

function decidedOf({ id, question, state, why, answers, decidedAt }: GatewayApproval): DecidedApproval | undefined {
  if (!question || decidedAt === undefined) return undefined;
  const answer = state === 'denied' ? 'denied' : 'approved';
  const last = answers.at(-1);
  return {
    id,
    operation: question.operation,
    headline: question.facts.headline,
    connection: question.connection,
    agent: question.actor.agent.name,
    answer,
    why: why ?? 'person',
    ...(last && { by: last.by }),
    ...(last?.note !== undefined && { note: last.note }),
    decidedAt,
  };
}

function grantOf({ id, covers, connection, by, person, until, used, scope }: GatewayGrant): GrantView {
  return { id, what: scope?.what ?? 'target', covers: `${personName(person)}: ${covers}`.slice(0, 400), connection, by: by[0] ?? person, until, used };
}
