import { css } from 'lit';
import { shared } from '../parts/theme.ts';

export const operationStyles = [
  shared,
  css`
    :host {
      display: block;
    }
    main {
      padding: 12px 16px 24px;
      max-width: 1400px;
    }
    h1 {
      display: flex;
      gap: 6px;
      font-size: 1.25em;
      font-weight: 600;
      overflow-wrap: anywhere;
    }
    h1 .icon {
      margin-top: 4px;
    }
    h1 .quiet {
      font-weight: normal;
    }
    .facts {
      display: flex;
      flex-wrap: wrap;
      margin-top: 2px;
      color: var(--quiet);
    }
    .facts > span:not(:last-child)::after {
      content: '·';
      padding: 0 6px;
      font-weight: normal;
      color: var(--quiet);
    }
    .standing {
      color: var(--vscode-foreground);
      font-weight: 600;
    }
    .seal {
      display: flex;
      flex-wrap: wrap;
      align-items: baseline;
      gap: 2px 6px;
      margin: 4px 0 10px;
      color: var(--quiet);
    }
    .seal .icon {
      align-self: center;
    }
    .seal.bad {
      padding: 6px 8px;
      color: var(--vscode-inputValidation-errorForeground, var(--vscode-foreground));
      background: var(--vscode-inputValidation-errorBackground);
      border: 1px solid var(--vscode-inputValidation-errorBorder, var(--edge));
    }
    code {
      font-family: var(--code-font);
      font-size: var(--code-size);
      color: inherit;
      background: none;
      padding: 0;
    }
    .banner {
      display: flex;
      gap: 6px;
      padding: 6px 8px;
      margin-bottom: 10px;
      background: var(--vscode-inputValidation-errorBackground);
      color: var(--vscode-inputValidation-errorForeground, inherit);
      border: 1px solid var(--vscode-inputValidation-errorBorder, var(--edge));
    }
    /* A browser with colors of its own leaves nothing of the line below the chosen tab. */
    @media (forced-colors: active) {
      vscode-tab-header[active] {
        outline: 2px solid Highlight;
        outline-offset: -2px;
      }
    }
    vscode-tab-panel {
      background: none;
      padding: 0;
    }
    section {
      padding-top: 10px;
    }
    .tools {
      display: flex;
      justify-content: flex-end;
      padding-bottom: 4px;
    }
    .error {
      padding: 6px 8px;
      margin-bottom: 10px;
      border: 1px solid var(--vscode-inputValidation-errorBorder, var(--edge));
      border-radius: 3px;
      overflow-wrap: anywhere;
    }
    .error .message {
      white-space: pre-wrap;
    }
    dl {
      margin-top: 10px;
      display: grid;
      gap: 4px;
    }
    dl > div {
      display: grid;
      grid-template-columns: minmax(120px, 180px) 1fr;
      gap: 2px 12px;
    }
    dt {
      color: var(--quiet);
    }
    dd {
      overflow-wrap: anywhere;
      white-space: pre-wrap;
    }
    .rule {
      margin-top: 12px;
    }
    .rule .inside {
      display: grid;
      gap: 6px;
      padding: 4px 0 0 20px;
    }
    .rule pre {
      margin: 0;
      padding: 8px 10px;
      overflow-wrap: anywhere;
      white-space: pre-wrap;
      border: 1px solid var(--edge);
      border-radius: 3px;
      background: var(--vscode-textCodeBlock-background);
      font-family: var(--code-font);
      font-size: var(--code-size);
    }
    .timing li {
      display: grid;
      grid-template-columns: 150px 1fr 80px;
      align-items: center;
      gap: 10px;
      padding: 3px 0;
    }
    .timing .ms {
      text-align: end;
      font-variant-numeric: tabular-nums;
    }
    .timing .total {
      margin-top: 3px;
      border-top: 1px solid var(--rule);
      font-weight: 600;
    }
    .track {
      position: relative;
      height: 10px;
    }
    .span {
      position: absolute;
      inset-block: 0;
      border-radius: 2px;
      background: var(--vscode-progressBar-background);
      border: 1px solid var(--vscode-contrastBorder, transparent);
    }
    .span.waited {
      background: var(--vscode-charts-yellow, var(--soon));
    }
    @media (max-width: 480px) {
      main {
        padding: 10px;
      }
      dl > div {
        grid-template-columns: 1fr;
      }
      .timing li {
        grid-template-columns: 1fr auto;
      }
      .timing .track {
        grid-column: 1 / -1;
        grid-row: 2;
      }
    }
  `,
];
