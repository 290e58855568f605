/** What every part of a panel shares. Only the editor's own colours; borders that appear in high contrast. */
import { css } from 'lit';

export const shared = css`
  :host {
    --edge: var(--vscode-contrastBorder, var(--vscode-widget-border, var(--vscode-panel-border, transparent)));
    --rule: var(--vscode-contrastBorder, var(--vscode-sideBarSectionHeader-border, var(--vscode-panel-border, transparent)));
    --quiet: var(--vscode-descriptionForeground);
    --code-font: var(--vscode-editor-font-family, monospace);
    --code-size: var(--vscode-editor-font-size, 12px);
    --good: var(--vscode-testing-iconPassed, var(--vscode-foreground));
    --bad: var(--vscode-errorForeground);
    --soon: var(--vscode-editorWarning-foreground, var(--vscode-foreground));
    color: var(--vscode-foreground);
    font-family: var(--vscode-font-family);
    font-size: var(--vscode-font-size, 13px);
    line-height: 1.45;
    box-sizing: border-box;
  }
  :host([hidden]),
  [hidden] {
    display: none !important;
  }
  *,
  *::before,
  *::after {
    box-sizing: inherit;
  }
  h1,
  h2,
  h3,
  p,
  ul,
  ol,
  dl,
  dd {
    margin: 0;
    padding: 0;
    font-size: inherit;
    font-weight: inherit;
    list-style: none;
  }
  .icon {
    font: normal normal normal 16px/1 codicon;
    display: inline-block;
    flex: none;
    vertical-align: text-bottom;
    -webkit-font-smoothing: antialiased;
    user-select: none;
  }
  .icon.small {
    font-size: 14px;
  }
  .quiet {
    color: var(--quiet);
  }
  .good {
    color: var(--good);
  }
  .bad {
    color: var(--bad);
  }
  .soon {
    color: var(--soon);
  }
  .unseen {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  .link {
    background: none;
    border: 0;
    padding: 0;
    margin: 0;
    font: inherit;
    text-align: start;
    cursor: pointer;
    color: var(--vscode-textLink-foreground);
    border-radius: 2px;
  }
  .link:hover {
    color: var(--vscode-textLink-activeForeground);
    text-decoration: underline;
  }
  :focus {
    outline: none;
  }
  :focus-visible {
    outline: 1px solid var(--vscode-focusBorder, currentColor);
    outline-offset: 1px;
  }
  .mark {
    font-family: var(--code-font);
    font-size: 0.85em;
    line-height: 1;
    padding: 0 3px;
    margin: 0 1px;
    border-radius: 3px;
    white-space: nowrap;
    color: var(--vscode-inputValidation-warningForeground, var(--vscode-foreground));
    background: var(--vscode-inputValidation-warningBackground);
    border: 1px solid var(--vscode-inputValidation-warningBorder, var(--edge));
  }
  .alike {
    text-decoration: underline wavy var(--vscode-editorWarning-foreground, currentColor);
    text-underline-offset: 2px;
    outline: 1px dotted var(--vscode-inputValidation-warningBorder, currentColor);
  }
  .rtl {
    unicode-bidi: isolate;
    direction: rtl;
  }
  /* A disclosure as in the editor's own lists: native, so that keys and roles come with it. */
  details > summary {
    display: flex;
    align-items: baseline;
    gap: 4px;
    padding: 2px 0;
    cursor: pointer;
    list-style: none;
    border-radius: 2px;
  }
  details > summary::-webkit-details-marker {
    display: none;
  }
  details > summary > .icon {
    align-self: flex-start;
    margin-top: 1px;
    color: var(--vscode-icon-foreground, var(--vscode-foreground));
    transition: transform 0.1s;
  }
  details[open] > summary > .icon {
    transform: rotate(90deg);
  }
  /* The library falls back to a filled grey where a high-contrast theme says "no background". */
  :host-context(.vscode-high-contrast) vscode-button[secondary]::part(base) {
    background: var(--vscode-button-secondaryBackground, transparent);
  }
  @media (prefers-reduced-motion: reduce) {
    * {
      transition: none !important;
      animation: none !important;
    }
  }
`;

/** For the page itself: the editor's default padding would waste a fifth of a narrow sidebar. */
export const page = css`
  body {
    padding: 0;
    margin: 0;
    height: auto;
  }
`;
