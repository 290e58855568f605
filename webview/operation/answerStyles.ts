import { css } from 'lit';

export const answerStyles = css`
  :host {
    display: block;
  }
  .head {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    justify-content: space-between;
    gap: 4px 16px;
  }
  h2 {
    font-weight: 600;
  }
  .compare {
    display: flex;
    align-items: center;
    gap: 6px;
    cursor: pointer;
  }
  .compare input {
    appearance: none;
    width: 16px;
    height: 16px;
    margin: 0;
    flex: none;
    border: 1px solid var(--vscode-checkbox-border, var(--edge));
    border-radius: 3px;
    background: var(--vscode-checkbox-background);
    color: var(--vscode-checkbox-foreground, var(--vscode-foreground));
    cursor: pointer;
  }
  .compare input:checked::before {
    content: '\\eab2';
    display: block;
    font: 14px/14px codicon;
  }
  .compare input:focus {
    outline: 1px solid var(--vscode-focusBorder, currentColor);
    outline-offset: -1px;
  }
  .stored {
    display: flex;
    gap: 5px;
    margin: 2px 0 6px;
  }
  .stored .icon {
    margin-top: 2px;
  }
  .masked {
    display: flex;
    flex-wrap: wrap;
    gap: 4px 16px;
    margin-bottom: 8px;
  }
  .scroll {
    position: relative;
    overflow: auto;
    max-height: 70vh;
    border: 1px solid var(--edge);
    border-radius: 3px;
  }
  table {
    border-collapse: collapse;
    width: 100%;
    font-family: var(--code-font);
    font-size: var(--code-size);
  }
  th,
  td {
    padding: 3px 10px;
    text-align: start;
    vertical-align: top;
    max-width: 420px;
    overflow-wrap: break-word;
    white-space: pre-wrap;
  }
  thead th {
    position: sticky;
    top: 0;
    z-index: 1;
    font-weight: 600;
    white-space: nowrap;
    background: var(--vscode-editorWidget-background, var(--vscode-editor-background));
    border-bottom: 1px solid var(--rule);
  }
  th.n {
    padding-right: 4px;
    font-weight: normal;
    text-align: end;
    color: var(--vscode-editorLineNumber-foreground, var(--quiet));
    user-select: none;
  }
  tbody tr:nth-child(even) {
    background: var(--vscode-tree-tableOddRowsBackground, transparent);
  }
  tbody tr:hover {
    background: var(--vscode-list-hoverBackground);
  }
  .chip {
    padding: 0 4px;
    border-radius: 3px;
    color: var(--vscode-badge-foreground);
    background: var(--vscode-badge-background);
    border: 1px solid var(--vscode-contrastBorder, transparent);
    font-family: var(--code-font);
    font-size: var(--code-size);
    box-decoration-break: clone;
  }
  del,
  ins {
    display: inline-block;
    border-radius: 2px;
    padding: 0 3px;
    text-decoration: none;
  }
  del {
    background: var(--vscode-diffEditor-removedTextBackground);
    outline: 1px dashed var(--vscode-diffEditor-removedTextBorder, transparent);
  }
  ins {
    background: var(--vscode-diffEditor-insertedTextBackground);
    outline: 1px solid var(--vscode-diffEditor-insertedTextBorder, transparent);
  }
  td > del::before,
  .text > del::before {
    content: '− ';
    color: var(--quiet);
  }
  td > ins::before,
  .text > ins::before {
    content: '+ ';
    color: var(--quiet);
  }
  td > del,
  td > ins {
    display: block;
    width: max-content;
    max-width: 400px;
    line-height: 1.45;
  }
  td > ins {
    margin-top: 2px;
  }
  .outline {
    color: var(--quiet);
  }
  .text {
    position: relative;
    margin: 0;
    padding: 8px 10px;
    max-height: 70vh;
    overflow: auto;
    border: 1px solid var(--edge);
    border-radius: 3px;
    font-family: var(--code-font);
    font-size: var(--code-size);
    line-height: 1.5;
    white-space: pre-wrap;
    overflow-wrap: anywhere;
    background: var(--vscode-textCodeBlock-background, transparent);
  }
  .pager {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 8px;
    margin-top: 8px;
  }
  .hover {
    position: fixed;
    z-index: 10;
    max-width: min(420px, calc(100vw - 16px));
    padding: 4px 8px;
    white-space: pre-wrap;
    overflow-wrap: anywhere;
    color: var(--vscode-editorHoverWidget-foreground, var(--vscode-foreground));
    background: var(--vscode-editorHoverWidget-background);
    border: 1px solid var(--vscode-editorHoverWidget-border, var(--edge));
    border-radius: 3px;
    pointer-events: none;
  }
`;
