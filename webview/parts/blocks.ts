/** Looks that several lists and forms share. */
import { css } from 'lit';

/** A line of a list that can be pressed: an icon, a text that takes what room there is, a time. */
export const lines = css`
  .line {
    display: flex;
    align-items: baseline;
    gap: 6px;
    width: 100%;
    padding: 2px;
    font: inherit;
    color: inherit;
    text-align: start;
    background: none;
    border: 0;
    border-radius: 3px;
  }
  button.line {
    cursor: pointer;
  }
  button.line:hover {
    background: var(--vscode-list-hoverBackground);
    color: var(--vscode-list-hoverForeground, inherit);
    outline: 1px dashed var(--vscode-contrastActiveBorder, transparent);
    outline-offset: -1px;
  }
  .line .icon {
    align-self: flex-start;
    margin-top: 2px;
  }
  .line .text {
    flex: 1;
    min-width: 0;
    overflow-wrap: anywhere;
  }
  .line .when {
    flex: none;
    font-size: 0.92em;
    font-variant-numeric: tabular-nums;
  }
`;

/** A few lines of policy, to be read and copied. */
export const codeBlock = css`
  pre {
    margin: 0;
    padding: 6px 8px;
    white-space: pre-wrap;
    overflow-wrap: anywhere;
    border: 1px solid var(--edge);
    border-radius: 3px;
    background: var(--vscode-textCodeBlock-background, transparent);
    font-family: var(--code-font);
    font-size: var(--code-size);
  }
`;
