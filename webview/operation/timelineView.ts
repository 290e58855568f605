import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import type { Step, StepTone } from '../../contract/timeline.ts';
import { type IconName, icon } from '../parts/icon.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { shared } from '../parts/theme.ts';
import { clockTime, duration } from '../parts/timeLeft.ts';
import { plainLine } from '../parts/untrustedText.ts';
import { decisionFrom, idleBefore, isDecision, placeOf } from './replay.ts';

/** How long each step stays while it plays, in milliseconds. */
const STEP_MS = 1_500;
const MARKS: Readonly<Record<StepTone, IconName>> = { allowed: 'check', approved: 'allow', denied: 'deny', waiting: 'watch', failed: 'error' };

/**
 * A session as a player shows it: a mark at every decision, and ways to the next one. The track is a native slider: its keys and its
 * words for a screen reader are those that everybody knows. Pauses take no room on it.
 *
 * @fires step as a CustomEvent with an operation's id
 */
export class Timeline extends LitElement {
  static override properties = { steps: { attribute: false }, operation: {}, playing: { state: true } };
  declare steps: readonly Step[];
  /** The one that is shown. */
  declare operation: string;
  declare playing: boolean;
  #timer: ReturnType<typeof setInterval> | undefined;

  static override styles = [
    shared,
    css`
      :host {
        display: block;
        margin: 10px 0 4px;
      }
      .track {
        position: relative;
        height: 30px;
        margin-inline: 8px;
      }
      input {
        position: absolute;
        inset: auto -8px 0;
        width: calc(100% + 16px);
        height: 16px;
        margin: 0;
        accent-color: var(--vscode-progressBar-background, var(--vscode-focusBorder));
        cursor: pointer;
      }
      input:focus-visible {
        outline: 1px solid var(--vscode-focusBorder, currentColor);
        outline-offset: 1px;
      }
      .decision {
        position: absolute;
        top: 0;
        width: 16px;
        margin-inline-start: -8px;
        font-size: 14px;
        text-align: center;
        pointer-events: none;
      }
      .line {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 2px 4px;
      }
      button {
        display: inline-grid;
        place-items: center;
        min-width: 24px;
        height: 24px;
        padding: 0 4px;
        font: inherit;
        color: inherit;
        background: none;
        border: 1px solid transparent;
        border-radius: 4px;
        cursor: pointer;
      }
      button:hover:not(:disabled) {
        background: var(--vscode-toolbar-hoverBackground, var(--vscode-list-hoverBackground));
        outline: 1px dashed var(--vscode-contrastActiveBorder, transparent);
        outline-offset: -1px;
      }
      button:disabled {
        color: var(--vscode-disabledForeground, var(--quiet));
        cursor: default;
      }
      .where {
        flex: 1 1 12em;
        min-width: 0;
        margin-inline-start: 6px;
        overflow-wrap: anywhere;
      }
    `,
  ];

  constructor() {
    super();
    this.steps = [];
    this.operation = '';
    this.playing = false;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#stop();
  }

  protected override render(): TemplateResult | typeof nothing {
    const { steps } = this;
    const at = placeOf(steps, this.operation);
    const step = steps[at];
    // One operation is no session to go through.
    if (!step || steps.length < 2) return nothing;
    const idle = idleBefore(steps, at);
    const where = say('replay.at', { at: at + 1, n: steps.length, time: clockTime(step.at) });
    const words = `${where}${idle === undefined ? '' : `, ${say('replay.idle', { time: duration(idle) })}`}`;
    const to =
      (target: number | undefined): (() => void) =>
      () =>
        this.#go(target);
    const button = (name: IconName, label: string, target: number | undefined): TemplateResult =>
      html`<button title=${label} aria-label=${label} ?disabled=${target === undefined || steps[target] === undefined} @click=${to(target)}>${icon(name)}</button>`;
    return html`<section aria-label=${say('replay.title')}>
      <div class="track">
        ${steps.map((one, i) => (isDecision(one) ? html`<span class="decision ${toneClass(one.tone)}" data-at=${i / (steps.length - 1)} aria-hidden="true">${icon(MARKS[one.tone])}</span>` : nothing))}
        <input
          type="range"
          min="0"
          max=${steps.length - 1}
          step="1"
          .value=${String(at)}
          aria-label=${say('replay.title')}
          aria-valuetext=${`${words}: ${plainLine(step.headline)}, ${say(`replay.tone.${step.tone}`)}`}
          @input=${(e: Event) => this.#go(Number((e.currentTarget as HTMLInputElement).value))}
        />
      </div>
      <div class="line">
        ${button('previousMark', say('replay.previousDecision'), decisionFrom(steps, at, -1))} ${button('previous', say('replay.previous'), at > 0 ? at - 1 : undefined)}
        <button title=${say(this.playing ? 'replay.pause' : 'replay.play')} aria-label=${say(this.playing ? 'replay.pause' : 'replay.play')} @click=${() => this.#toggle()}>${icon(this.playing ? 'pause' : 'play')}</button>
        ${button('next', say('replay.next'), at + 1)} ${button('nextMark', say('replay.nextDecision'), decisionFrom(steps, at, 1))}
        <span class="where quiet">${safeText(words)}</span>
      </div>
    </section>`;
  }

  protected override updated(changed: PropertyValues<this>): void {
    // By script, for no inline style passes the page's content security policy.
    if (changed.has('steps'))
      for (const mark of this.shadowRoot?.querySelectorAll<HTMLElement>('.decision') ?? []) mark.style.left = `${Number(mark.dataset['at']) * 100}%`;
  }

  #go(target: number | undefined): void {
    this.#stop();
    this.#step(target);
  }

  #step(target: number | undefined): void {
    const step = target === undefined ? undefined : this.steps[target];
    if (step && step.operation !== this.operation) this.dispatchEvent(new CustomEvent('step', { detail: step.operation }));
  }

  #toggle(): void {
    if (this.playing) return this.#stop();
    this.playing = true;
    // From the end it plays from the beginning.
    if (placeOf(this.steps, this.operation) === this.steps.length - 1) this.#step(0);
    this.#timer = setInterval(() => {
      const next = placeOf(this.steps, this.operation) + 1;
      if (next >= this.steps.length) this.#stop();
      else this.#step(next);
    }, STEP_MS);
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.playing = false;
  }
}
customElements.define('cs-timeline', Timeline);

function toneClass(tone: StepTone): string {
  return tone === 'approved' ? 'good' : tone === 'waiting' ? 'soon' : 'bad';
}
