import { css } from 'lit';
import { shared } from '../parts/theme.ts';

export const cardStyles = [
  shared,
  css`
    :host {
      display: block;
    }
    .card {
      border: 1px solid var(--edge);
      border-radius: 4px;
      background: var(--vscode-editorWidget-background, transparent);
      /* Not "hidden", which would keep the footer from sticking to the view's lower edge. */
      overflow: clip;
      container-type: inline-size;
    }
    header {
      display: flex;
      align-items: baseline;
      gap: 8px;
      padding: 8px 10px 6px;
    }
    h2 {
      flex: 1;
      min-width: 0;
      overflow-wrap: anywhere;
      border-radius: 2px;
    }
    .agent,
    .arrow {
      color: var(--quiet);
    }
    .time {
      flex: none;
      font-variant-numeric: tabular-nums;
      color: var(--quiet);
      white-space: nowrap;
    }
    .time.soon {
      color: var(--soon);
      font-weight: 600;
    }
    .bar {
      height: 2px;
      margin: 0 10px;
      border-radius: 1px;
      background: var(--vscode-widget-border, var(--vscode-panel-border, transparent));
      overflow: hidden;
    }
    .rest {
      height: 100%;
      background: var(--vscode-progressBar-background);
      transform-origin: left;
      transition: transform 1s linear;
    }
    .bar.soon .rest {
      background: var(--soon);
    }
    .ends {
      margin: 0 10px 8px;
      padding: 6px 8px;
      border: 1px solid var(--soon);
      border-radius: 3px;
    }
    .ends h3 {
      margin: 0 0 4px;
      font-size: inherit;
      font-weight: 600;
    }
    /* One below the other: beside its label a path would have half of a narrow view. */
    .ends dl {
      margin: 0;
    }
    .ends dt {
      color: var(--quiet);
    }
    .ends dd + dt {
      margin-top: 4px;
    }
    .ends dd {
      margin: 0 0 2px;
      overflow-wrap: anywhere;
    }
    .ends dd .quiet {
      display: block;
    }
    .facts {
      padding: 6px 10px;
      display: flex;
      flex-wrap: wrap;
      align-items: baseline;
      column-gap: 0;
    }
    .effect {
      padding: 0 5px;
      margin-right: 7px;
      border-radius: 3px;
      font-size: 0.85em;
      line-height: 1.5;
      color: var(--vscode-badge-foreground);
      background: var(--vscode-badge-background);
      border: 1px solid var(--vscode-contrastBorder, transparent);
    }
    .fact {
      overflow-wrap: anywhere;
    }
    .fact .icon {
      vertical-align: -2px;
    }
    .fact:not(:last-child)::after {
      content: '·';
      padding: 0 5px;
      color: var(--quiet);
    }
    .fact.strong {
      color: var(--soon);
    }
    cs-payload {
      display: block;
      margin: 0 10px 6px;
    }
    details,
    .note {
      padding: 0 10px;
    }
    summary {
      margin-left: -3px;
    }
    summary .one {
      min-width: 0;
      overflow: hidden;
      text-overflow: ellipsis;
      white-space: nowrap;
    }
    details[open] > summary .one {
      white-space: normal;
    }
    .inside {
      padding: 2px 0 6px 17px;
      overflow-wrap: anywhere;
    }
    blockquote {
      margin: 0;
      white-space: pre-wrap;
    }
    details[open] > summary .one > .quiet:last-child {
      overflow-wrap: anywhere;
    }
    .note,
    .partly {
      display: flex;
      align-items: baseline;
      gap: 4px;
      padding-top: 2px;
      padding-bottom: 2px;
    }
    .note .icon,
    .partly .icon {
      align-self: flex-start;
      margin-top: 2px;
    }
    .partly .icon {
      color: var(--soon);
    }
    .lately {
      margin-top: 2px;
    }
    .tag {
      font-size: 0.85em;
      padding: 0 4px;
      border: 1px solid var(--vscode-contrastBorder, var(--vscode-widget-border, currentColor));
      border-radius: 3px;
      color: var(--quiet);
    }
    .dry li {
      padding: 1px 0;
      font-family: var(--code-font);
      font-size: var(--code-size);
    }
    .dry .cell {
      display: inline-block;
      max-width: 100%;
      vertical-align: top;
    }
    .dry .cell + .cell,
    .dry .kind + .cell {
      margin-left: 10px;
    }
    .dry .kind {
      font-weight: 600;
    }
    del {
      padding: 0 2px;
      border-radius: 2px;
      background: var(--vscode-diffEditor-removedTextBackground);
      outline: 1px dashed var(--vscode-diffEditor-removedTextBorder, transparent);
    }
    ins {
      padding: 0 2px;
      border-radius: 2px;
      text-decoration: none;
      background: var(--vscode-diffEditor-insertedTextBackground);
      outline: 1px solid var(--vscode-diffEditor-insertedTextBorder, transparent);
    }
    .list li {
      font-family: var(--code-font);
      font-size: var(--code-size);
    }
    /* The answer is always in reach, however long the request is; what was not seen yet is said beside it. */
    footer {
      position: sticky;
      bottom: 0;
      z-index: 1;
      background: var(--vscode-editorWidget-background, var(--vscode-sideBar-background));
      margin-top: 4px;
      padding: 8px 10px 10px;
      border-top: 1px solid var(--rule);
    }
    .buttons {
      display: flex;
      flex-wrap: wrap;
      align-items: center;
      gap: 6px;
      margin-top: 8px;
      min-height: 26px;
    }
    .buttons .details {
      margin-left: auto;
      padding: 3px 0;
    }
    vscode-button::part(base) {
      border-color: var(--vscode-button-border, var(--vscode-contrastBorder, transparent));
    }
    .result {
      display: flex;
      gap: 5px;
      font-weight: 600;
      border-radius: 2px;
    }
    .result.bad .icon {
      color: var(--bad);
    }
    .result.good .icon {
      color: var(--good);
    }
    .result.wait {
      font-weight: normal;
      color: var(--quiet);
    }
    .settled .rest {
      visibility: hidden;
    }
    .settled .time {
      visibility: hidden;
    }
    .settled cs-payload,
    .settled .facts,
    .settled details {
      opacity: 0.7;
    }
    @container (max-width: 330px) {
      cs-armed-button,
      .buttons > vscode-button {
        flex: 1 1 auto;
      }
      .buttons .details {
        flex-basis: 100%;
        text-align: start;
        margin-left: 0;
      }
    }
  `,
];
