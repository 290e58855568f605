/** What the console's pages share. */
import { css } from 'lit';
import { shared } from '../parts/theme.ts';

export const pageStyles = [
  shared,
  css`
    :host {
      display: block;
      min-width: 0;
    }
    h1 {
      font-size: 1.25rem;
      font-weight: 600;
      margin: 0 0 4px;
    }
    h2 {
      font-size: 1rem;
      font-weight: 600;
      margin: 24px 0 8px;
    }
    .lead {
      margin-bottom: 16px;
      max-width: 70ch;
    }
    .table {
      width: 100%;
      border-collapse: collapse;
    }
    .table th {
      text-align: start;
      font-weight: 600;
      padding: 6px 12px 6px 0;
      border-bottom: 1px solid var(--edge);
      white-space: nowrap;
    }
    .table td {
      padding: 8px 12px 8px 0;
      border-bottom: 1px solid var(--edge);
      vertical-align: top;
      overflow-wrap: anywhere;
      /* A long name beside it must not squeeze a column to single letters. */
      min-width: 7em;
    }
    .table td.num {
      min-width: 0;
    }
    /* What can be done to a row: in words, not in letters. */
    .table td.do {
      min-width: 0;
      text-align: end;
      white-space: nowrap;
    }
    .table td.do .link + .link {
      margin-inline-start: 12px;
    }
    .table tr:hover td {
      background: var(--vscode-list-hoverBackground);
    }
    .num {
      font-variant-numeric: tabular-nums;
      white-space: nowrap;
    }
    .chip {
      display: inline-block;
      padding: 0 7px;
      margin: 0 4px 2px 0;
      border: 1px solid var(--edge);
      border-radius: 9px;
      font-size: 0.88em;
      line-height: 1.5;
      white-space: nowrap;
      max-width: 100%;
      overflow: hidden;
      text-overflow: ellipsis;
      vertical-align: bottom;
    }
    .table + p {
      margin-top: 12px;
    }
    .chip.live {
      vertical-align: baseline;
      margin-bottom: 0;
      border-color: var(--good);
      color: var(--good);
    }
    .banner {
      display: flex;
      gap: 6px;
      margin: 0 0 12px;
      padding: 8px 10px;
      border: 1px solid var(--edge);
      border-radius: 4px;
      overflow-wrap: anywhere;
    }
    .banner.error {
      background: var(--vscode-inputValidation-errorBackground);
      border-color: var(--vscode-inputValidation-errorBorder);
    }
    .banner.warning {
      background: var(--vscode-inputValidation-warningBackground);
      border-color: var(--vscode-inputValidation-warningBorder);
    }
    h1 + .banner {
      margin-top: 12px;
    }
    .banner .icon {
      margin-top: 2px;
    }
    /* Said where the person is, however far down a long page. */
    .said {
      position: sticky;
      top: 0;
      z-index: 5;
      background: var(--vscode-editor-background);
    }
    .banner.good {
      background: var(--vscode-inputValidation-infoBackground);
      border-color: var(--vscode-inputValidation-infoBorder);
    }
    .tools {
      display: flex;
      flex-wrap: wrap;
      gap: 8px;
      align-items: center;
      margin-bottom: 12px;
    }
    textarea,
    input,
    select {
      font: inherit;
      color: inherit;
      background: var(--vscode-input-background);
      border: 1px solid var(--vscode-settings-textInputBorder);
      border-radius: 4px;
      padding: 6px 8px;
      max-width: 100%;
    }
    textarea {
      width: 100%;
      min-height: 22em;
      font-family: var(--code-font);
      font-size: var(--code-size);
      line-height: 1.5;
      tab-size: 2;
      resize: vertical;
    }
    textarea.short {
      min-height: 4.5em;
    }
    form {
      display: grid;
      gap: 12px;
      max-width: 560px;
      padding: 4px 0 12px;
    }
    label {
      display: grid;
      gap: 4px;
    }
    label.inline {
      display: inline-flex;
      align-items: center;
      gap: 5px;
      margin-inline-end: 14px;
    }
    fieldset {
      margin: 0;
      padding: 0;
      border: 0;
    }
    legend {
      padding: 0 0 4px;
    }
    blockquote {
      margin: 4px 0;
      padding-inline-start: 10px;
      border-inline-start: 3px solid var(--edge);
    }
    .code {
      font-family: var(--code-font);
      font-size: var(--code-size);
    }
    pre {
      margin: 0;
      padding: 10px;
      overflow-x: auto;
      border: 1px solid var(--edge);
      border-radius: 4px;
      background: var(--vscode-textCodeBlock-background);
      font-family: var(--code-font);
      font-size: var(--code-size);
      line-height: 1.5;
    }
    .added {
      background: var(--vscode-diffEditor-insertedTextBackground);
      text-decoration: none;
    }
    .removed {
      background: var(--vscode-diffEditor-removedTextBackground);
    }
    .danger {
      color: var(--bad);
    }
    @media (max-width: 700px) {
      /* A table becomes a list of cards: nothing scrolls sideways on a phone. */
      .table thead {
        display: block;
        position: absolute;
        width: 1px;
        height: 1px;
        overflow: hidden;
        clip-path: inset(50%);
      }
      .table tr {
        display: block;
        padding: 8px 0;
        border-bottom: 1px solid var(--edge);
      }
      .table td,
      .table td.do {
        display: block;
        padding: 2px 0;
        border: 0;
        text-align: start;
      }
      .table td[data-name] {
        position: relative;
        min-height: calc(1.45em + 4px);
        padding-inline-start: 8em;
      }
      .table td[data-name]::before {
        content: attr(data-name);
        position: absolute;
        inset-inline-start: 0;
        color: var(--quiet);
      }
      .table tr.wide {
        border: 0;
      }
    }
  `,
];
