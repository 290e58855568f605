/** Questions and requests for access: the same panel as in the editor, fed by the gateway's API. */
import { css, html, type TemplateResult } from 'lit';
import type { DecidedApproval, GrantView } from '../../../contract/approval.ts';
import { accessAskOf, decidedAccess } from '../../../contract/gateway/accessAsk.ts';
import type { GatewayApproval, GatewayApprovals, GatewayGrant } from '../../../contract/gateway/approvals.ts';
import type { FromApprovals, ToApprovals } from '../../../contract/webview.ts';
import { ApprovalsPanel } from '../../approvals/approvalsPanel.ts';
import type { Host } from '../../parts/host.ts';
import { personName } from '../../parts/names.ts';
import { sentenceOf } from '../api.ts';
import { ConsolePage, type PageContext } from '../page.ts';
import { pageStyles } from '../styles.ts';
import { mayEndGrant } from './ending.ts';

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
    return html`<h1>Approvals</h1>
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
      access: pending.flatMap((approval) => accessAskOf(approval) ?? []),
      decided: decided.flatMap((approval) => decidedAccess(approval) ?? decidedOf(approval) ?? []),
      grants: this.#grants.filter(({ endedAt }) => endedAt === undefined).map((grant) => ({ ...grantOf(grant), mayEnd: mayEndGrant(this.me, grant) })),
      policyProblems: 0,
      now: Date.now(),
    };
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
